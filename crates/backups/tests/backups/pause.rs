//! How long an instance is frozen for a backup, and what its status says of it.

use std::time::Duration;

use startclaw_model::{Actor, OperationState};
use startclaw_testkit::*;

#[tokio::test]
async fn the_status_warns_of_a_pause_near_its_limit_and_of_one_that_exceeded_it() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    backed_up(&engine, "alice").await;
    let status = engine.status(&name("alice")).await.unwrap();
    assert!(!status.last_pause.unwrap().exceeded);

    // The limit is 200 ms in tests.
    platform.repositories.slow_down(Duration::from_millis(120));
    backed_up(&engine, "alice").await;
    let status = engine.status(&name("alice")).await.unwrap();
    assert!(status.last_pause.unwrap().millis >= 120, "{status:?}");
    assert!(status.pause_warning.unwrap().contains("raise backup.longest_pause"));

    platform.repositories.slow_down(Duration::from_secs(5));
    let asked = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
    let failed = over(&engine, &asked).await;
    assert_eq!(failed.state, OperationState::Failed);
    assert!(failed.error.as_deref().unwrap().contains("raise backup.longest_pause"), "{failed:?}");
    let status = engine.status(&name("alice")).await.unwrap();
    assert!(status.last_pause.unwrap().exceeded);
    assert!(status.pause_warning.unwrap().contains("the last backup failed"));

    platform.repositories.slow_down(Duration::ZERO);
    backed_up(&engine, "alice").await;
    let status = engine.status(&name("alice")).await.unwrap();
    assert!(!status.last_pause.unwrap().exceeded);
}
