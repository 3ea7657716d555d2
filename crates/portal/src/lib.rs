//! The portal: the web UI on the domain itself, where users sign up, create instances and manage
//! them.
//!
//! Thin: a page authenticates by [`Accounts`](startclaw_accounts::Accounts), calls the engine, and
//! renders. Access is decided in `auth.rs` and nowhere else.

mod answer;
mod assets;
mod auth;
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

use std::sync::Arc;

use axum::http::HeaderValue;
use startclaw_accounts::Accounts;
use startclaw_engine::{BackupSettings, Engine};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

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

/// Maximum number of concurrent streams (progress, logs); further ones are rejected as busy.
const STREAMS: usize = 1024;

/// The state of every page. Handlers get at it only through the types of `auth.rs`.
#[derive(Clone)]
pub(crate) struct Portal(Arc<Inner>);

pub(crate) struct Inner {
    pub engine: Engine,
    pub accounts: Accounts,
    pub settings: Settings,
    pub check: check::Checker,
    pub policy: HeaderValue,
    pub streams: Arc<Semaphore>,
}

impl Portal {
    pub(crate) fn new(engine: Engine, accounts: Accounts, settings: Settings) -> Self {
        Self(Arc::new(Inner {
            engine,
            accounts,
            check: check::Checker::new(settings.reach.clone()),
            policy: guard::policy(&settings.site),
            settings,
            streams: Arc::new(Semaphore::new(STREAMS)),
        }))
    }
}

impl std::ops::Deref for Portal {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}
