//! Lost data: never replaced by an empty volume, and reported at once.

use startclaw_engine::Engine;
use startclaw_host::HostEvent;
use startclaw_model::{Actor, DeletionPolicy, InstanceId, InstanceState, OperationState};
use startclaw_testkit::*;

/// A live instance with one backup.
async fn with_backup(engine: &Engine) -> InstanceId {
    let id = provisioned(engine, "alice").await.instance;
    backed_up(engine, "alice").await;
    id
}

/// Does what `docker rm -f` and `docker volume rm` do.
fn remove_all(platform: &TestPlatform, id: &InstanceId) {
    let mut world = platform.host.state();
    let thing = world.instance(id);
    thing.container = None;
    thing.volumes.clear();
    drop(world);
    platform.host.announce(HostEvent::Instance(id.clone()));
}

async fn restored(engine: &Engine) -> OperationState {
    let request = restore_of("alice");
    let asked = engine.restore(&Actor::system(), request, None).await.unwrap();
    over(engine, &asked).await.state
}

async fn reason(engine: &Engine) -> String {
    engine.status(&name("alice")).await.unwrap().reason.unwrap_or_default()
}

async fn losses(engine: &Engine) -> usize {
    let events = engine.events(Some(&name("alice")), 100).await.unwrap();
    events.iter().filter(|e| e.detail.starts_with("its data are gone")).count()
}

#[tokio::test]
async fn an_instance_whose_volume_is_gone_stays_down_until_a_restore() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let id = with_backup(&engine).await;
    let starts = platform.host.state().instance(&id).starts;
    remove_all(&platform, &id);
    becomes(&engine, "alice", InstanceState::Failing).await;
    let why = reason(&engine).await;
    assert!(why.contains("its data are gone") && why.contains("alice.v0"), "{why}");
    assert!(why.contains("startclaw restore alice latest"), "{why}");
    assert_eq!(engine.alerts().await.unwrap()[0].key, "instance/alice");

    // Nothing is backed up, and earlier backups are kept.
    let asked = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
    let failed = over(&engine, &asked).await;
    assert_eq!(failed.state, OperationState::Failed);
    assert!(failed.error.unwrap().contains("nothing to back up"));
    assert_eq!(engine.backups(&name("alice")).await.unwrap().len(), 1);

    // A new daemon reports the same, without a second event.
    engine.shutdown().await;
    let engine = platform.start().await;
    becomes(&engine, "alice", InstanceState::Failing).await;
    assert_eq!(losses(&engine).await, 1);
    let thing = platform.host.state().instance(&id).clone();
    assert!(thing.volumes.is_empty() && thing.container.is_none() && thing.starts == starts);

    assert_eq!(restored(&engine).await, OperationState::Succeeded);
    becomes(&engine, "alice", InstanceState::Live).await;
    until("the alert is resolved", async || engine.alerts().await.unwrap().is_empty()).await;
    let status = engine.status(&name("alice")).await.unwrap();
    assert_eq!(status.undo_until, None, "there is no volume to switch back to");
}

#[tokio::test]
async fn a_volume_that_was_emptied_is_lost_too_and_one_that_comes_back_is_used_again() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let id = with_backup(&engine).await;
    platform.host.state().instance(&id).emptied = true;
    platform.host.state().end(&id, 1, false);
    platform.host.announce(HostEvent::Instance(id.clone()));
    until("it is said", async || reason(&engine).await.contains("is empty")).await;
    platform.host.state().instance(&id).emptied = false;
    becomes(&engine, "alice", InstanceState::Live).await;

    let volumes = platform.host.state().instance(&id).volumes.clone();
    remove_all(&platform, &id);
    until("it is said", async || reason(&engine).await.contains("is missing")).await;
    platform.host.state().instance(&id).volumes = volumes;
    becomes(&engine, "alice", InstanceState::Live).await;
}

#[tokio::test]
async fn a_crash_loop_hides_no_loss() {
    let platform = TestPlatform::new();
    let mut settings = settings();
    settings.timing.backoff_first = std::time::Duration::from_secs(3600);
    settings.timing.backoff_limit = std::time::Duration::from_secs(3600);
    let engine = platform.start_with(settings).await;
    let id = with_backup(&engine).await;
    platform.host.state().end(&id, 1, false);
    platform.host.announce(HostEvent::Instance(id.clone()));
    until("it failed", async || engine.status(&name("alice")).await.unwrap().failures > 0).await;
    remove_all(&platform, &id);
    until("it is said", async || reason(&engine).await.contains("data are gone")).await;
}

#[tokio::test]
async fn a_setting_restores_the_newest_backup_automatically() {
    let platform = TestPlatform::new();
    let mut settings = settings();
    settings.instances.restore_lost_volume = true;
    let engine = platform.start_with(settings).await;
    let id = with_backup(&engine).await;
    remove_all(&platform, &id);
    until("its volume is filled again", async || {
        platform.host.state().instance(&id).volumes.contains_key(&1)
    })
    .await;
    becomes(&engine, "alice", InstanceState::Live).await;
    assert_eq!(losses(&engine).await, 1);
}

#[tokio::test]
async fn one_without_a_backup_is_told_so_and_can_be_removed_without_an_empty_last_backup() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    remove_all(&platform, &id);
    until("it is said", async || reason(&engine).await.contains("there is no backup")).await;
    let asked = engine
        .deprovision(&Actor::system(), &name("alice"), DeletionPolicy::FinalBackup, None)
        .await
        .unwrap();
    assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);
    until("the alert is resolved", async || engine.alerts().await.unwrap().is_empty()).await;
}

#[tokio::test]
async fn the_loss_of_the_volume_before_a_restore_is_told() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let id = with_backup(&engine).await;
    assert_eq!(restored(&engine).await, OperationState::Succeeded);
    platform.host.state().instance(&id).volumes.remove(&0);
    until("it is reported", async || {
        let events = engine.events(Some(&name("alice")), 100).await.unwrap();
        events.iter().any(|e| e.detail.contains("cannot be undone"))
    })
    .await;
    assert!(engine.undo_restore(&Actor::system(), &name("alice"), None).await.is_err());
    becomes(&engine, "alice", InstanceState::Live).await;
}
