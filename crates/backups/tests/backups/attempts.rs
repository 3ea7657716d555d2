//! Attempts of jobs, and the pauses between them.

use std::time::Duration;

use startclaw_backup::{BackupError, BackupErrorKind, Work};
use startclaw_model::{Actor, OperationState, StepState};
use startclaw_testkit::*;

#[tokio::test]
async fn a_job_that_waits_for_its_bucket_keeps_no_other_job_out() {
    let mut machine = TestPlatform::new();
    machine.backups.side_by_side = 1;
    let mut settings = settings();
    // Longer than the test.
    settings.timing.backup_again = Duration::from_secs(600);
    settings.timing.backoff_limit = Duration::from_secs(600);
    let engine = machine.start_with(settings).await;
    for text in ["alice", "bob"] {
        provisioned(&engine, text).await;
    }
    let asked = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
    assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);

    machine.repositories.fail_by(|job| {
        matches!(job.work, Work::Restore { .. }).then(|| BackupError {
            kind: BackupErrorKind::Unavailable,
            message: "the bucket does not answer".into(),
        })
    });
    let request = restore_of("alice");
    let waiting = engine.restore(&Actor::system(), request, None).await.unwrap();
    until("the restore waits for its next attempt", async || {
        let now = engine.operation(&waiting.id).await.unwrap();
        now.steps.last().is_some_and(|step| step.state == StepState::Failed)
    })
    .await;

    let asked = engine.backup(&Actor::system(), &name("bob")).await.unwrap();
    assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);
    let still = engine.operation(&waiting.id).await.unwrap();
    assert_eq!(still.state, OperationState::Running, "{still:?}");
    engine.shutdown().await;
}
