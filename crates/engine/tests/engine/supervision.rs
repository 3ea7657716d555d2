//! A background task that ends stops the engine, so that the daemon is restarted.

use std::sync::Arc;

use startclaw_engine::{Dependencies, Engine, Notifier};
use startclaw_testkit::{TestPlatform, settings, until};

struct Panics;

#[async_trait::async_trait]
impl Notifier for Panics {
    async fn notify(&self, _: &str) -> Result<(), String> {
        panic!("a defect in sending alerts");
    }
}

#[tokio::test]
async fn a_loop_that_panics_is_told_by_the_health_check_and_ends_the_engine() {
    let platform = TestPlatform::new();
    let store = platform.database().await;
    let outside = Dependencies {
        notifier: Arc::new(Panics),
        ..Dependencies::simulated(platform.host.clone())
    };
    let engine = Engine::start(store.clone(), platform.vault(), outside, settings()).await.unwrap();
    assert!(engine.ping().await.is_ok());

    store.fire("bucket", "it does not answer").await.unwrap();
    until("the engine ends", async || engine.ended().is_some()).await;

    assert_eq!(engine.ended(), Some("alerts"));
    let error = engine.ping().await.unwrap_err();
    assert!(format!("{error:?}").contains("alerts"), "{error:?}");
    engine.shutdown().await;
}

#[tokio::test]
async fn an_engine_that_is_told_to_stop_has_lost_no_task() {
    let engine = TestPlatform::new().start().await;
    engine.shutdown().await;
    assert_eq!(engine.ended(), None);
}
