//! One fault does not delay the others: a bucket that hangs, a damaged copy, a damaged repository.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use startclaw_backup::{BackupError, BackupErrorKind, Job, Work};
use startclaw_engine::RestoreRequest;
use startclaw_model::{Actor, OperationState};
use startclaw_testkit::*;

const BUCKET: &str = "gs://bucket/prefix";
/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// Whether a job needs the bucket.
fn is_of_bucket(job: &Job) -> bool {
    let there = |repository: &startclaw_backup::Repository| {
        repository.storage.destination.to_string() == BUCKET
    };
    let to = match &job.work {
        Work::Copy { to } => Some(to),
        Work::Repair { from } => Some(from),
        _ => None,
    };
    job.repository.iter().chain(to).any(there)
}

fn damaged() -> BackupError {
    BackupError { kind: BackupErrorKind::Damaged, message: "a pack is damaged".into() }
}

#[tokio::test]
async fn a_night_of_two_hundred_instances_ends_although_the_bucket_hangs() {
    let platform = TestPlatform::patient().with_destination(BUCKET);
    let engine = platform.start().await;
    let names: Vec<_> = (0..200).map(|n| format!("claw-{n}")).collect();
    for text in &names {
        let asked = engine.provision(&Actor::system(), request(text), None).await.unwrap();
        assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);
    }
    backed_up(&engine, "claw-0").await;
    let tried = Arc::new(AtomicU32::new(0));
    let count = tried.clone();
    platform.repositories.hang_by(move |job| {
        let waits = is_of_bucket(job);
        if waits {
            count.fetch_add(1, Ordering::SeqCst);
        }
        // Instead of the 300 s of a real one.
        waits.then_some(Duration::from_millis(200))
    });
    let mut asked = Vec::new();
    for text in &names {
        asked.push(engine.backup(&Actor::system(), &name(text)).await.unwrap());
    }
    for operation in asked {
        let done = over(&engine, &operation).await;
        assert_eq!(done.state, OperationState::Succeeded, "{done:?}");
    }
    let tried = tried.load(Ordering::SeqCst);
    assert!(tried <= 8, "the bucket was waited for {tried} times");
    let open = engine.alerts().await.unwrap();
    assert!(open.iter().any(|alert| alert.key == "bucket"), "{open:?}");
}

#[tokio::test]
async fn a_restore_from_this_host_waits_for_no_bucket() {
    let platform = TestPlatform::new().with_destination(BUCKET);
    let engine = platform.start().await;
    for text in ["alice", "bob", "carol"] {
        provisioned(&engine, text).await;
        backed_up(&engine, text).await;
    }
    platform.repositories.hang_by(|job| is_of_bucket(job).then_some(FOR_EVER));
    // They fill all places for uploads.
    for text in ["bob", "carol"] {
        engine.backup(&Actor::socket(0), &name(text)).await.unwrap();
    }
    let request = restore_of("alice");
    let asked = engine.restore(&Actor::system(), request, None).await.unwrap();
    assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);
    // The next backup is taken as well, although the uploads wait.
    let asked = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
    until("it is taken", async || engine.backups(&name("alice")).await.unwrap().len() == 2).await;
    assert!(!engine.operation(&asked.id).await.unwrap().state.is_over());
    platform.repositories.heal();
}

#[tokio::test]
async fn a_restore_takes_the_copy_in_the_bucket_when_the_one_on_this_host_is_damaged() {
    let platform = TestPlatform::new().with_destination(BUCKET);
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    platform.repositories.fail_by(|job| {
        (matches!(job.work, Work::Restore { .. }) && !is_of_bucket(job)).then(damaged)
    });
    let request = restore_of("alice");
    let asked = engine.restore(&Actor::system(), request, None).await.unwrap();
    let done = over(&engine, &asked).await;
    assert_eq!(done.state, OperationState::Succeeded, "{done:?}");
    let open = engine.alerts().await.unwrap();
    assert!(open.iter().any(|alert| alert.key == "check/alice/local"), "{open:?}");
}

#[tokio::test]
async fn a_damaged_copy_that_a_restore_finds_is_told_until_all_was_verified() {
    let platform = TestPlatform::new().with_destination(BUCKET);
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    let night = async || {
        let asked = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
        assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);
    };
    // All four parts are verified before.
    for _ in 0..4 {
        night().await;
    }
    platform.repositories.fail_by(|job| {
        (matches!(job.work, Work::Restore { .. }) && !is_of_bucket(job)).then(damaged)
    });
    let request = RestoreRequest { as_name: Some(name("bob")), ..restore_of("alice") };
    let asked = engine.restore(&Actor::system(), request, None).await.unwrap();
    assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);
    platform.repositories.heal();
    let keys = async || {
        let open = engine.alerts().await.unwrap();
        open.into_iter().map(|alert| alert.key).collect::<Vec<_>>()
    };
    for part in 1..=3 {
        night().await;
        assert_eq!(keys().await, ["check/alice/local"], "{part} of four parts are intact");
    }
    night().await;
    assert!(keys().await.is_empty());
}

#[tokio::test]
async fn an_error_of_this_host_does_not_count_as_one_of_the_bucket() {
    let platform = TestPlatform::new().with_destination(BUCKET);
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    platform.repositories.fail_by(|job| {
        let here = matches!(job.work, Work::Forget { .. }) && !is_of_bucket(job);
        here.then(|| BackupError {
            kind: BackupErrorKind::Unavailable,
            message: "the disk does not answer".into(),
        })
    });
    for _ in 0..2 {
        let asked = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
        assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);
        let open = engine.alerts().await.unwrap();
        assert!(open.len() == 1 && open[0].key == "retention/alice/local", "{open:?}");
    }
    let all = engine.backups(&name("alice")).await.unwrap();
    assert!(all.len() == 2 && all.iter().all(|s| s.remote), "the bucket was used: {all:?}");
}

#[tokio::test]
async fn a_damaged_repository_is_repaired_and_what_cannot_be_fails_the_night() {
    for place in [BUCKET, "local"] {
        let platform = TestPlatform::new().with_destination(BUCKET);
        let engine = platform.start().await;
        provisioned(&engine, "alice").await;
        backed_up(&engine, "alice").await;
        let repaired = Arc::new(AtomicBool::new(false));
        let (seen, offsite) = (repaired.clone(), place == BUCKET);
        platform.repositories.fail_by(move |job| match &job.work {
            Work::Check { .. } => {
                let here = job.repository.as_ref().unwrap().storage.destination.to_string();
                let this = (here == BUCKET) == offsite;
                (this && !seen.load(Ordering::SeqCst)).then(damaged)
            }
            Work::Repair { .. } => {
                seen.store(true, Ordering::SeqCst);
                None
            }
            _ => None,
        });
        let asked = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
        let done = over(&engine, &asked).await;
        assert_eq!(done.state, OperationState::Succeeded, "{place}: {done:?}");
        assert!(repaired.load(Ordering::SeqCst), "{place}");
        let events = engine.own_events(&name("alice"), 20).await.unwrap();
        assert!(events.iter().any(|e| e.detail.contains("were repaired")), "{events:?}");
        assert!(engine.alerts().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_night_whose_verification_fails_is_told_as_failed() {
    let platform = TestPlatform::new().with_destination("/mnt/backups");
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    platform.repositories.fail_by(|job| matches!(job.work, Work::Check { .. }).then(damaged));
    let asked = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
    let done = over(&engine, &asked).await;
    assert_eq!(done.state, OperationState::Failed);
    let why = done.error.unwrap();
    assert!(why.contains("the backup is stored") && why.contains("a pack is damaged"), "{why}");
    assert_eq!(engine.backups(&name("alice")).await.unwrap().len(), 1);
    let open = engine.alerts().await.unwrap();
    assert!(open.iter().any(|alert| alert.key == "check/alice"), "{open:?}");
}

#[tokio::test]
async fn a_damaged_copy_on_this_host_is_repaired_before_the_backup_fails() {
    let platform = TestPlatform::new().with_destination(BUCKET);
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    let repaired = Arc::new(AtomicBool::new(false));
    let seen = repaired.clone();
    platform.repositories.fail_by(move |job| match &job.work {
        Work::Take { .. } => (!seen.load(Ordering::SeqCst)).then(damaged),
        Work::Repair { .. } => {
            seen.store(true, Ordering::SeqCst);
            None
        }
        _ => None,
    });
    backed_up(&engine, "alice").await;
    assert!(repaired.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_stop_of_the_daemon_is_no_alert() {
    let platform = TestPlatform::new().with_destination(BUCKET);
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    let begun = Arc::new(AtomicBool::new(false));
    let seen = begun.clone();
    platform.repositories.hang_by(move |job| {
        let waits = matches!(job.work, Work::Copy { .. });
        seen.fetch_or(waits, Ordering::SeqCst);
        waits.then_some(FOR_EVER)
    });
    engine.backup(&Actor::system(), &name("alice")).await.unwrap();
    until("the upload hangs", async || begun.load(Ordering::SeqCst)).await;
    engine.shutdown().await;
    let open = platform.database().await.alerts().await.unwrap();
    assert!(open.is_empty(), "{open:?}");
}
