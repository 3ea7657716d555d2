//! The state of the routes, and the settings of the API.

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use metrics_exporter_prometheus::PrometheusHandle;
use startclaw_accounts::{Accounts, Throttle};
use startclaw_engine::Engine;
use startclaw_model::{Check, Limits, TimeZone};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Maximum number of concurrent requests; further ones get 503 at once instead of queueing.
const REQUESTS: usize = 512;
/// Invalid tokens that one network may send, and the window. Tokens are 256 random bits, so
/// guessing is hopeless; the limit protects the database and the log.
const BAD_TOKENS: (u32, Duration) = (20, Duration::from_secs(60));
/// Maximum number of concurrent streams (operation events, followed logs).
const STREAMS: usize = 512;

/// How callers authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A client at the Unix socket may do everything: the file's mode controls who can open it.
    Socket,
    /// Only bearer tokens are accepted, whatever else a browser sends.
    Bearer,
}

impl Access {
    /// The name in metrics and logs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Bearer => "https",
        }
    }
}

/// Checks beyond the engine's: Caddy, ports, the clock.
pub type Checks = Arc<dyn Fn() -> BoxFuture<'static, Vec<Check>> + Send + Sync>;

/// Settings of the API, from the daemon.
#[derive(Clone)]
pub struct Settings {
    /// Default limits for a provision.
    pub limits: Limits,
    /// The time zone of days and times that are given without one.
    pub time_zone: TimeZone,
    /// Renders metrics; `None` in a process without a recorder.
    pub metrics: Option<PrometheusHandle>,
    /// Checks for `GET /doctor` besides the engine's.
    pub checks: Option<Checks>,
    /// Ends all streams when the daemon stops, so that no stream delays it.
    pub stop: CancellationToken,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            time_zone: TimeZone::default(),
            metrics: None,
            checks: None,
            stop: CancellationToken::new(),
        }
    }
}

/// The state of the router.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Inner>);

pub(crate) struct Inner {
    pub engine: Engine,
    pub accounts: Accounts,
    pub access: Access,
    pub settings: Settings,
    pub throttle: Throttle<IpAddr>,
    pub requests: Arc<Semaphore>,
    pub streams: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn new(
        engine: Engine,
        accounts: Accounts,
        access: Access,
        settings: Settings,
    ) -> Self {
        Self(Arc::new(Inner {
            engine,
            accounts,
            access,
            settings,
            throttle: Throttle::new(BAD_TOKENS.0, BAD_TOKENS.1),
            requests: Arc::new(Semaphore::new(REQUESTS)),
            streams: Arc::new(Semaphore::new(STREAMS)),
        }))
    }
}

impl std::ops::Deref for Shared {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}
