//! Which backup is shown as verified, and where.

use startclaw_backup::{BackupError, BackupErrorKind, Job, Work};
use startclaw_model::{Actor, BackupPlace};
use startclaw_testkit::*;

const BUCKET: &str = "gs://bucket/prefix";

fn verifies_the_bucket(job: &Job) -> bool {
    let bucket = |repository: &startclaw_backup::Repository| {
        repository.storage.destination.to_string() == BUCKET
    };
    matches!(job.work, Work::Check { .. }) && job.repository.as_ref().is_some_and(bucket)
}

#[tokio::test]
async fn a_night_shows_its_backup_as_verified_where_it_was_verified() {
    let platform = TestPlatform::new().with_destination(BUCKET);
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    until("it is at the destination", async || {
        engine.backups(&name("alice")).await.unwrap().iter().all(|s| s.remote)
    })
    .await;

    platform.repositories.fail_by(|job| {
        verifies_the_bucket(job).then(|| BackupError {
            kind: BackupErrorKind::Unavailable,
            message: "it does not answer".into(),
        })
    });
    let asked = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
    over(&engine, &asked).await;
    let verified = engine.status(&name("alice")).await.unwrap().verified_backup.unwrap();
    assert_eq!(verified.place, BackupPlace::Host, "only the copy on this host was verified");

    platform.repositories.heal();
    until("the bucket is used again", async || {
        let asked = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
        over(&engine, &asked).await;
        let newest = engine.backups(&name("alice")).await.unwrap().remove(0);
        newest.verified_remote.is_some()
    })
    .await;
    let status = engine.status(&name("alice")).await.unwrap();
    let verified = status.verified_backup.unwrap();
    assert_eq!(verified.place, BackupPlace::Destination);
    assert_eq!(Some(verified.taken_at), status.last_backup);
}
