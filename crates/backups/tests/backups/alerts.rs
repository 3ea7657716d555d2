//! Alerts about backups: what they are about, and their end.

use startclaw_backup::{BackupError, BackupErrorKind, Work};
use startclaw_engine::Engine;
use startclaw_model::{Actor, DeletionPolicy, InstanceId, OperationState};
use startclaw_testkit::*;

const FOLDER: &str = "/mnt/backups";
const BUCKET: &str = "gs://bucket/prefix";

async fn keys(engine: &Engine) -> Vec<String> {
    let mut keys: Vec<_> = engine.alerts().await.unwrap().into_iter().map(|a| a.key).collect();
    keys.sort();
    keys
}

async fn removed(engine: &Engine, policy: DeletionPolicy) {
    let gone = engine.deprovision(&Actor::system(), &name("alice"), policy, None).await.unwrap();
    assert_eq!(over(engine, &gone).await.state, OperationState::Succeeded);
}

/// A removed instance, one of whose backups is missing and one damaged.
async fn damaged_archive(platform: &TestPlatform, engine: &Engine) -> InstanceId {
    let id = provisioned(engine, "alice").await.instance;
    for _ in 0..3 {
        backed_up(engine, "alice").await;
    }
    let all = engine.backups(&name("alice")).await.unwrap();
    platform.repositories.lose(FOLDER, all[1].id.as_str());
    platform.repositories.damage(FOLDER, all[2].id.as_str());
    removed(engine, DeletionPolicy::FinalBackup).await;
    id
}

#[tokio::test]
async fn a_removed_instance_has_alerts_of_its_own_beside_one_of_the_same_name() {
    let platform = TestPlatform::new().with_destination(FOLDER);
    let engine = platform.start().await;
    let id = damaged_archive(&platform, &engine).await;
    provisioned(&engine, "alice").await;
    engine.rescan_backups().await.unwrap();
    let expected = [format!("damaged/alice/{id}"), format!("missing/alice/{id}")];
    assert_eq!(keys(&engine).await, expected);
    // A night of the other one, whose backups are all there.
    let asked = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
    assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);
    assert_eq!(keys(&engine).await, expected);
    // They go with the archive.
    engine.purge_backups_of_removed(&Actor::system(), &name("alice")).await.unwrap();
    until("they are over", async || keys(&engine).await.is_empty()).await;
    assert_eq!(engine.backups(&name("alice")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_was_told_of_an_instance_is_told_of_its_archive_after_the_removal() {
    let platform = TestPlatform::new().with_destination(FOLDER);
    let engine = platform.start().await;
    let id = damaged_archive(&platform, &engine).await;
    let store = platform.database().await;
    store.fire("missing/alice", "as before the removal").await.unwrap();
    engine.rescan_backups().await.unwrap();
    let expected = [format!("damaged/alice/{id}"), format!("missing/alice/{id}")];
    assert_eq!(keys(&engine).await, expected);
}

#[tokio::test]
async fn an_upload_that_failed_is_no_alert_any_more_when_the_instance_is_gone() {
    let platform = TestPlatform::new().with_destination(BUCKET);
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    platform.repositories.fail_by(|job| {
        matches!(job.work, Work::Copy { .. }).then(|| BackupError {
            kind: BackupErrorKind::Damaged,
            message: "a pack is missing".into(),
        })
    });
    backed_up(&engine, "alice").await;
    assert_eq!(keys(&engine).await, [format!("upload/{id}")]);
    removed(&engine, DeletionPolicy::Purge).await;
    until("it is over", async || keys(&engine).await.is_empty()).await;
}

#[tokio::test]
async fn without_a_bucket_there_is_no_alert_of_one() {
    let platform = TestPlatform::new().with_destination(BUCKET);
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    engine.shutdown().await;
    let store = platform.database().await;
    for key in ["bucket", "check/alice/local", "damaged/alice/local", "retention/alice/local"] {
        store.fire(key, "of the bucket").await.unwrap();
    }
    store.fire("check/alice", "of the destination").await.unwrap();

    let platform = platform.with_destination(FOLDER);
    let engine = platform.start().await;
    until("they are over", async || keys(&engine).await == ["check/alice"]).await;
}
