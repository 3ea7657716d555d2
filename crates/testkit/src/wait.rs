//! Waits for a condition, with a limit.

use std::time::{Duration, Instant};

/// How long any wait in a test may take.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Waits until a condition holds; panics with `what` after [`LIMIT`].
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("in time: {what}"));
}

/// The same, on a thread without a runtime.
pub fn until_blocking(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LIMIT, "in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
