//! The host is lost, and the platform is recovered on another one.

use startclaw_backup::{BackupError, BackupErrorKind, Work};
use startclaw_backups::Recovered;
use startclaw_engine::Engine;
use startclaw_model::{
    Actor, DeletionPolicy, InstanceState, Name, OperationKind, OperationState, StepName,
};
use startclaw_testkit::*;

fn with_bucket() -> TestPlatform {
    TestPlatform::new().with_destination("gs://bucket/prefix")
}

/// The host is lost while the daemon runs; returns the next host and the recovered instances.
async fn recovered(platform: TestPlatform, engine: Engine) -> (TestPlatform, Vec<Recovered>) {
    recovered_without(platform, engine, &[]).await
}

async fn recovered_without(
    platform: TestPlatform,
    engine: Engine,
    without: &[Name],
) -> (TestPlatform, Vec<Recovered>) {
    engine.shutdown().await;
    drop(engine);
    let next = platform.lost().await;
    let store = next.database().await;
    let all = next.recovery().restore_snapshots(&store, without, None, |_| {}).await.unwrap();
    store.close().await;
    (next, all)
}

#[tokio::test]
async fn every_instance_comes_back_from_its_newest_backup_and_what_was_gone_can_still_be_had() {
    let platform = with_bucket();
    let engine = platform.start().await;
    for text in ["alice", "bob", "carol", "dave"] {
        provisioned(&engine, text).await;
    }
    for text in ["alice", "alice", "bob", "dave"] {
        backed_up(&engine, text).await;
    }
    let newest = engine.backups(&name("alice")).await.unwrap()[0].clone();
    let asked = engine
        .deprovision(&Actor::system(), &name("dave"), DeletionPolicy::FinalBackup, None)
        .await
        .unwrap();
    assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);

    let (next, all) = recovered(platform, engine).await;
    let names: Vec<_> = all.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["alice", "bob", "carol"]);
    assert_eq!(all[0].snapshot.as_ref(), Some(&newest.id));
    assert_eq!(all[0].taken_at, Some(newest.taken_at));
    assert!(all[1].snapshot.is_some() && all[2].snapshot.is_none(), "{all:?}");

    let engine = next.start().await;
    for text in ["alice", "bob", "carol"] {
        becomes(&engine, text, InstanceState::Live).await;
    }
    let last = engine.operations(Some(&name("alice")), 1).await.unwrap().remove(0);
    let last = over(&engine, &last).await;
    assert_eq!((last.kind, last.state), (OperationKind::Restore, OperationState::Succeeded));
    // The copies on the old machine are lost: only those in the bucket are left.
    let backups = engine.backups(&name("alice")).await.unwrap();
    assert!(backups.len() == 2 && backups.iter().all(|b| b.remote && !b.local), "{backups:?}");
    assert_eq!(engine.backups(&name("dave")).await.unwrap().len(), 2);
    backed_up(&engine, "alice").await;
}

#[tokio::test]
async fn what_was_under_way_when_the_machine_was_lost_is_over() {
    let platform = with_bucket();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    let away = || BackupError { kind: BackupErrorKind::Unavailable, message: "away".into() };
    platform
        .repositories
        .fail_by(move |job| matches!(job.work, Work::Take { .. } | Work::Copy { .. }).then(away));
    let asked = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
    platform.repositories.heal();
    let (next, _) = recovered(platform, engine).await;
    let engine = next.start().await;
    let done = over(&engine, &asked).await;
    if done.state == OperationState::Failed {
        assert!(done.error.as_ref().unwrap().contains("the machine was lost"), "{done:?}");
    }
    becomes(&engine, "alice", InstanceState::Live).await;
}

#[tokio::test]
async fn an_instance_that_has_nothing_else_waits_for_a_bucket_for_as_long_as_it_is_away() {
    let platform = with_bucket();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    let (next, _) = recovered(platform, engine).await;
    let away = || BackupError { kind: BackupErrorKind::Unavailable, message: "away".into() };
    next.repositories.fail_by(move |job| matches!(job.work, Work::Restore { .. }).then(away));
    let engine = next.start().await;
    let operation = engine.operations(Some(&name("alice")), 1).await.unwrap().remove(0);
    until("it was tried more often than other restores are", async || {
        let now = engine.operation(&operation.id).await.unwrap();
        assert!(!now.state.is_over(), "{now:?}");
        now.steps.iter().filter(|s| s.name == StepName::Restore).count() > 6
    })
    .await;
    next.repositories.heal();
    assert_eq!(over(&engine, &operation).await.state, OperationState::Succeeded);
    becomes(&engine, "alice", InstanceState::Live).await;
}

#[tokio::test]
async fn one_damaged_repository_or_one_that_is_left_out_does_not_hold_the_others() {
    let platform = with_bucket();
    let engine = platform.start().await;
    let mut ids = Vec::new();
    for text in ["alice", "bob", "carol"] {
        ids.push(provisioned(&engine, text).await.instance);
        backed_up(&engine, text).await;
    }
    let bad = ids[0].to_string();
    platform.repositories.fail_by(move |job| {
        let here = job.repository.as_ref().is_some_and(|r| r.folder == bad);
        here.then(|| BackupError {
            kind: BackupErrorKind::Damaged,
            message: "cannot read the repository".into(),
        })
    });
    let (next, all) = recovered_without(platform, engine, &[name("bob")]).await;
    let why: Vec<_> = all.iter().map(|one| one.error.as_deref()).collect();
    assert_eq!(why, [Some("cannot read the repository"), Some("it was left out"), None]);

    next.repositories.heal();
    let engine = next.start().await;
    becomes(&engine, "carol", InstanceState::Live).await;
    for text in ["alice", "bob"] {
        becomes(&engine, text, InstanceState::Failing).await;
        let request = restore_of(text);
        let asked = engine.restore(&Actor::system(), request, None).await.unwrap();
        assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);
        becomes(&engine, text, InstanceState::Live).await;
    }
}

#[tokio::test]
async fn an_instance_whose_backups_are_missing_does_not_begin_empty() {
    let platform = with_bucket();
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    backed_up(&engine, "alice").await;
    let lost = engine.backups(&name("alice")).await.unwrap().remove(0);
    platform.repositories.lose("gs://bucket/prefix", lost.id.as_str());
    let (next, all) = recovered(platform, engine).await;
    assert_eq!(all[0].error.as_deref(), Some("its 1 backups are missing at the destination"));
    let engine = next.start().await;
    becomes(&engine, "alice", InstanceState::Failing).await;
    assert_eq!(engine.status(&name("alice")).await.unwrap().id, id);
}

#[tokio::test]
async fn an_instance_that_awaits_its_restore_waits_for_a_destination_that_is_not_mounted() {
    let folder = "/mnt/backups";
    let platform = TestPlatform::new().with_destination(folder);
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    let (next, _) = recovered(platform, engine).await;
    let mounted = next.repositories.contents(folder);
    next.repositories.empty(folder);
    let engine = next.start().await;
    let operation = engine.operations(Some(&name("alice")), 1).await.unwrap().remove(0);
    until("it was tried more often than other restores are", async || {
        let now = engine.operation(&operation.id).await.unwrap();
        assert!(!now.state.is_over(), "{now:?}");
        now.steps.iter().filter(|s| s.name == StepName::Restore).count() > 6
    })
    .await;
    next.repositories.bring_back(mounted);
    assert_eq!(over(&engine, &operation).await.state, OperationState::Succeeded);
    becomes(&engine, "alice", InstanceState::Live).await;
}
