//! Drills on a simulated host with repositories in memory.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use startclaw_backup::{BackupError, BackupErrorKind, Job, Work};
use startclaw_engine::{Engine, EngineError};
use startclaw_host::objects::Step;
use startclaw_model::{
    Actor, CheckStatus, DeletionPolicy, InstanceId, InstanceState, Operation, OperationKind,
    OperationState, StepName,
};
use startclaw_simulated::{Behaviour, Fault, Faults, SimInstance};
use startclaw_testkit::*;

/// An engine with an instance `alice` that has a backup.
async fn ready(platform: &TestPlatform) -> Engine {
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    engine
}

async fn drilled(engine: &Engine) -> Operation {
    let asked = engine.drill(&Actor::system(), None).await.unwrap();
    over(engine, &asked).await
}

fn alice(platform: &TestPlatform) -> (InstanceId, SimInstance) {
    let mut world = platform.host.state();
    let id = world.ids().into_iter().find(|id| !id.as_str().starts_with("drill-")).unwrap();
    let thing = world.instance(&id).clone();
    (id, thing)
}

/// Waits until the test instance is removed, and alice is unchanged.
async fn only_alice(platform: &TestPlatform) {
    until("nothing of the drill is left", async || platform.host.state().ids().len() == 1).await;
    let (_, thing) = alice(platform);
    assert_eq!((thing.starts, thing.mounted, thing.volumes.len()), (1, 0, 1));
}

async fn finding(engine: &Engine) -> (CheckStatus, String) {
    let found = engine.diagnose().await.into_iter().find(|f| f.name == "drill").unwrap();
    (found.status, found.detail)
}

#[tokio::test]
async fn a_drill_tries_the_newest_backup_beside_the_living_instance() {
    let platform = TestPlatform::new();
    let engine = ready(&platform).await;
    assert!(finding(&engine).await.1.contains("no backup was tested yet"));
    let (id, _) = alice(&platform);
    let host = platform.host.clone();
    platform.host.set_faults(Faults::by(move |_, step| {
        if matches!(step, Some(Step::StartContainer)) {
            let mut world = host.state();
            let living = world.instance(&id);
            assert!(living.container.is_some(), "the live instance keeps running");
            let drill = world.instance(&InstanceId(format!("drill-{id}"))).clone();
            assert!(drill.isolated && !drill.network && drill.secrets.is_some());
        }
        Fault::None
    }));
    let done = drilled(&engine).await;
    assert_eq!(done.state, OperationState::Succeeded, "{done:?}");
    assert_eq!(done.kind, OperationKind::Drill);
    assert_eq!(steps(&done), ["volume", "restore", "databases", "boot", "cleanup"]);
    assert_eq!(done.steps[2].detail.as_deref(), Some("1 are good"));
    let newest = engine.backups(&name("alice")).await.unwrap()[0].id.clone();
    assert_eq!(done.snapshot, Some(newest));
    only_alice(&platform).await;
    let (verdict, detail) = finding(&engine).await;
    assert_eq!(verdict, CheckStatus::Ok);
    assert!(detail.starts_with("alice started on its backup at"), "{detail}");
    until("it is an event", async || {
        let events = engine.events(Some(&name("alice")), 10).await.unwrap();
        events.iter().any(|e| e.detail.starts_with("drill succeeded"))
    })
    .await;
}

#[tokio::test]
async fn without_a_backup_there_is_nothing_to_try() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    for wanted in [None, Some(name("alice"))] {
        let refused = engine.drill(&Actor::system(), wanted.as_ref().map(Into::into)).await;
        assert!(matches!(refused, Err(EngineError::Conflict(_))), "{refused:?}");
    }
    let unknown = engine.drill(&Actor::system(), Some((&name("bob")).into())).await;
    assert!(matches!(unknown, Err(EngineError::NoInstance(_))));
}

#[tokio::test]
async fn a_damaged_database_fails_the_drill_and_is_an_alert_until_one_is_good() {
    let platform = TestPlatform::new();
    let engine = ready(&platform).await;
    platform.repositories.fail_by(|job: &Job| {
        matches!(job.work, Work::CheckDatabases { .. }).then(|| BackupError {
            kind: BackupErrorKind::Damaged,
            message: "damaged databases: state/openclaw.sqlite (wrong # of entries)".into(),
        })
    });
    let failed = drilled(&engine).await;
    assert_eq!(failed.state, OperationState::Failed, "{failed:?}");
    assert!(failed.error.unwrap().contains("state/openclaw.sqlite"));
    only_alice(&platform).await;
    let alerts = engine.alerts().await.unwrap();
    assert_eq!(alerts[0].key, "drill/alice");
    let (verdict, detail) = finding(&engine).await;
    assert!(verdict == CheckStatus::Error && detail.contains("state/openclaw.sqlite"), "{detail}");

    // It survives a restart of the daemon.
    engine.shutdown().await;
    let engine = platform.start().await;
    becomes(&engine, "alice", InstanceState::Live).await;
    assert_eq!(finding(&engine).await.0, CheckStatus::Error);
    platform.repositories.heal();
    assert_eq!(drilled(&engine).await.state, OperationState::Succeeded);
    assert!(engine.alerts().await.unwrap().is_empty());
    assert_eq!(finding(&engine).await.0, CheckStatus::Ok);
}

#[tokio::test]
async fn a_boot_that_fails_or_never_ends_fails_the_drill_and_not_the_instance() {
    for (behaviour, why) in [
        (Behaviour::Exits(1), "does not start on the restored data"),
        (Behaviour::Hangs, "did not start within"),
    ] {
        let platform = TestPlatform::new();
        let engine = ready(&platform).await;
        platform.host.state().next_behaviour = behaviour;
        let failed = drilled(&engine).await;
        assert_eq!(failed.state, OperationState::Failed, "{failed:?}");
        assert!(failed.error.as_ref().unwrap().contains(why), "{failed:?}");
        let boot = failed.steps.last().unwrap();
        assert_eq!(boot.name, StepName::Boot);
        assert!(boot.detail.as_ref().unwrap().contains("start 0"), "with its log: {boot:?}");
        assert_eq!(engine.alerts().await.unwrap()[0].key, "drill/alice");
        only_alice(&platform).await;
        becomes(&engine, "alice", InstanceState::Live).await;
    }
}

#[tokio::test]
async fn a_bucket_that_is_away_for_a_moment_only_delays_a_drill() {
    let platform = TestPlatform::new();
    let engine = ready(&platform).await;
    let first = AtomicBool::new(true);
    platform.repositories.fail_by(move |job: &Job| {
        let fails = matches!(job.work, Work::Restore { .. }) && first.swap(false, Ordering::SeqCst);
        fails.then(|| BackupError {
            kind: BackupErrorKind::Unavailable,
            message: "the bucket is away".into(),
        })
    });
    let done = drilled(&engine).await;
    assert_eq!(done.state, OperationState::Succeeded, "{done:?}");
    assert_eq!(steps(&done).iter().filter(|s| **s == "restore").count(), 2);
    only_alice(&platform).await;
}

#[tokio::test]
async fn two_drills_asked_at_once_are_one_and_a_removal_ends_it() {
    let platform = TestPlatform::new();
    let engine = ready(&platform).await;
    platform.host.state().next_behaviour = Behaviour::Hangs;
    let one = engine.drill(&Actor::system(), None).await.unwrap();
    let other = engine.drill(&Actor::system(), Some((&name("alice")).into())).await.unwrap();
    assert_eq!(one.id, other.id);
    until("it boots", async || platform.host.state().ids().len() == 2).await;
    let alice = name("alice");
    let gone =
        engine.deprovision(&Actor::system(), &alice, DeletionPolicy::None, None).await.unwrap();
    assert_eq!(over(&engine, &gone).await.state, OperationState::Succeeded);
    assert_eq!(over(&engine, &one).await.state, OperationState::Failed);
    until("nothing is left", async || platform.host.state().ids().is_empty()).await;
    let drill = engine.operation(&one.id).await.unwrap();
    assert_eq!(drill.error.as_deref(), Some("the instance was deprovisioned meanwhile"));
}

/// A daemon that crashes at `step` of a drill; returns the operation that it leaves open.
fn dies_at(platform: &TestPlatform, step: StepName, fault: Fault) -> Operation {
    let life = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let life = life.unwrap();
    let died = Arc::new(AtomicBool::new(false));
    let tell = died.clone();
    let (engine, asked) = std::thread::scope(|scope| {
        let living = scope.spawn(|| {
            life.block_on(async {
                let engine = ready(platform).await;
                platform.host.set_faults(Faults::by(move |_, now| {
                    if now.is_some_and(|now| now.name() == step) {
                        tell.store(true, Ordering::SeqCst);
                        return fault;
                    }
                    Fault::None
                }));
                let asked = engine.drill(&Actor::system(), None).await.unwrap();
                until("it hangs", async || died.load(Ordering::SeqCst)).await;
                (engine, asked)
            })
        });
        living.join().unwrap()
    });
    drop(engine);
    life.shutdown_background();
    platform.host.set_faults(Faults::none());
    asked
}

#[tokio::test]
async fn a_daemon_that_dies_at_any_step_leaves_nothing_and_the_drill_is_done() {
    for step in [
        StepName::RemoveContainer,
        StepName::Volume,
        StepName::Secrets,
        StepName::Config,
        StepName::Container,
        StepName::Start,
        StepName::RemoveSecrets,
        StepName::RemoveVolume,
    ] {
        for fault in [Fault::HangBefore, Fault::HangAfter] {
            let platform = TestPlatform::new();
            let asked = dies_at(&platform, step, fault);
            let engine = platform.start().await;
            let done = over(&engine, &asked).await;
            assert_eq!(done.state, OperationState::Succeeded, "{step} {fault:?}: {done:?}");
            only_alice(&platform).await;
            engine.shutdown().await;
        }
    }
}

#[tokio::test]
async fn what_a_drill_left_behind_is_cleared_away_when_its_instance_is_gone() {
    let platform = TestPlatform::new();
    dies_at(&platform, StepName::Start, Fault::HangAfter);
    let (id, _) = alice(&platform);
    let store = platform.database().await;
    store.forget(&id, &[]).await.unwrap();
    store.close().await;
    {
        let mut world = platform.host.state();
        *world.instance(&id) = SimInstance::default();
        assert_eq!(world.ids().len(), 1, "the drill's container, volume and secrets");
    }
    let _engine = platform.start().await;
    until("they are gone", async || platform.host.state().ids().is_empty()).await;
}
