//! What expires, when, and what does not.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use startclaw_backup::{BackupError, BackupErrorKind, Work};
use startclaw_engine::{Engine, EngineError, RestoreRequest};
use startclaw_model::{
    Actor, DeletionPolicy, InstanceId, Operation, OperationState, Snapshot, SnapshotId, Timestamp,
};
use startclaw_store::{Property, Store};
use startclaw_testkit::*;

const FOLDER: &str = "/mnt/backups";
const DAY: Duration = Duration::from_secs(24 * 3600);

async fn night(engine: &Engine) -> Operation {
    let asked = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
    over(engine, &asked).await
}

/// A snapshot that the database knows, and that is `days` old.
fn known(id: &InstanceId, days: u32, remote: bool) -> Snapshot {
    Snapshot {
        id: SnapshotId(format!("{days:032x}")),
        instance: id.clone(),
        name: name("alice"),
        sequence: None,
        taken_at: Timestamp::now().minus(DAY * days),
        files: 1,
        bytes: 1,
        added_bytes: 1,
        local: false,
        remote,
        verified_local: None,
        verified_remote: None,
    }
}

async fn time(store: &Store, property: Property, at: Timestamp) {
    store.set_property(property, &at.as_millis().to_string()).await.unwrap();
}

/// Starts a daemon and waits until it collected the archives.
async fn collected(platform: &TestPlatform) -> Engine {
    let store = platform.database().await;
    time(&store, Property::ArchivesCollected, Timestamp::now().minus(DAY * 2)).await;
    let begun = Timestamp::now();
    let engine = platform.start().await;
    until("the archives are collected", async || {
        let last = store.property(Property::ArchivesCollected).await.unwrap().unwrap();
        last.parse::<i64>().unwrap() >= begun.as_millis()
    })
    .await;
    engine
}

/// An instance that was removed just now, and whose only backup is 60 days old.
async fn removed_with_an_old_backup(platform: &TestPlatform) -> InstanceId {
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    let store = platform.database().await;
    store.add_snapshot(&known(&id, 60, true)).await.unwrap();
    let policy = DeletionPolicy::None;
    let gone = engine.deprovision(&Actor::system(), &name("alice"), policy, None).await.unwrap();
    assert_eq!(over(&engine, &gone).await.state, OperationState::Succeeded);
    engine.shutdown().await;
    id
}

#[tokio::test]
async fn a_full_disk_has_the_expired_deleted_and_the_backup_is_tried_again() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    let freed = Arc::new(AtomicBool::new(false));
    let (seen, forgotten) = (freed.clone(), Arc::new(Mutex::new(0)));
    let count = forgotten.clone();
    platform.repositories.fail_by(move |job| match job.work {
        Work::Forget { .. } if !job.repository.as_ref()?.folder.starts_with("control") => {
            seen.store(true, Ordering::SeqCst);
            *count.lock().unwrap() += 1;
            None
        }
        Work::Take { .. } if !seen.load(Ordering::SeqCst) => Some(BackupError {
            kind: BackupErrorKind::Unavailable,
            message: "cannot write packs/1: the disk is full; free some space".into(),
        }),
        _ => None,
    });
    let done = night(&engine).await;
    assert_eq!(done.state, OperationState::Succeeded, "{done:?}");
    assert!(freed.load(Ordering::SeqCst));
    assert_eq!(steps(&done)[..3], ["scan", "forget", "scan"]);
    assert_eq!(*forgotten.lock().unwrap(), 1, "once a night");
}

#[tokio::test]
async fn a_damaged_snapshot_file_goes_when_what_it_was_has_expired() {
    for keep_days in [30, 0] {
        let mut platform = TestPlatform::new().with_destination(FOLDER);
        platform.backups.keep_days = keep_days;
        let engine = platform.start().await;
        provisioned(&engine, "alice").await;
        let lost = backed_up(&engine, "alice").await.snapshot.unwrap();
        platform.repositories.damage(FOLDER, lost.as_str());
        let fires = async || {
            let alerts = engine.alerts().await.unwrap();
            alerts.iter().any(|alert| alert.key == "damaged/alice")
        };
        assert_eq!(night(&engine).await.state, OperationState::Succeeded);
        assert!(fires().await, "not in the night in which it is found");
        for _ in 0..2 {
            assert_eq!(night(&engine).await.state, OperationState::Succeeded);
        }
        assert_eq!(fires().await, keep_days > 0);
    }
}

#[tokio::test]
async fn what_is_missing_is_listed_while_the_clock_is_suspect() {
    let platform = TestPlatform::new().with_destination(FOLDER);
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    let store = platform.database().await;
    store.add_snapshot(&known(&id, 60, false)).await.unwrap();
    time(&store, Property::ClockSuspectUntil, Timestamp::now().plus(DAY)).await;
    night(&engine).await;
    let missing = async || {
        let all = engine.backups(&name("alice")).await.unwrap();
        all.iter().filter(|s| s.is_missing()).count()
    };
    assert_eq!(missing().await, 1);
    store.set_property(Property::ClockSuspectUntil, "").await.unwrap();
    night(&engine).await;
    assert_eq!(missing().await, 0, "it would have expired");
}

#[tokio::test]
async fn archives_are_collected_a_day_after_the_last_time_whenever_the_daemon_starts() {
    let platform = TestPlatform::new().with_destination(FOLDER);
    collected(&platform).await.shutdown().await;
    let store = platform.database().await;
    let recent = Timestamp::now().minus(DAY / 2);
    time(&store, Property::ArchivesCollected, recent).await;
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    let last = store.property(Property::ArchivesCollected).await.unwrap();
    assert_eq!(last, Some(recent.as_millis().to_string()), "it is not due");
}

#[tokio::test]
async fn an_old_backup_of_an_instance_that_was_removed_lately_is_kept() {
    for (keep_days, kept) in [(30, true), (0, false)] {
        let mut platform = TestPlatform::new().with_destination(FOLDER);
        platform.backups.keep_days = keep_days;
        removed_with_an_old_backup(&platform).await;
        let engine = collected(&platform).await;
        assert_eq!(!engine.removed(None).await.unwrap().is_empty(), kept, "{keep_days}");
    }
}

#[tokio::test]
async fn what_is_being_deleted_cannot_be_restored() {
    let mut platform = TestPlatform::new().with_destination(FOLDER);
    platform.backups.keep_days = 0;
    removed_with_an_old_backup(&platform).await;
    platform.repositories.fail_by(|job| {
        matches!(job.work, Work::Erase).then(|| BackupError {
            kind: BackupErrorKind::Unavailable,
            message: "half of it is deleted".into(),
        })
    });
    let engine = collected(&platform).await;
    let alerts = engine.alerts().await.unwrap();
    assert!(alerts.iter().any(|a| a.key.starts_with("purge/alice/")), "{alerts:?}");
    for as_name in [None, Some(name("bob"))] {
        let request = RestoreRequest { as_name, ..restore_of("alice") };
        let refused = engine.restore(&Actor::system(), request, None).await;
        assert!(matches!(refused, Err(EngineError::NoInstance(_))), "{refused:?}");
    }
}
