//! What a host can be asked to make of an instance.

use std::time::Duration;

use async_trait::async_trait;
use startclaw_model::StepName;

use crate::Enforced;

/// The state of an instance on its host that the caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// All its objects exist and are up to date, and the container runs with at least these
    /// limits. A container is started without limits, and its limits are not lifted during a run.
    Running(Enforced),
    /// The container is frozen, if it runs. Its other objects are left alone.
    Suspended {
        /// After this time a watchdog that does not depend on the caller unfreezes it.
        at_most: Option<Duration>,
    },
    /// All its objects exist and are up to date, and the container does not run: a start is the only
    /// step to [`Target::Running`].
    Stopped,
    /// Its objects are removed, the volumes last.
    Absent {
        /// Whether all volumes are kept.
        keep_volumes: bool,
    },
}

/// The outcome of a convergence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convergence {
    /// This step was taken: observe, and converge again.
    Step(StepName),
    /// The target is reached.
    Done,
    /// The host cannot tell how to go on, for this reason: observe again later.
    Waiting(&'static str),
}

/// Is told which step begins.
#[async_trait]
pub trait StepReporter: Send {
    /// This step begins.
    async fn begin(&mut self, step: StepName);
}

/// Reports nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoReport;

#[async_trait]
impl StepReporter for NoReport {
    async fn begin(&mut self, _: StepName) {}
}
