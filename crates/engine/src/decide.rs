//! What to do next: a pure function of the desired state, what is there, and what is remembered.

use std::time::Duration;

use bytes::Bytes;
use startclaw_host::{Container, ContainerState, Enforced, Exit, Observed, Probe, Step};
use startclaw_model::{DeletionPolicy, Health, Presence, Timestamp, Volumes};

use crate::Timing;

/// Everything the decision depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inputs<'a> {
    /// Whether the instance is to exist.
    pub presence: Presence,
    /// Which of its volumes is which.
    pub volumes: &'a Volumes,
    /// What is done with its data before it is removed.
    pub deletion_policy: DeletionPolicy,
    /// The spec its container is to have.
    pub spec: &'a str,
    /// The revision its secrets are to have.
    pub secrets_revision: u64,
    /// What the configuration file is to hold; none when it holds that already.
    pub config: Option<&'a Bytes>,
    /// Whether the configuration file is one that nobody can read.
    pub unreadable: bool,
    /// What is there.
    pub observed: &'a Observed,
    /// What healing remembers.
    pub health: &'a Health,
    /// Whether it was started so often lately that it boots under its CPU limit.
    pub boots_limited: bool,
    /// Whether this daemon started the container's run, or saw it running.
    pub saw_run: bool,
    /// How long the container's run lasts.
    pub run_lasts: Duration,
    /// How long a container that had booted has not answered, as this daemon saw.
    pub silent_for: Option<Duration>,
    /// When this daemon began: what ended before, ended with the host, or because somebody
    /// stopped everything.
    pub started_at: Timestamp,
    /// Now.
    pub now: Timestamp,
    /// How long things take.
    pub timing: &'a Timing,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Take this step and look again.
    Do(Step),
    /// End the container because of this, which is no wish of anybody's.
    End(String),
    /// Count this failure, which came at this time, and look again.
    CountFailure(Failure),
    /// Look again then.
    Wait(Duration, Waiting),
    /// Its data are gone: nothing is started.
    DataLost(Loss),
    /// Its container is gone and its data are to go: first what is to be done with them.
    RunPreDelete,
    /// Everything is as it is to be.
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
    /// An answer of a live instance that is silent just now.
    Answer,
    /// A restore, which fills its volume.
    Restore,
    /// The end of a fault of the host, which counts for nothing.
    Host(&'static str),
}

/// How the data of an instance were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Its volume does not exist.
    Missing,
    /// Its volume exists, and nothing is in it. An instance that ran has at least a configuration.
    Empty,
}

/// Whether the data of an instance that once had some are gone.
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
    /// When it ended.
    pub at: Timestamp,
    /// When its run began, by which the failure is counted once.
    pub run: Option<Timestamp>,
    /// Its exit code.
    pub code: i64,
    /// Whether the kernel ended it for memory.
    pub oom_killed: bool,
}

/// Decides. Every answer but the waiting ones changes what the next pass sees.
pub(crate) fn next_step(inputs: &Inputs<'_>) -> Decision {
    // Before the backoff: a crash loop must not hide it.
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

/// The way to nothing: container, network, secrets, and the data last.
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

/// The way to a live instance: in the order volume, config, container.
fn bring_up(inputs: &Inputs<'_>) -> Decision {
    let observed = inputs.observed;
    let container = observed.container.as_ref();
    if inputs.volumes.awaits_restore() && container.is_none() {
        return Decision::Wait(inputs.timing.sweep_every, Waiting::Restore);
    }
    // One that is not needed goes when the container surely is not on it any more.
    let moved = container.is_none_or(|c| c.spec == inputs.spec);
    let stale = observed.other_volumes.iter().find(|v| !inputs.volumes.keeps(**v));
    if let Some(stale) = stale.filter(|_| moved) {
        return Decision::Do(Step::RemoveOtherVolume(*stale));
    }
    if !observed.volume || !observed.network {
        // A container on a volume or network that is gone cannot be repaired, only made again.
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
    // Half-made by a crash, or changed from inside; what runs on it is not disturbed for that.
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

/// A step before which the configuration has to be right.
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
        // The doctor does not repair what it cannot read; its owner's file is kept beside a new
        // one.
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
    // All limits come into force when a boot is over, so they tell a boot from a silence.
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

/// A boot is without limits, and so for no longer than one needs: whoever never answers would
/// have the whole host.
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

/// How long to wait after the `failures`-th failure in a row: doubling, up to the limit.
pub(crate) fn backoff(failures: u32, first: Duration, limit: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    first.saturating_mul(1 << doublings).min(limit)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
