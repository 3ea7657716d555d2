//! Buckets in which nothing can be deleted.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use startclaw_backup::{BackupError, BackupErrorKind, Job, Work};
use startclaw_engine::Engine;
use startclaw_model::{Actor, DeletionPolicy, OperationState, StepState};
use startclaw_store::Property;
use startclaw_testkit::*;

const BUCKET: &str = "s3://bucket/prefix";

fn refuse_deletion(job: &Job) -> Option<BackupError> {
    let there = job.repository.as_ref()?.storage.destination.is_bucket();
    let deletes = matches!(job.work, Work::Forget { .. } | Work::Erase | Work::Probe);
    (there && deletes).then(|| BackupError {
        kind: BackupErrorKind::Refused,
        message: "cannot delete: the bucket refuses to delete".into(),
    })
}

async fn night(engine: &Engine, text: &str) {
    let asked = engine.backup(&Actor::system(), &name(text)).await.unwrap();
    let done = over(engine, &asked).await;
    assert_eq!(done.state, OperationState::Succeeded, "{done:?}");
    let failed: Vec<_> = done.steps.iter().filter(|step| step.state == StepState::Failed).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

/// Removes the instance and keeps its backups.
async fn remove_alice(engine: &Engine) {
    let policy = DeletionPolicy::None;
    let gone = engine.deprovision(&Actor::system(), &name("alice"), policy, None).await.unwrap();
    assert_eq!(over(engine, &gone).await.state, OperationState::Succeeded);
}

async fn uploaded(engine: &Engine, text: &str) -> usize {
    let all = engine.backups(&name(text)).await.unwrap();
    all.iter().filter(|snapshot| snapshot.remote).count()
}

async fn alerts(engine: &Engine) -> Vec<String> {
    engine.alerts().await.unwrap().into_iter().map(|alert| alert.key).collect()
}

/// Four backups of `alice`, all of which but the newest have expired.
async fn platform(append_only: bool) -> (TestPlatform, Engine) {
    let mut platform = TestPlatform::new().with_destination(BUCKET);
    platform.backups.append_only = append_only;
    platform.backups.keep_days = 0;
    let engine = platform.start().await;
    for text in ["alice", "bob"] {
        provisioned(&engine, text).await;
    }
    for _ in 0..4 {
        backed_up(&engine, "alice").await;
    }
    assert_eq!(uploaded(&engine, "alice").await, 4);
    (platform, engine)
}

#[tokio::test]
async fn a_bucket_that_refuses_deletion_fails_no_night_and_loses_no_row() {
    let (platform, engine) = platform(false).await;
    platform.repositories.fail_by(refuse_deletion);
    for n in 1..3 {
        night(&engine, "alice").await;
        assert_eq!(uploaded(&engine, "alice").await, 4 + n, "nothing is gone from the list");
        // The others are uploaded as before.
        night(&engine, "bob").await;
        assert_eq!(uploaded(&engine, "bob").await, n);
    }
    let open = alerts(&engine).await;
    assert!(open.contains(&"retention/alice".into()), "{open:?}");
    assert!(!open.iter().any(|key| key == "bucket"), "{open:?}");
    assert!(!open.iter().any(|key| key.starts_with("missing")), "{open:?}");
    platform.repositories.heal();
    night(&engine, "alice").await;
    assert_eq!(uploaded(&engine, "alice").await, 5);
    let open = alerts(&engine).await;
    assert!(!open.iter().any(|key| key.starts_with("retention/alice")), "{open:?}");
}

#[tokio::test]
async fn nothing_expires_in_a_bucket_that_is_append_only() {
    let (platform, engine) = platform(true).await;
    platform.repositories.fail_by(|job| match &job.work {
        Work::Forget { snapshots } if snapshots.is_empty() => None,
        Work::Probe => None,
        _ => refuse_deletion(job),
    });
    night(&engine, "alice").await;
    assert_eq!(uploaded(&engine, "alice").await, 5);
    assert_eq!(alerts(&engine).await, Vec::<String>::new());
    remove_alice(&engine).await;
    engine.shutdown().await;
    // Those of removed instances do not either, and can be restored.
    let store = platform.database().await;
    let long_ago = "1000".to_owned();
    store.set_property(Property::ArchivesCollected, &long_ago).await.unwrap();
    let engine = platform.start().await;
    until("the archives are collected", async || {
        store.property(Property::ArchivesCollected).await.unwrap() != Some(long_ago.clone())
    })
    .await;
    let left = engine.removed(None).await.unwrap();
    assert_eq!(left.iter().map(|removed| removed.backups).collect::<Vec<_>>(), [5]);
    assert_eq!(alerts(&engine).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_erasure_that_the_bucket_refuses_is_an_alert_and_happens_on_this_host() {
    let (platform, engine) = platform(false).await;
    remove_alice(&engine).await;
    let erased_here = Arc::new(AtomicU32::new(0));
    let count = erased_here.clone();
    platform.repositories.fail_by(move |job| {
        let refused = refuse_deletion(job);
        if refused.is_none() && matches!(job.work, Work::Erase) {
            count.fetch_add(1, Ordering::SeqCst);
        }
        refused
    });
    let done = engine.purge_backups_of_removed(&Actor::system(), &name("alice")).await.unwrap();
    assert_eq!((done.deleted, done.pending), (0, 4));
    assert!(erased_here.load(Ordering::SeqCst) > 0);
    let open = engine.alerts().await.unwrap();
    let alert = open.iter().find(|a| a.key.starts_with("purge/alice/")).unwrap();
    assert!(alert.detail.contains("refuses to delete"), "{alert:?}");
}
