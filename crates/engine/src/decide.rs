//! Decides how to go on: a pure function of desired state, observed state and worker state. It keeps
//! the life cycle: failures, boots, silence, deletion. Which objects that takes is the host's.

use std::time::Duration;

use startclaw_host::{Container, ContainerState, Enforced, Exit, Observed, Probe, Target};
use startclaw_model::{DeletionPolicy, Health, Presence, Timestamp, Volumes};

use crate::Timing;

/// The inputs of the decision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inputs<'a> {
    /// Whether the instance is to exist.
    pub presence: Presence,
    /// Its volumes.
    pub volumes: &'a Volumes,
    /// What to do with its data before it is removed.
    pub deletion_policy: DeletionPolicy,
    /// The wanted digest of its container.
    pub digest: &'a str,
    /// The wanted revision of its secrets.
    pub secrets_revision: u64,
    /// Whether the configuration file is unreadable.
    pub unreadable: bool,
    /// The observed state.
    pub observed: &'a Observed,
    /// Its failures and the next retry.
    pub health: &'a Health,
    /// Whether a job, such as a restore, uses its volumes.
    pub job_busy: bool,
    /// Whether it was started so often recently that it boots with its CPU limit.
    pub boots_limited: bool,
    /// Whether this daemon started the container's run, or observed it running.
    pub saw_run: bool,
    /// How long the container has been running.
    pub run_lasts: Duration,
    /// How long a booted container has not answered, as observed by this daemon.
    pub silent_for: Option<Duration>,
    /// When this daemon started: containers that exited before were stopped with the host or by an
    /// operator.
    pub started_at: Timestamp,
    pub now: Timestamp,
    /// How long things take.
    pub timing: &'a Timing,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Ask the host for this target; when it is reached, go on with this.
    Converge(Target, Then),
    /// Stop the container for this reason, which is a failure.
    End(String),
    /// Count this failure and observe again.
    CountFailure(Failure),
    /// Run OpenClaw's repair on the volume.
    Repair,
    /// Keep an unreadable configuration beside a new one.
    QuarantineConfig,
    /// Observe again after this time.
    Wait(Duration, Waiting),
    /// Its data are lost: nothing is started.
    DataLost(Loss),
}

/// How to go on when a target is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Observe again at once.
    Observe,
    /// Observe again after this time.
    Wait(Duration, Waiting),
    /// Start the container as soon as it may boot.
    Start,
    /// It is live.
    Live,
    /// Its container is gone and its data will be removed: first run the pre-delete step.
    RunPreDelete,
    /// Nothing is left of it.
    Gone,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The boot.
    Boot,
    /// The end of the backoff after a failure.
    Backoff,
    /// An answer of a live instance that is silent.
    Answer,
    /// A restore, which fills its volume.
    Restore,
    /// The job that uses its volumes.
    Job,
    /// The end of a fault of the host, which is not counted.
    Host(&'static str),
}

/// How the data of an instance were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Its volume does not exist.
    Missing,
    /// Its volume exists and is empty. An instance that ran has at least a configuration.
    Empty,
}

/// Whether the data of an instance that had some are lost.
pub(crate) fn loss(volumes: &Volumes, observed: &Observed) -> Option<Loss> {
    if !volumes.holds_data() {
        return None;
    }
    match (observed.volume, observed.volume_empty) {
        (false, _) => Some(Loss::Missing),
        (true, true) => Some(Loss::Empty),
        (true, false) => None,
    }
}

/// A container that exited unexpectedly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// When it exited.
    pub at: Timestamp,
    /// When its run began, by which the failure is counted once.
    pub run: Option<Timestamp>,
    /// Its exit code.
    pub code: i64,
    /// Whether the kernel killed it because of its memory limit.
    pub oom_killed: bool,
}

/// Decides. Every decision except the waiting ones changes the inputs of the next pass.
pub(crate) fn next_step(inputs: &Inputs<'_>) -> Decision {
    // Before the backoff: a crash loop must not hide a loss.
    if inputs.presence == Presence::Present
        && let Some(loss) = loss(inputs.volumes, inputs.observed)
    {
        return match &inputs.observed.container {
            Some(container) if container.is_alive() => {
                Decision::Converge(Target::Stopped, Then::Observe)
            }
            _ => Decision::DataLost(loss),
        };
    }
    if let Some(retry_at) = inputs.health.retry_at {
        let wait = retry_at.since(inputs.now);
        // More than the longest wait: the clock was set back.
        if !wait.is_zero() && wait <= inputs.timing.backoff_limit {
            return Decision::Wait(wait, Waiting::Backoff);
        }
    }
    match inputs.presence {
        Presence::Absent => take_down(inputs),
        Presence::Present => bring_up(inputs),
    }
}

/// Removal; the data only after the pre-delete step, and while no job uses them: a restore in
/// progress would create a volume again, which would be orphaned.
fn take_down(inputs: &Inputs<'_>) -> Decision {
    let keep_volumes = Target::Absent { keep_volumes: true };
    if !inputs.deletion_policy.is_none() {
        return Decision::Converge(keep_volumes, Then::RunPreDelete);
    }
    if inputs.job_busy {
        let wait = inputs.timing.host_retry_first;
        return Decision::Converge(keep_volumes, Then::Wait(wait, Waiting::Job));
    }
    Decision::Converge(Target::Absent { keep_volumes: false }, Then::Gone)
}

/// From any state to a live instance.
fn bring_up(inputs: &Inputs<'_>) -> Decision {
    let prepare = Decision::Converge(Target::Stopped, Then::Start);
    let Some(container) = &inputs.observed.container else {
        if inputs.volumes.awaits_restore() {
            return Decision::Wait(inputs.timing.sweep_every, Waiting::Restore);
        }
        return prepare;
    };
    if container.digest != inputs.digest {
        return prepare;
    }
    match &container.state {
        ContainerState::Created => prepare,
        ContainerState::Paused => {
            Decision::Converge(Target::Running(Enforced::Nothing), Then::Observe)
        }
        ContainerState::Exited(exit) => after_exit(inputs, container, exit).unwrap_or(prepare),
        ContainerState::Running => watch(inputs, container),
    }
}

/// What an exit needs before the next start.
fn after_exit(inputs: &Inputs<'_>, container: &Container, exit: &Exit) -> Option<Decision> {
    if !inputs.observed.volume || !inputs.observed.network {
        // The host stopped it: its container must be created again.
        return None;
    }
    let damaged = startclaw_openclaw::is_damaged(exit.code, exit.oom_killed);
    let ours = inputs.saw_run || exit.at >= inputs.started_at || damaged;
    if ours && !is_counted(inputs.health, container, exit) {
        return Some(Decision::CountFailure(Failure {
            at: exit.at,
            run: container.started_at,
            code: exit.code,
            oom_killed: exit.oom_killed,
        }));
    }
    // The repair needs the secrets and a volume that its user can read, and is run only once.
    let ready =
        inputs.observed.volume_ready && inputs.observed.secrets == Some(inputs.secrets_revision);
    if !damaged || !ready {
        return None;
    }
    if !inputs.health.repaired {
        return Some(Decision::Repair);
    }
    // The doctor does not repair an unreadable file; it is kept beside a new one.
    inputs.unreadable.then_some(Decision::QuarantineConfig)
}

/// Whether this end of a container was counted as a failure. Its run tells; the time, which may have
/// been set back, only where earlier versions noted nothing else.
fn is_counted(health: &Health, container: &Container, exit: &Exit) -> bool {
    match health.failed_run {
        Some(run) => container.started_at == Some(run),
        None => health.last_failure_at.is_some_and(|t| t >= exit.at),
    }
}

/// A running container: booting, live, or silent.
fn watch(inputs: &Inputs<'_>, container: &Container) -> Decision {
    let timing = inputs.timing;
    let keep = |limits, wait, waiting| {
        Decision::Converge(Target::Running(limits), Then::Wait(wait, waiting))
    };
    if has_started(&inputs.observed.probe) {
        return Decision::Converge(Target::Running(Enforced::All), Then::Live);
    }
    if inputs.observed.probe == Probe::Blocked {
        let waiting = Waiting::Host(
            "it runs, but the network of this host does not lead to it; see: startclaw doctor",
        );
        return keep(container.enforced, timing.probe_every, waiting);
    }
    // All limits are applied at the end of a boot, so they distinguish a boot from a silent
    // instance.
    if container.enforced != Enforced::All {
        return boot(inputs, container);
    }
    match inputs.silent_for {
        Some(silent) if silent >= timing.silence_limit => {
            Decision::End(format!("it did not answer for {} s", timing.silence_limit.as_secs()))
        }
        _ => {
            let wait = timing.probe_every.min(timing.silence_limit / 4);
            keep(Enforced::All, wait, Waiting::Answer)
        }
    }
}

/// A boot has no limits, so it must be short: an instance that never answers would use the whole
/// host.
fn boot(inputs: &Inputs<'_>, container: &Container) -> Decision {
    let timing = inputs.timing;
    let booting = inputs.run_lasts;
    if booting >= timing.boot_limit {
        let limit = timing.boot_limit.as_secs();
        return Decision::End(format!("it did not start within {limit} s"));
    }
    let spent = match container.cpu_used {
        Some(used) => used >= timing.boot_cpu,
        None => booting >= timing.boot_share,
    };
    let limits = if spent || inputs.boots_limited { Enforced::Cpu } else { container.enforced };
    Decision::Converge(Target::Running(limits), Then::Wait(timing.boot_poll, Waiting::Boot))
}

/// Whether an instance answers that OpenClaw has started.
pub fn has_started(probe: &Probe) -> bool {
    matches!(probe, Probe::Answer { status, body } if startclaw_openclaw::has_started(*status, body))
}

/// The wait after the `failures`-th consecutive failure: doubles up to the limit.
pub fn backoff(failures: u32, first: Duration, limit: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    first.saturating_mul(1 << doublings).min(limit)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
