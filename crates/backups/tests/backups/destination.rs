//! Nothing that the database knows of the destination vanishes unnoticed.

use startclaw_backup::{BackupError, BackupErrorKind, Work};
use startclaw_engine::{Engine, EngineError, RestoreRequest};
use startclaw_model::{
    Actor, CheckStatus, DeletionPolicy, InstanceState, Operation, OperationState, Snapshot,
    SnapshotChoice,
};
use startclaw_store::Property;
use startclaw_testkit::*;

const FOLDER: &str = "/mnt/backups";
const BUCKET: &str = "gs://bucket/prefix";

async fn backups(engine: &Engine) -> Vec<Snapshot> {
    engine.backups(&name("alice")).await.unwrap()
}

async fn alert(engine: &Engine, key: &str) -> Option<String> {
    let all = engine.alerts().await.unwrap();
    all.into_iter().find(|alert| alert.key == key).map(|alert| alert.detail)
}

/// A backup with the maintenance of a night.
async fn night(engine: &Engine) -> Operation {
    let asked = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
    over(engine, &asked).await
}

async fn restore(engine: &Engine, snapshot: SnapshotChoice) -> Result<Operation, EngineError> {
    let request = RestoreRequest { name: name("alice"), instance: None, snapshot, as_name: None };
    let asked = engine.restore(&Actor::system(), request, None).await?;
    Ok(over(engine, &asked).await)
}

#[tokio::test]
async fn a_folder_that_is_not_mounted_is_not_taken_for_an_empty_destination() {
    let platform = TestPlatform::new().with_destination(FOLDER);
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    let mounted = platform.repositories.contents(FOLDER);
    platform.repositories.empty(FOLDER);

    let failed = night(&engine).await;
    assert_eq!(failed.state, OperationState::Failed);
    let why = failed.error.unwrap();
    assert!(why.contains("is not the destination that holds the backups"), "{why}");
    let told = alert(&engine, "destination").await.unwrap();
    assert!(told.contains("startclaw backups accept-destination"), "{told}");
    assert!(backups(&engine).await[0].remote, "it is still known");
    let checks = engine.diagnose().await;
    let check = checks.iter().find(|check| check.name == "backups").unwrap();
    assert_eq!(check.status, CheckStatus::Error, "{check:?}");

    platform.repositories.bring_back(mounted);
    assert_eq!(night(&engine).await.state, OperationState::Succeeded);
    assert_eq!(backups(&engine).await.len(), 2);
    assert_eq!(alert(&engine, "destination").await, None);
}

#[tokio::test]
async fn a_new_bucket_gets_nothing_until_it_is_accepted() {
    let platform = TestPlatform::new().with_destination(BUCKET);
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    engine.shutdown().await;

    let platform = platform.with_destination("gs://other");
    let engine = platform.start().await;
    let done = night(&engine).await;
    assert_eq!(done.state, OperationState::Succeeded, "there is a copy on this host");
    let newest = &backups(&engine).await[0];
    assert!(newest.local && !newest.remote, "{newest:?}");
    assert!(platform.repositories.contents("gs://other").is_empty());
    assert!(alert(&engine, "destination").await.is_some());

    let accepted = engine.accept_backup_destination(&Actor::system()).await.unwrap();
    assert_eq!(accepted, "gs://other");
    assert_eq!(alert(&engine, "destination").await, None);
    backed_up(&engine, "alice").await;
    let all = backups(&engine).await;
    assert!(all.len() == 3 && all.iter().all(|s| s.local && s.remote), "{all:?}");
    engine.shutdown().await;

    // Back to the first one, which has an identity of its own.
    let platform = platform.with_destination(BUCKET);
    let engine = platform.start().await;
    assert!(!night(&engine).await.steps.is_empty());
    assert!(alert(&engine, "destination").await.is_some());
}

#[tokio::test]
async fn the_first_bucket_gets_what_was_on_this_host_only_without_a_question() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    engine.shutdown().await;

    let platform = platform.with_destination(BUCKET);
    let engine = platform.start().await;
    backed_up(&engine, "alice").await;
    let all = backups(&engine).await;
    assert!(all.len() == 2 && all.iter().all(|s| s.local && s.remote), "{all:?}");
    assert!(engine.alerts().await.unwrap().is_empty());
    engine.shutdown().await;

    // Back to this host only: that is another destination, with all that is here.
    let platform = platform.with_destination("");
    let engine = platform.start().await;
    assert_eq!(night(&engine).await.state, OperationState::Failed);
    engine.accept_backup_destination(&Actor::system()).await.unwrap();
    assert_eq!(night(&engine).await.state, OperationState::Succeeded);
    let all = backups(&engine).await;
    assert!(all.len() == 3 && all.iter().all(|s| s.remote && !s.local), "{all:?}");
}

/// A platform with the database of version 889fdb7, which gave destinations no identity, and with
/// what is at the destination of `other`.
fn of_889fdb7(other: &TestPlatform) -> TestPlatform {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../store/tests/fixtures/889fdb7.sqlite");
    let mut platform = TestPlatform::new().with_destination(FOLDER);
    platform.put_database(fixture);
    platform.repositories = other.repositories.clone();
    platform
}

#[tokio::test]
async fn a_destination_of_an_older_version_gets_an_identity_unless_it_is_empty() {
    for (empty, known) in [(false, true), (true, false)] {
        let before = TestPlatform::new().with_destination(FOLDER);
        let engine = before.start().await;
        provisioned(&engine, "dave").await;
        backed_up(&engine, "dave").await;
        engine.shutdown().await;
        before.repositories.forget_identity(FOLDER);
        if empty {
            before.repositories.empty(FOLDER);
        }
        let platform = of_889fdb7(&before);
        let engine = platform.start().await;
        let store = platform.database().await;
        until("the destination was looked at", async || {
            let id = store.property(Property::DestinationId).await.unwrap();
            id.is_some() == known && alert(&engine, "destination").await.is_none() == known
        })
        .await;
        engine.shutdown().await;
    }
}

#[tokio::test]
async fn a_copy_of_the_destination_is_asked_for_its_identity_once() {
    let platform = TestPlatform::new().with_destination(FOLDER);
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    engine.shutdown().await;
    platform.repositories.copy(FOLDER, "/mnt/copy");

    let platform = platform.with_destination("/mnt/copy");
    let engine = platform.start().await;
    assert_eq!(night(&engine).await.state, OperationState::Succeeded);
    platform.repositories.fail_by(|job| {
        matches!(job.work, Work::Identify { .. }).then(|| BackupError {
            kind: BackupErrorKind::Unavailable,
            message: "it is known".into(),
        })
    });
    assert_eq!(night(&engine).await.state, OperationState::Succeeded);
    let all = backups(&engine).await;
    assert!(all.len() == 3 && all.iter().all(|s| s.remote), "{all:?}");
}

#[tokio::test]
async fn a_backup_that_is_missing_at_the_destination_is_an_alert_and_can_come_back() {
    let platform = TestPlatform::new().with_destination(FOLDER);
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    for _ in 0..3 {
        backed_up(&engine, "alice").await;
    }
    let whole = platform.repositories.contents(FOLDER);
    let lost = backups(&engine).await[1].clone();
    platform.repositories.lose(FOLDER, lost.id.as_str());

    assert_eq!(night(&engine).await.state, OperationState::Succeeded);
    let told = alert(&engine, "missing/alice").await.unwrap();
    assert!(told.contains(lost.id.short()) && told.contains("did not delete"), "{told}");
    let all = engine.backups_with_reasons(&name("alice")).await.unwrap();
    assert_eq!(all.len(), 4, "it is still listed");
    assert!(all[2].0.is_missing() && all[2].1.contains("missing"), "{all:?}");
    assert!(all[0].1.contains("kept: the newest"), "{all:?}");
    let id = SnapshotChoice::Id(lost.id.to_string());
    let refused = restore(&engine, id.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("is missing"), "{refused}");

    platform.repositories.bring_back(whole);
    let (known, missing) = engine.rescan_backups().await.unwrap();
    assert_eq!((known, missing), (4, 1), "the one of the night is not in what came back");
    assert_eq!(restore(&engine, id).await.unwrap().state, OperationState::Succeeded);
}

#[tokio::test]
async fn backups_that_the_database_does_not_know_are_learned() {
    let platform = TestPlatform::new().with_destination(BUCKET);
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    backed_up(&engine, "alice").await;
    let before = backups(&engine).await;
    platform.database().await.drop_snapshots(&id).await.unwrap();
    assert!(backups(&engine).await.is_empty());
    assert_eq!(engine.rescan_backups().await.unwrap(), (1, 0));
    assert_eq!(backups(&engine).await, before);
}

#[tokio::test]
async fn a_destination_that_cannot_be_deleted_in_is_found_at_the_start() {
    let platform = TestPlatform::new().with_destination(BUCKET);
    platform.repositories.fail_by(|job| {
        matches!(job.work, Work::Probe).then(|| BackupError {
            kind: BackupErrorKind::Unavailable,
            message: "cannot delete objects in gs://bucket/prefix".into(),
        })
    });
    let engine = platform.start().await;
    until("it is told", async || alert(&engine, "destination/probe").await.is_some()).await;
}

#[tokio::test]
async fn from_this_host_to_another_folder_is_asked_for() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    engine.shutdown().await;

    let platform = platform.with_destination(FOLDER);
    let engine = platform.start().await;
    assert_eq!(night(&engine).await.state, OperationState::Failed);
    assert!(platform.repositories.contents(FOLDER).is_empty());
    assert!(backups(&engine).await[0].remote, "it is where it was");
}

#[tokio::test]
async fn from_a_bucket_to_a_folder_only_what_is_there_is_listed() {
    let platform = TestPlatform::new().with_destination(BUCKET);
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    for _ in 0..3 {
        backed_up(&engine, "alice").await;
    }
    engine.shutdown().await;

    let platform = platform.with_destination(FOLDER);
    let engine = platform.start().await;
    engine.accept_backup_destination(&Actor::system()).await.unwrap();
    assert!(backups(&engine).await.is_empty(), "the copies on this host belong to the bucket");
    backed_up(&engine, "alice").await;
    let done = restore(&engine, SnapshotChoice::Latest).await.unwrap();
    assert_eq!(done.state, OperationState::Succeeded, "{done:?}");
}

#[tokio::test]
async fn a_removed_instance_keeps_its_key_when_its_destination_is_left_and_comes_back_with_it() {
    let platform = TestPlatform::new().with_destination(FOLDER);
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    let (who, alice) = (Actor::system(), name("alice"));
    let gone = engine.deprovision(&who, &alice, DeletionPolicy::FinalBackup, None).await.unwrap();
    assert_eq!(over(&engine, &gone).await.state, OperationState::Succeeded);
    engine.shutdown().await;

    let platform = platform.with_destination("/mnt/other");
    let engine = platform.start().await;
    engine.accept_backup_destination(&who).await.unwrap();
    assert!(backups(&engine).await[0].is_missing());
    engine.shutdown().await;

    let platform = platform.with_destination(FOLDER);
    let engine = platform.start().await;
    engine.accept_backup_destination(&who).await.unwrap();
    assert_eq!(engine.rescan_backups().await.unwrap(), (1, 0));
    let back = restore(&engine, SnapshotChoice::Latest).await.unwrap();
    assert_eq!(back.state, OperationState::Succeeded, "{back:?}");
    becomes(&engine, "alice", InstanceState::Live).await;
}

#[tokio::test]
async fn the_newest_backup_stays_the_newest_when_the_copies_on_this_host_were_lost() {
    let platform = TestPlatform::new().with_destination(BUCKET);
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    for _ in 0..3 {
        backed_up(&engine, "alice").await;
    }
    platform.repositories.empty("/simulated/repositories");
    let taken = backed_up(&engine, "alice").await.snapshot.unwrap();
    assert_eq!(backups(&engine).await[0].id, taken, "also before the bucket numbers it");
}

#[tokio::test]
async fn another_destination_gets_the_control_plane_although_nothing_changed() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    let store = platform.database().await;
    let revision = store.revision().await.unwrap().to_string();
    store.set_property(Property::SavedRevision, &revision).await.unwrap();
    engine.shutdown().await;

    let platform = platform.with_destination(BUCKET);
    let engine = platform.start().await;
    until("the bucket is known", async || {
        store.property(Property::DestinationAddress).await.unwrap().as_deref() == Some(BUCKET)
    })
    .await;
    assert_eq!(store.property(Property::SavedRevision).await.unwrap(), None);
    engine.shutdown().await;
}

#[tokio::test]
async fn one_repository_that_cannot_be_listed_does_not_hold_the_comparison() {
    let platform = TestPlatform::new().with_destination(FOLDER);
    let engine = platform.start().await;
    let mut ids = Vec::new();
    for text in ["alice", "bob", "carol"] {
        ids.push(provisioned(&engine, text).await.instance);
        backed_up(&engine, text).await;
    }
    let store = platform.database().await;
    store.drop_snapshots(&ids[0]).await.unwrap();
    store.drop_snapshots(&ids[2]).await.unwrap();
    let bad = ids[1].to_string();
    platform.repositories.fail_by(move |job| {
        job.repository.as_ref().filter(|r| r.folder == bad).map(|_| {
            let message = "an index is damaged".into();
            BackupError { kind: BackupErrorKind::Damaged, message }
        })
    });
    let told = engine.rescan_backups().await.unwrap_err().to_string();
    assert!(told.contains("bob: an index is damaged"), "{told}");
    for text in ["alice", "carol"] {
        assert_eq!(engine.backups(&name(text)).await.unwrap().len(), 1, "{text}");
    }
}
