//! The whole platform, real, apart from any other on the machine.

use std::path::PathBuf;

pub use end_to_end::Platform;

/// Tells this platform from those of the tests; `script/bench` removes what is left by it.
const LOT: u8 = 90;

/// Starts daemon and Caddy; both end and all is removed when it is dropped.
pub async fn start() -> Platform {
    Platform::start(LOT, &[], "").await
}

/// The authority that Caddy made for itself.
pub fn authority(platform: &Platform) -> PathBuf {
    platform.path("caddy/pki/authorities/local/root.crt")
}
