//! The state of an instance in one word, and what healing stores.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// How many last log lines a failing instance's report keeps.
pub const MAX_LOG_LINES: usize = 20;

/// The state of an instance, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// Not looked at since the daemon started.
    Unknown,
    /// On its way up: first start, restart, or coming back after a failure.
    Starting,
    /// Up and answering.
    Live,
    /// It does not start; the reason is given, and it is retried.
    Failing,
    /// Being removed.
    Removing,
}

impl InstanceState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Failing => "failing",
            Self::Removing => "removing",
        }
    }
}

/// What healing keeps of an instance between passes and across restarts of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Health {
    /// Failures since it was last live for some time.
    pub failures: u32,
    /// When the last failure was seen.
    pub last_failure_at: Option<Timestamp>,
    /// When the container's run began that failed last; a run is counted once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_run: Option<Timestamp>,
    /// Not retried before this.
    pub retry_at: Option<Timestamp>,
    /// Whether `openclaw doctor --fix` was run since it was last live.
    pub repaired: bool,
    /// Why it failed last, for people.
    pub reason: Option<String>,
    /// The last lines of its log at the last failure.
    pub last_log: Vec<String>,
}
