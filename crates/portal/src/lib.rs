//! The pages that people see on the domain itself: sign up, see your OpenClaw come alive, and look
//! after it.
//!
//! Thin: a page asks [`Accounts`](startclaw_accounts::Accounts) who somebody is and the engine for
//! the rest, and renders. What a person may touch is decided in `auth.rs` and nowhere else.

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

/// What the daemon tells the portal.
#[derive(Clone)]
pub struct Settings {
    /// The domain, such as `example.com`.
    pub domain: String,
    /// The origin of the portal, such as `https://example.com:8443`.
    pub site: String,
    /// When and where backups are made, to be told to people.
    pub backup: BackupSettings,
    /// What the portal may ask outside, for checks of keys.
    pub reach: Reach,
    /// Ends all streams when the daemon stops.
    pub stop: CancellationToken,
}

/// Streams (progress, logs) at the same time; more are asked to come back.
const STREAMS: usize = 1024;

/// What every page can reach. Handlers get at it only through the types of `auth.rs`.
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
