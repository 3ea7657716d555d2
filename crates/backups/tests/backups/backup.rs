//! Backups and restores on a simulated host with repositories in memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use startclaw_backup::{BackupError, BackupErrorKind, Job, Work};
use startclaw_engine::{Engine, EngineError, RestoreRequest};
use startclaw_host::{ContainerState, objects::Step};
use startclaw_model::{
    Actor, CheckStatus, DeletionPolicy, InstanceId, InstanceState, Operation, OperationState,
};
use startclaw_simulated::{Behaviour, Fault, Faults, SimInstance};
use startclaw_testkit::*;

async fn restore(
    engine: &Engine,
    text: &str,
    as_name: Option<&str>,
) -> Result<Operation, EngineError> {
    let request = RestoreRequest { as_name: as_name.map(name), ..restore_of(text) };
    let asked = engine.restore(&Actor::system(), request, None).await?;
    Ok(over(engine, &asked).await)
}

fn away() -> BackupError {
    BackupError { kind: BackupErrorKind::Unavailable, message: "the bucket is away".into() }
}

fn only(platform: &TestPlatform) -> InstanceId {
    let ids = platform.host.state().ids();
    assert_eq!(ids.len(), 1, "{ids:?}");
    ids[0].clone()
}

/// The state of the only instance.
fn thing(platform: &TestPlatform) -> SimInstance {
    let id = only(platform);
    platform.host.state().instance(&id).clone()
}

#[tokio::test]
async fn a_backup_freezes_the_instance_for_a_moment_and_leaves_it_live() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    let done = backed_up(&engine, "alice").await;
    assert_eq!(steps(&done), ["scan", "quiesce", "freeze", "commit"]);
    let backups = engine.backups(&name("alice")).await.unwrap();
    assert_eq!(backups.len(), 1);
    assert_eq!(Some(&backups[0].id), done.snapshot.as_ref());
    let status = engine.status(&name("alice")).await.unwrap();
    assert_eq!(
        (status.state, status.last_backup),
        (InstanceState::Live, Some(backups[0].taken_at))
    );
    let thing = thing(&platform);
    assert!(thing.frozen_at.is_some(), "it was frozen");
    assert_eq!(thing.container.unwrap().state, ContainerState::Running);
    assert_eq!(thing.starts, 1);
}

#[tokio::test]
async fn two_backups_asked_at_once_are_one() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    let alice = name("alice");
    let one = engine.backup(&Actor::system(), &alice).await.unwrap();
    let other = engine.backup(&Actor::system(), &alice).await.unwrap();
    assert_eq!(one.id, other.id);
    over(&engine, &one).await;
    assert_eq!(engine.backups(&alice).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_restore_that_is_asked_during_a_backup_comes_after_it_and_both_succeed() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    let backup = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
    let restored = restore(&engine, "alice", None).await.unwrap();
    let backup = over(&engine, &backup).await;
    assert_eq!(backup.state, OperationState::Succeeded, "{backup:?}");
    assert_eq!(restored.state, OperationState::Succeeded, "{restored:?}");
    assert!(backup.finished_at <= restored.started_at, "one writer at a time");
    assert_eq!(engine.backups(&name("alice")).await.unwrap().len(), 2);
    becomes(&engine, "alice", InstanceState::Live).await;
}

#[tokio::test]
async fn an_instance_that_does_not_run_is_backed_up_too() {
    let platform = TestPlatform::new();
    platform.host.state().next_behaviour = Behaviour::Exits(1);
    let engine = platform.start().await;
    let asked = engine.provision(&Actor::system(), request("alice"), None).await.unwrap();
    over(&engine, &asked).await;
    becomes(&engine, "alice", InstanceState::Failing).await;
    backed_up(&engine, "alice").await;
}

#[tokio::test]
async fn a_backup_that_fails_for_good_says_why_and_fires_an_alert_that_the_next_resolves() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    platform.repositories.fail_by(|_| {
        Some(BackupError {
            kind: BackupErrorKind::Unreadable,
            message: "cannot read workspace/x".into(),
        })
    });
    let asked = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
    let failed = over(&engine, &asked).await;
    assert_eq!(failed.state, OperationState::Failed);
    assert_eq!(failed.error.as_deref(), Some("cannot read workspace/x"));
    let alerts = engine.alerts().await.unwrap();
    assert_eq!(alerts[0].key, "backup/alice");
    platform.repositories.heal();
    backed_up(&engine, "alice").await;
    assert!(engine.alerts().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_damaged_repository_is_an_alert_of_its_own_and_not_the_buckets() {
    let platform = TestPlatform::new().with_destination("gs://bucket/prefix");
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    platform.repositories.fail_by(|job: &Job| {
        matches!(job.work, Work::Copy { .. }).then(|| BackupError {
            kind: BackupErrorKind::Damaged,
            message: "a pack is missing".into(),
        })
    });
    backed_up(&engine, "alice").await;
    let alerts = engine.alerts().await.unwrap();
    assert_eq!(alerts[0].key, format!("upload/{id}"));
    assert!(alerts.len() == 1 && alerts[0].detail.contains("alice"), "{alerts:?}");
    platform.repositories.heal();
    backed_up(&engine, "alice").await;
    assert!(engine.alerts().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_bucket_that_is_away_fails_no_backup_and_gets_all_of_them_later() {
    let platform = TestPlatform::new().with_destination("gs://bucket/prefix");
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    platform.repositories.fail_by(|job: &Job| matches!(job.work, Work::Copy { .. }).then(away));
    for _ in 0..3 {
        backed_up(&engine, "alice").await;
    }
    let backups = engine.backups(&name("alice")).await.unwrap();
    assert_eq!(backups.len(), 3);
    assert!(backups.iter().all(|b| b.local && !b.remote));
    assert_eq!(engine.alerts().await.unwrap()[0].key, "bucket");
    platform.repositories.heal();
    backed_up(&engine, "alice").await;
    let backups = engine.backups(&name("alice")).await.unwrap();
    assert_eq!(backups.len(), 4);
    assert!(backups.iter().all(|b| b.local && b.remote), "no snapshot was skipped");
}

#[tokio::test]
async fn a_restore_moves_to_a_new_volume_keeps_the_old_one_and_can_be_undone() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    let id = only(&platform);
    let done = restore(&engine, "alice", None).await.unwrap();
    assert_eq!(done.state, OperationState::Succeeded, "{done:?}");
    becomes(&engine, "alice", InstanceState::Live).await;
    let thing = platform.host.state().instance(&id).clone();
    assert_eq!(thing.mounted, 1);
    assert_eq!(thing.volumes.keys().copied().collect::<Vec<_>>(), [0, 1]);

    let undone = engine.undo_restore(&Actor::system(), &name("alice"), None).await.unwrap();
    assert_eq!(over(&engine, &undone).await.state, OperationState::Succeeded);
    assert_eq!(platform.host.state().instance(&id).mounted, 0);
}

#[tokio::test]
async fn a_replaced_volume_goes_when_its_time_is_over() {
    let platform = TestPlatform::new();
    let mut settings = settings();
    settings.keep_replaced = Duration::ZERO;
    let engine = platform.start_with(settings).await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    restore(&engine, "alice", None).await.unwrap();
    let id = only(&platform);
    until("the old volume is gone", async || {
        platform.host.state().instance(&id).volumes.keys().copied().collect::<Vec<_>>() == [1]
    })
    .await;
    becomes(&engine, "alice", InstanceState::Live).await;
    let undo = engine.undo_restore(&Actor::system(), &name("alice"), None).await;
    assert!(matches!(undo, Err(EngineError::Conflict(_))), "{undo:?}");
}

#[tokio::test]
async fn an_instance_that_does_not_come_up_on_what_was_restored_goes_on_as_it_was() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    let id = only(&platform);
    // It starts on its first volume only.
    let host = platform.host.clone();
    let seen = id.clone();
    platform.host.set_faults(Faults::by(move |_, step| {
        if matches!(step, Some(Step::StartContainer)) {
            // The host's state is not locked while faults are chosen.
            let mut world = host.state();
            let thing = world.instance(&seen);
            thing.behaviour =
                if thing.mounted == 0 { Behaviour::Healthy } else { Behaviour::Exits(1) };
        }
        Fault::None
    }));
    let failed = restore(&engine, "alice", None).await.unwrap();
    assert_eq!(failed.state, OperationState::Failed, "{failed:?}");
    let why = failed.error.unwrap();
    assert!(why.contains("continues on the previous one"), "{why}");
    becomes(&engine, "alice", InstanceState::Live).await;
    until("the volume that was no good is gone", async || {
        let world = &mut platform.host.state();
        let thing = world.instance(&id);
        thing.mounted == 0 && thing.volumes.len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_restore_that_cannot_be_read_leaves_the_instance_alone() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    platform.repositories.fail_by(|job: &Job| {
        matches!(job.work, Work::Restore { .. }).then(|| BackupError {
            kind: BackupErrorKind::Damaged,
            message: "pack 5e is missing".into(),
        })
    });
    let failed = restore(&engine, "alice", None).await.unwrap();
    assert_eq!(failed.error.as_deref(), Some("pack 5e is missing"));
    let id = only(&platform);
    until("the half-filled volume is gone", async || {
        platform.host.state().instance(&id).volumes.len() == 1
    })
    .await;
    let thing = platform.host.state().instance(&id).clone();
    assert_eq!((thing.starts, thing.mounted), (1, 0), "it was not disturbed");
    platform.repositories.heal();
    assert_eq!(
        restore(&engine, "alice", None).await.unwrap().state,
        OperationState::Succeeded,
        "another attempt can succeed"
    );
}

#[tokio::test]
async fn a_copy_is_an_instance_of_its_own_beside_the_original() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    let done = restore(&engine, "alice", Some("alice-2")).await.unwrap();
    assert_eq!(done.state, OperationState::Succeeded, "{done:?}");
    assert_eq!(platform.host.state().ids().len(), 2);
    for text in ["alice", "alice-2"] {
        becomes(&engine, text, InstanceState::Live).await;
    }
    let taken = restore(&engine, "alice", Some("alice-2")).await;
    assert!(matches!(taken, Err(EngineError::NameTaken(_))), "{taken:?}");
}

#[tokio::test]
async fn deprovision_takes_a_last_backup_and_the_instance_can_come_back_as_itself() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    let id = only(&platform);
    let alice = name("alice");
    let gone = engine
        .deprovision(&Actor::system(), &alice, DeletionPolicy::FinalBackup, None)
        .await
        .unwrap();
    let gone = over(&engine, &gone).await;
    assert_eq!(gone.state, OperationState::Succeeded, "{gone:?}");
    assert!(gone.snapshot.is_some() && platform.host.state().ids().is_empty());
    assert_eq!(engine.backups(&alice).await.unwrap().len(), 1);
    let done = restore(&engine, "alice", None).await.unwrap();
    assert_eq!(done.state, OperationState::Succeeded, "{done:?}");
    assert_eq!(only(&platform), id, "it has the same id, and so its key and its backups");
    assert_eq!(engine.backups(&alice).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_purge_forgets_the_backups_too() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    let alice = name("alice");
    let gone =
        engine.deprovision(&Actor::system(), &alice, DeletionPolicy::Purge, None).await.unwrap();
    assert_eq!(over(&engine, &gone).await.state, OperationState::Succeeded);
    assert!(matches!(engine.backups(&alice).await, Err(EngineError::NoInstance(_))));
}

/// The removal overtakes a restore that is about to create its volume.
#[tokio::test]
async fn a_deprovision_during_a_restore_leaves_no_volume_and_no_open_operation() {
    for policy in [DeletionPolicy::None, DeletionPolicy::Purge] {
        let platform = TestPlatform::new();
        let engine = platform.start().await;
        provisioned(&engine, "alice").await;
        backed_up(&engine, "alice").await;
        let begun = Arc::new(AtomicBool::new(false));
        let tell = begun.clone();
        platform.host.set_faults(Faults::by(move |_, step| {
            if matches!(step, Some(Step::CreateVolume)) && !tell.swap(true, Ordering::SeqCst) {
                // Longer than a removal takes.
                return Fault::Lag(std::time::Duration::from_millis(500));
            }
            Fault::None
        }));
        let request = restore_of("alice");
        let restore = engine.restore(&Actor::system(), request, None).await.unwrap();
        until("the volume is about to be made", async || begun.load(Ordering::SeqCst)).await;
        let gone = engine.deprovision(&Actor::system(), &name("alice"), policy, None).await;
        assert_eq!(over(&engine, &gone.unwrap()).await.state, OperationState::Succeeded);
        assert_eq!(over(&engine, &restore).await.state, OperationState::Failed);
        // The shutdown waits for the jobs.
        engine.shutdown().await;
        assert_eq!(platform.host.state().ids(), [], "{policy:?}");
        let store = platform.database().await;
        assert_eq!(store.instances_with_open_operations().await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_last_backup_that_fails_keeps_the_data_until_somebody_does_without() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    platform.repositories.fail_by(|_| Some(away()));
    let alice = name("alice");
    let gone = engine
        .deprovision(&Actor::system(), &alice, DeletionPolicy::FinalBackup, None)
        .await
        .unwrap();
    until("it says what to do", async || {
        let steps = engine.operation(&gone.id).await.unwrap().steps;
        steps.iter().any(|s| s.detail.as_ref().is_some_and(|d| d.contains("--no-backup")))
    })
    .await;
    assert_eq!(thing(&platform).volumes.len(), 1);
    engine.deprovision(&Actor::system(), &alice, DeletionPolicy::None, None).await.unwrap();
    assert_eq!(over(&engine, &gone).await.state, OperationState::Succeeded);
    assert!(platform.host.state().ids().is_empty());
}

#[tokio::test]
async fn a_daemon_that_dies_while_an_instance_is_frozen_leaves_it_live_and_the_backup_is_made() {
    let platform = TestPlatform::new();
    let died = Arc::new(AtomicBool::new(false));
    let (tell, calls) = (died.clone(), Arc::new(AtomicU32::new(0)));
    let life = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let life = life.unwrap();
    let host = platform.host.clone();
    let (engine, asked) = {
        let platform = &platform;
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    life.block_on(async {
                        let engine = platform.start().await;
                        provisioned(&engine, "alice").await;
                        host.set_faults(Faults::by(move |_, step| {
                            if matches!(step, Some(Step::PauseContainer { .. })) {
                                tell.store(true, Ordering::SeqCst);
                                calls.fetch_add(1, Ordering::SeqCst);
                                return Fault::HangAfter;
                            }
                            Fault::None
                        }));
                        let asked = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
                        until("it is frozen", async || died.load(Ordering::SeqCst)).await;
                        (engine, asked)
                    })
                })
                .join()
                .unwrap()
        })
    };
    drop(engine);
    life.shutdown_background();
    platform.host.set_faults(Faults::none());
    let engine = platform.start().await;
    let done = over(&engine, &asked).await;
    assert_eq!(done.state, OperationState::Succeeded, "{done:?}");
    becomes(&engine, "alice", InstanceState::Live).await;
    let thing = thing(&platform);
    assert_eq!(thing.container.unwrap().state, ContainerState::Running);
    assert_eq!(thing.starts, 1);
}

#[tokio::test]
async fn an_instance_that_went_on_too_early_is_backed_up_again() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    let id = only(&platform);
    let (host, first) = (platform.host.clone(), Arc::new(AtomicBool::new(true)));
    platform.host.set_faults(Faults::by(move |_, step| {
        // As the watchdog does, just before we do.
        if matches!(step, Some(Step::ResumeContainer)) && first.swap(false, Ordering::SeqCst) {
            let mut world = host.state();
            world.instance(&id).container.as_mut().unwrap().state = ContainerState::Running;
        }
        Fault::None
    }));
    let done = backed_up(&engine, "alice").await;
    assert_eq!(steps(&done).iter().filter(|s| **s == "freeze").count(), 2, "{done:?}");
    assert_eq!(engine.backups(&name("alice")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_there_is_no_backup_of_is_said_with_what_there_is() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    let none = restore(&engine, "alice", None).await;
    assert!(matches!(none, Err(EngineError::Invalid { ref field, .. }) if field == "snapshot"));
    let unknown = restore(&engine, "bob", None).await;
    assert!(matches!(unknown, Err(EngineError::NoInstance(_))));
}

#[tokio::test]
async fn doctor_tells_whether_backups_can_go_where_they_are_to_go() {
    let platform = TestPlatform::new();
    let found = async |engine: &Engine| {
        engine.diagnose().await.into_iter().find(|f| f.name == "backups").unwrap()
    };
    let engine = platform.start().await;
    assert_eq!(
        found(&engine).await.status,
        CheckStatus::Warning,
        "the disk is lost with the machine"
    );
    engine.shutdown().await;
    let platform = platform.with_destination("gs://bucket/prefix");
    let engine = platform.start().await;
    assert_eq!(found(&engine).await.status, CheckStatus::Ok);
    platform.repositories.fail_by(|_| Some(away()));
    let bad = found(&engine).await;
    assert_eq!((bad.status, bad.detail.as_str()), (CheckStatus::Error, "the bucket is away"));
    assert!(bad.fix.is_some());
}
