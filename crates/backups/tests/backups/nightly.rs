//! Nightly backups that fail.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use startclaw_backup::{BackupError, BackupErrorKind, Job, Work};
use startclaw_engine::Engine;
use startclaw_model::{Actor, Operation, OperationState, Timestamp};
use startclaw_testkit::*;

/// A platform whose nightly backups began some minutes ago, before its instances were created.
fn at_night() -> TestPlatform {
    let mut platform = TestPlatform::new();
    let minutes = Timestamp::now().as_millis() / 60_000;
    let of_day = (minutes - 5).rem_euclid(24 * 60);
    platform.backups.nightly = true;
    platform.backups.spread_minutes = 1;
    platform.backups.at = format!("{:02}:{:02}", of_day / 60, of_day % 60).parse().unwrap();
    platform
}

/// The first `count` backups fail for a reason that no attempt within the job changes.
fn fail_first(platform: &TestPlatform, count: u32) -> Arc<AtomicU32> {
    let taken = Arc::new(AtomicU32::new(0));
    let seen = taken.clone();
    platform.repositories.fail_by(move |job: &Job| {
        let take = matches!(job.work, Work::Take { .. });
        (take && seen.fetch_add(1, Ordering::SeqCst) < count).then(|| BackupError {
            kind: BackupErrorKind::Unreadable,
            message: "cannot read workspace/x".into(),
        })
    });
    taken
}

/// The first try of the night, which fails.
async fn first_try(engine: &Engine) -> Operation {
    let asked = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
    let failed = over(engine, &asked).await;
    assert_eq!(failed.state, OperationState::Failed, "{failed:?}");
    failed
}

#[tokio::test]
async fn a_nightly_backup_that_fails_is_made_later_in_the_night_without_an_alert() {
    let platform = at_night();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    let taken = fail_first(&platform, 2);
    first_try(&engine).await;
    until("it is backed up", async || {
        let done = engine.operations(Some(&name("alice")), 1).await.unwrap().remove(0);
        done.state == OperationState::Succeeded && done.snapshot.is_some()
    })
    .await;
    assert_eq!(taken.load(Ordering::SeqCst), 3);
    let past = engine.recent_alerts(9).await.unwrap();
    assert!(past.is_empty(), "{past:?}");
    let events = engine.events(Some(&name("alice")), 20).await.unwrap();
    assert!(events.iter().any(|e| e.detail.contains("it is tried again tonight")), "{events:?}");
    engine.shutdown().await;
}

#[tokio::test]
async fn a_backup_that_fails_all_night_is_an_alert_after_the_last_try() {
    let platform = at_night();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    let taken = fail_first(&platform, u32::MAX);
    first_try(&engine).await;
    until("the alert fires", async || {
        engine.alerts().await.unwrap().iter().any(|a| a.key == "backup/alice")
    })
    .await;
    assert_eq!(taken.load(Ordering::SeqCst), 3);
    // The alert fires before the last try is over, and a request would be told of that try.
    until("the last try is over", async || {
        let last = engine.operations(Some(&name("alice")), 1).await.unwrap().remove(0);
        last.finished_at.is_some()
    })
    .await;
    let alert = engine.alerts().await.unwrap().remove(0);
    assert_eq!(alert.detail, "cannot read workspace/x");
    // A backup that the operator requests resolves it.
    platform.repositories.heal();
    backed_up(&engine, "alice").await;
    assert!(engine.alerts().await.unwrap().is_empty());
    engine.shutdown().await;
}
