//! A real platform, isolated from others on the host.

use std::path::PathBuf;

pub use end_to_end::Platform;

/// Distinguishes this platform from those of the tests; `script/bench` removes leftovers.
const LOT: u8 = 90;

/// Starts daemon and Caddy; everything is stopped and removed when dropped.
pub async fn start() -> Platform {
    Platform::start(LOT, &[], "").await
}

/// The certificate of Caddy's own authority.
pub fn authority(platform: &Platform) -> PathBuf {
    platform.path("caddy/pki/authorities/local/root.crt")
}
