//! The backups of removed instances.

use startclaw_backup::{BackupError, BackupErrorKind, Job, Work};
use startclaw_engine::{EngineError, ProvisionRequest};
use startclaw_model::{Actor, DeletionPolicy, Email, OperationState, Owner};
use startclaw_testkit::*;

#[tokio::test]
async fn the_backups_of_a_removed_instance_are_deleted_on_request() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let (who, alice) = (Actor::system(), name("alice"));
    for _ in 0..2 {
        provisioned(&engine, "alice").await;
        let gone = engine.deprovision(&who, &alice, DeletionPolicy::FinalBackup, None).await;
        assert_eq!(over(&engine, &gone.unwrap()).await.state, OperationState::Succeeded);
    }
    let refused = engine.purge_backups_of_removed(&who, &name("bob")).await;
    assert!(matches!(refused, Err(EngineError::NoInstance(_))));

    // What cannot be deleted now cannot be restored either, and is an alert.
    platform.repositories.fail_by(|job: &Job| {
        matches!(job.work, Work::Erase).then(|| BackupError {
            kind: BackupErrorKind::Unavailable,
            message: "the bucket is away".into(),
        })
    });
    let done = engine.purge_backups_of_removed(&who, &alice).await.unwrap();
    assert_eq!((done.deleted, done.pending), (0, 2));
    assert!(matches!(engine.backups(&alice).await, Err(EngineError::NoInstance(_))));
    assert!(engine.alerts().await.unwrap().iter().any(|a| a.key.starts_with("purge/alice/")));

    platform.repositories.heal();
    let done = engine.purge_backups_of_removed(&who, &alice).await.unwrap();
    assert_eq!((done.deleted, done.pending), (2, 0));
    let again = engine.purge_backups_of_removed(&who, &alice).await;
    assert!(matches!(again, Err(EngineError::NoInstance(_))));
    assert!(engine.removed(None).await.unwrap().is_empty());

    // The backups of an instance that is there go with it.
    provisioned(&engine, "alice").await;
    let backup = engine.backup(&who, &alice).await.unwrap();
    assert_eq!(over(&engine, &backup).await.state, OperationState::Succeeded);
    let refused = engine.purge_backups_of_removed(&who, &alice).await;
    assert!(matches!(refused, Err(EngineError::Conflict(_))));
    assert_eq!(engine.backups(&alice).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_backups_of_all_removed_instances_of_an_account_are_deleted() {
    let platform = TestPlatform::new().with_destination("gs://bucket/prefix");
    let engine = platform.start().await;
    let who = Actor::system();
    for text in ["alice", "bob"] {
        for owner in ["a@x.org", "b@x.org"] {
            let wanted = ProvisionRequest { owner: Owner::parse(owner).unwrap(), ..request(text) };
            let asked = engine.provision(&who, wanted, None).await.unwrap();
            assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);
            let gone =
                engine.deprovision(&who, &name(text), DeletionPolicy::FinalBackup, None).await;
            assert_eq!(over(&engine, &gone.unwrap()).await.state, OperationState::Succeeded);
        }
    }
    let email = Email::parse("a@x.org").unwrap();
    let removed = engine.removed(Some(&email)).await.unwrap();
    let names: Vec<_> = removed.iter().map(|r| (r.name.as_str(), r.backups)).collect();
    assert_eq!(names, [("alice", 1), ("bob", 1)]);
    let done = engine.purge_backups_of_removed(&who, &email).await.unwrap();
    assert_eq!((done.deleted, done.pending), (2, 0));
    assert!(engine.removed(Some(&email)).await.unwrap().is_empty());

    // What is left, here and in the bucket, is of the other account.
    let left = engine.removed(None).await.unwrap();
    assert!(left.len() == 2 && left.iter().all(|r| r.owner.as_str() == "b@x.org"), "{left:?}");
    let bucket = platform.repositories.contents("gs://bucket/prefix");
    assert_eq!(bucket.repositories(), 2);
}
