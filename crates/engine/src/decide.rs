//! Decides the next step: a pure function of desired state, observed state and worker state.

use std::time::Duration;

use bytes::Bytes;
use startclaw_host::{Container, ContainerState, Enforced, Exit, Observed, Probe, Step};
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
    /// The wanted spec of its container.
    pub spec: &'a str,
    /// The wanted revision of its secrets.
    pub secrets_revision: u64,
    /// The wanted content of the configuration file; none when it is up to date.
    pub config: Option<&'a Bytes>,
    /// Whether the configuration file is unreadable.
    pub unreadable: bool,
    /// The observed state.
    pub observed: &'a Observed,
    /// Its failures and the next retry.
    pub health: &'a Health,
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
    /// Apply this step and observe again.
    Do(Step),
    /// Stop the container for this reason, which is a failure.
    End(String),
    /// Count this failure and observe again.
    CountFailure(Failure),
    /// Observe again after this time.
    Wait(Duration, Waiting),
    /// Its data are lost: nothing is started.
    DataLost(Loss),
    /// Its container is gone and its data will be removed: first run the pre-delete step.
    RunPreDelete,
    /// Desired and observed state agree.
    Converged,
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
            Some(container) if is_alive(container) => Decision::Do(Step::StopContainer),
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

/// Removal: container, network, secrets, and the data last.
fn take_down(inputs: &Inputs<'_>) -> Decision {
    let observed = inputs.observed;
    if let Some(container) = &observed.container {
        return Decision::Do(if is_alive(container) {
            Step::StopContainer
        } else {
            Step::RemoveContainer
        });
    }
    if observed.network {
        return Decision::Do(Step::RemoveNetwork);
    }
    if observed.secrets.is_some() {
        return Decision::Do(Step::RemoveSecrets);
    }
    if !inputs.deletion_policy.is_none() {
        return Decision::RunPreDelete;
    }
    if observed.other_volumes_unknown {
        let wait = Waiting::Host("Docker does not say which volumes are left of it");
        return Decision::Wait(inputs.timing.probe_every, wait);
    }
    if let Some(other) = observed.other_volumes.first() {
        return Decision::Do(Step::RemoveOtherVolume(*other));
    }
    if observed.volume {
        return Decision::Do(Step::RemoveVolume);
    }
    Decision::Gone
}

/// Start: in the order volume, configuration, container.
fn bring_up(inputs: &Inputs<'_>) -> Decision {
    let observed = inputs.observed;
    let container = observed.container.as_ref();
    if inputs.volumes.awaits_restore() && container.is_none() {
        return Decision::Wait(inputs.timing.sweep_every, Waiting::Restore);
    }
    // An unneeded volume is removed only when the container certainly does not use it.
    let moved = container.is_none_or(|c| c.spec == inputs.spec);
    let stale = observed.other_volumes.iter().find(|v| !inputs.volumes.keeps(**v));
    if let Some(stale) = stale.filter(|_| moved) {
        return Decision::Do(Step::RemoveOtherVolume(*stale));
    }
    if !observed.volume || !observed.network {
        // A container whose volume or network is gone cannot be repaired, only recreated.
        if let Some(container) = container {
            return Decision::Do(if is_alive(container) {
                Step::StopContainer
            } else {
                Step::RemoveContainer
            });
        }
        return Decision::Do(if observed.volume {
            Step::CreateNetwork
        } else {
            Step::CreateVolume
        });
    }
    // Incomplete after a crash, or changed by the instance; a running container is not disturbed
    // for that.
    if !observed.volume_ready && !container.is_some_and(is_alive) {
        return Decision::Do(if inputs.volumes.holds_data() {
            Step::OwnVolume
        } else {
            Step::CreateVolume
        });
    }
    if observed.secrets != Some(inputs.secrets_revision) {
        return Decision::Do(Step::WriteSecrets);
    }
    match &observed.container {
        Some(container) if container.spec != inputs.spec => {
            if is_alive(container) {
                Decision::Do(Step::StopContainer)
            } else {
                prepare(inputs, Step::CreateContainer)
            }
        }
        None => prepare(inputs, Step::CreateContainer),
        Some(container) => keep_running(inputs, container),
    }
}

/// A step that needs an up-to-date configuration.
fn prepare(inputs: &Inputs<'_>, then: Step) -> Decision {
    match inputs.config {
        Some(content) => Decision::Do(Step::WriteConfig(content.clone())),
        None => Decision::Do(then),
    }
}

/// From a container of the right spec to one that is live.
fn keep_running(inputs: &Inputs<'_>, container: &Container) -> Decision {
    match &container.state {
        ContainerState::Created => prepare(inputs, Step::StartContainer),
        ContainerState::Paused => Decision::Do(Step::ResumeContainer),
        ContainerState::Exited(exit)
            if (inputs.saw_run
                || exit.at >= inputs.started_at
                || exit.code == startclaw_openclaw::DAMAGED)
                && !is_counted(inputs.health, container, exit) =>
        {
            Decision::CountFailure(Failure {
                at: exit.at,
                run: container.started_at,
                code: exit.code,
                oom_killed: exit.oom_killed,
            })
        }
        ContainerState::Exited(exit)
            if exit.code == startclaw_openclaw::DAMAGED && !inputs.health.repaired =>
        {
            Decision::Do(Step::Repair)
        }
        // The doctor does not repair an unreadable file; it is kept beside a new one.
        ContainerState::Exited(exit)
            if exit.code == startclaw_openclaw::DAMAGED && inputs.unreadable =>
        {
            Decision::Do(Step::QuarantineConfig)
        }
        ContainerState::Exited(_) => prepare(inputs, Step::StartContainer),
        ContainerState::Running => watch(inputs, container),
    }
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
    if has_started(&inputs.observed.probe) {
        return match container.enforced {
            Enforced::All => Decision::Converged,
            Enforced::Nothing | Enforced::Cpu => Decision::Do(Step::ApplyLimits),
        };
    }
    if inputs.observed.probe == Probe::Blocked {
        let wait = Waiting::Host(
            "it runs, but the network of this host does not lead to it; see: startclaw doctor",
        );
        return Decision::Wait(timing.probe_every, wait);
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
        _ => Decision::Wait(timing.probe_every.min(timing.silence_limit / 4), Waiting::Answer),
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
    if container.enforced == Enforced::Nothing && (spent || inputs.boots_limited) {
        return Decision::Do(Step::ApplyCpuLimit);
    }
    Decision::Wait(timing.boot_poll, Waiting::Boot)
}

fn is_alive(container: &Container) -> bool {
    matches!(container.state, ContainerState::Running | ContainerState::Paused)
}

pub(crate) fn has_started(probe: &Probe) -> bool {
    matches!(probe, Probe::Answer { status, body } if startclaw_openclaw::has_started(*status, body))
}

/// The wait after the `failures`-th consecutive failure: doubles up to the limit.
pub(crate) fn backoff(failures: u32, first: Duration, limit: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    first.saturating_mul(1 << doublings).min(limit)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
