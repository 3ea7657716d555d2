//! A disk that is too small for a restore is not filled by it.

use startclaw_engine::{Disk, Engine, EngineError, RestoreRequest, SPACE_RESERVE, space_for};
use startclaw_model::{Actor, InstanceState, Operation, OperationState};
use startclaw_testkit::*;

fn set_free(platform: &TestPlatform, available: u64) {
    let disk = Disk { total: 100 << 30, available };
    platform.host.state().machine.instances = Some(disk);
}

async fn restore(engine: &Engine, as_name: Option<&str>) -> Result<Operation, EngineError> {
    let request = RestoreRequest { as_name: as_name.map(name), ..restore_of("alice") };
    engine.restore(&Actor::system(), request, None).await
}

/// What the newest backup takes on disk.
async fn needed(engine: &Engine, text: &str) -> u64 {
    space_for(&engine.backups(&name(text)).await.unwrap()[0])
}

#[tokio::test]
async fn a_restore_that_does_not_fit_is_refused_before_anything_changes() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    backed_up(&engine, "alice").await;
    let enough = SPACE_RESERVE + needed(&engine, "alice").await;
    set_free(&platform, enough - 1);
    for as_name in [None, Some("alice-2")] {
        let refused = restore(&engine, as_name).await.unwrap_err();
        assert!(matches!(refused, EngineError::DiskFull(_)), "{refused:?}");
        let why = refused.to_string();
        for part in ["1.1 GiB are needed", "1.0 GiB are free", "make the disk larger"] {
            assert!(why.contains(part), "{why}");
        }
    }
    assert_eq!(engine.operations(Some(&name("alice")), 9).await.unwrap().len(), 2);
    assert_eq!(platform.host.state().ids(), std::slice::from_ref(&id));
    let alice = platform.host.state().instance(&id).clone();
    assert_eq!((alice.starts, alice.mounted, alice.volumes.len()), (1, 0, 1));

    set_free(&platform, enough);
    for as_name in [None, Some("alice-2")] {
        let asked = restore(&engine, as_name).await.unwrap();
        assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);
    }
}

#[tokio::test]
async fn a_restore_test_that_does_not_fit_fails_without_a_volume() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    set_free(&platform, 0);
    let asked = engine.drill(&Actor::system(), Some((&name("alice")).into())).await.unwrap();
    let done = over(&engine, &asked).await;
    assert_eq!(done.state, OperationState::Failed, "{done:?}");
    assert!(done.error.as_ref().unwrap().contains("are free"), "{done:?}");
    assert_eq!(platform.host.state().ids().len(), 1, "no test instance was begun");
}

#[tokio::test]
async fn recovery_leaves_out_what_does_not_fit_and_restores_the_others() {
    let platform = TestPlatform::new().with_destination("gs://bucket/prefix");
    let engine = platform.start().await;
    for text in ["alice", "bob"] {
        provisioned(&engine, text).await;
        backed_up(&engine, text).await;
    }
    let one = SPACE_RESERVE + needed(&engine, "alice").await;
    engine.shutdown().await;
    drop(engine);
    let next = platform.lost().await;
    let store = next.database().await;
    let all = next.recovery().restore_snapshots(&store, &[], Some(one), |_| {}).await.unwrap();
    store.close().await;
    assert!(all[0].error.is_none() && all[0].snapshot.is_some(), "{all:?}");
    assert!(all[1].error.as_ref().unwrap().contains("make the disk larger"), "{all:?}");

    set_free(&next, one);
    let engine = next.start().await;
    becomes(&engine, "alice", InstanceState::Live).await;
    becomes(&engine, "bob", InstanceState::Failing).await;
}

#[tokio::test]
async fn a_recovered_instance_waits_until_there_is_room() {
    let platform = TestPlatform::new().with_destination("gs://bucket/prefix");
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    engine.shutdown().await;
    drop(engine);
    let next = platform.lost().await;
    let store = next.database().await;
    next.recovery().restore_snapshots(&store, &[], None, |_| {}).await.unwrap();
    store.close().await;
    set_free(&next, 0);
    let engine = next.start().await;
    let operation = engine.operations(Some(&name("alice")), 1).await.unwrap().remove(0);
    until("it was tried more often than other restores are", async || {
        let now = engine.operation(&operation.id).await.unwrap();
        assert!(!now.state.is_over(), "{now:?}");
        now.steps.len() > 6
            && now.steps.iter().any(|s| s.detail.as_ref().is_some_and(|d| d.contains("are free")))
    })
    .await;
    let volumes = next.host.state().instance(&operation.instance).volumes.len();
    assert_eq!(volumes, 0, "nothing was written");
    set_free(&next, 10 << 30);
    assert_eq!(over(&engine, &operation).await.state, OperationState::Succeeded);
}
