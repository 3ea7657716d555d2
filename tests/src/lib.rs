//! The platform as in production: the real daemon, real Caddy, real Docker, the real OpenClaw. Only
//! Telegram and the model provider are fakes with the real protocol.

pub mod browser;
pub mod bucket;
pub mod caddy;
pub mod fake;
pub mod person;
pub mod platform;
pub mod relay;
pub mod websocket;

pub use bucket::Bucket;
pub use person::Person;
pub use platform::Platform;

use std::time::Duration;

/// Waits until `holds` returns a value, at most `limit`. A failed test prints what it waited for.
///
/// # Panics
/// On timeout, with the condition.
pub async fn until<T>(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    loop {
        if let Some(found) = holds().await {
            eprintln!("{:>7.1} s: {what}", begun.elapsed().as_secs_f32());
            return found;
        }
        assert!(begun.elapsed() < limit, "waited {limit:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
