//! The portal: the web UI on the domain itself, where users sign up, create instances and manage
//! them.
//!
//! Thin: a page takes a value of `access`, calls its methods, and renders. Access is decided in
//! `access` and nowhere else.

mod access;
mod answer;
mod assets;
mod chart;
mod check;
mod cookie;
mod error;
mod form;
mod frame;
mod guard;
mod labels;
mod pages;
mod router;
mod stream;

use startclaw_backups::BackupSettings;
use tokio_util::sync::CancellationToken;

use access::Portal;

pub use check::Reach;
pub use router::router;

/// Settings of the portal, from the daemon.
#[derive(Clone)]
pub struct Settings {
    /// The domain, such as `example.com`.
    pub domain: String,
    /// The origin of the portal, such as `https://example.com:8443`.
    pub site: String,
    /// Schedule and destination of backups, shown to users.
    pub backup: BackupSettings,
    /// What key checks may connect to.
    pub reach: Reach,
    /// Ends all streams when the daemon stops.
    pub stop: CancellationToken,
}
