//! The platform as a stranger starts it: the real daemon, real Caddy, real Docker, the real
//! OpenClaw. Only Telegram and the model provider are stand-ins that speak the real protocol.

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

/// Waits until `holds` gives something, at most `limit`.
///
/// # Panics
/// When the limit is over, saying what was waited for.
pub async fn until<T>(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    loop {
        if let Some(found) = holds().await {
            return found;
        }
        assert!(begun.elapsed() < limit, "waited {limit:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
