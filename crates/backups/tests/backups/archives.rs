//! The backups of removed instances.

use startclaw_backup::{BackupError, BackupErrorKind, Job, Work};
use startclaw_engine::EngineError;
use startclaw_model::{Actor, DeletionPolicy, OperationState};
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
    assert!(engine.archived().await.unwrap().is_empty());

    // The backups of an instance that is there go with it.
    provisioned(&engine, "alice").await;
    let backup = engine.backup(&who, &alice).await.unwrap();
    assert_eq!(over(&engine, &backup).await.state, OperationState::Succeeded);
    let refused = engine.purge_backups_of_removed(&who, &alice).await;
    assert!(matches!(refused, Err(EngineError::Conflict(_))));
    assert_eq!(engine.backups(&alice).await.unwrap().len(), 1);
}
