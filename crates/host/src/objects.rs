//! Instances that consist of a volume, a network, secrets, a configuration and a container: in which
//! order they are created and removed. A host that manages these objects one by one converges with
//! [`next_step`]; one that hands them all to a cluster does not need it.

use std::{fmt, ops::ControlFlow, time::Duration};

use bytes::Bytes;
use startclaw_model::StepName;

use crate::{
    Container, ContainerState, Convergence, Enforced, HostError, InstanceSpec, Observed, Target,
};

/// One idempotent step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Create the volume, owned by the instance's uid, mode 700; or complete an existing one.
    CreateVolume,
    /// Give the existing volume to the instance's uid, mode 700. Never creates one: a volume that
    /// disappeared must not be replaced by an empty one.
    OwnVolume,
    /// Create the instance's own network.
    CreateNetwork,
    /// Write the spec's secrets to memory, replacing older ones.
    WriteSecrets,
    /// Replace the configuration file in the volume by this content, atomically.
    WriteConfig(Bytes),
    /// Create the container; first remove one of another digest.
    CreateContainer,
    /// Lift the CPU limit and the soft memory limit, and start the container.
    StartContainer,
    /// Apply the CPU limit to a container that is still booting. The soft memory limit stays
    /// lifted: with cgroup v1 Node.js takes it for the total memory.
    ApplyCpuLimit,
    /// Apply the CPU limit and the soft memory limit.
    ApplyLimits,
    /// Freeze the running container. No effect on a container that does not run.
    PauseContainer {
        /// After this time a watchdog that does not depend on the caller unfreezes it.
        at_most: Option<Duration>,
    },
    /// Unfreeze a frozen container.
    ResumeContainer,
    /// Ask the container to stop, and kill it after its grace period.
    StopContainer,
    /// Remove the container, running or not.
    RemoveContainer,
    /// Remove the network.
    RemoveNetwork,
    /// Wipe the secrets.
    RemoveSecrets,
    /// Remove the volume and all data in it.
    RemoveVolume,
    /// Remove another volume of the instance, and all data in it.
    RemoveOtherVolume(u64),
}

impl Step {
    /// The name of the step in an operation.
    pub const fn name(&self) -> StepName {
        match self {
            Self::CreateVolume | Self::OwnVolume => StepName::Volume,
            Self::CreateNetwork => StepName::Network,
            Self::WriteSecrets => StepName::Secrets,
            Self::WriteConfig(_) => StepName::Config,
            Self::CreateContainer => StepName::Container,
            Self::StartContainer => StepName::Start,
            Self::ApplyCpuLimit => StepName::ApplyCpuLimit,
            Self::ApplyLimits => StepName::ApplyLimits,
            Self::PauseContainer { .. } => StepName::Freeze,
            Self::ResumeContainer => StepName::Unfreeze,
            Self::StopContainer => StepName::Stop,
            Self::RemoveContainer => StepName::RemoveContainer,
            Self::RemoveNetwork => StepName::RemoveNetwork,
            Self::RemoveSecrets => StepName::RemoveSecrets,
            Self::RemoveVolume => StepName::RemoveVolume,
            Self::RemoveOtherVolume(_) => StepName::RemoveOldVolume,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().fmt(f)
    }
}

/// How to go on towards a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// By this step.
    Take(Step),
    /// The target is reached.
    Done,
    /// Not before another observation, for this reason.
    Wait(&'static str),
    /// The volume held data and does not exist: an empty one must not replace it.
    VolumeLost,
}

impl Next {
    /// The step to take; or the outcome of a convergence that takes none.
    pub fn step(self, observed: &Observed) -> ControlFlow<Result<Convergence, HostError>, Step> {
        ControlFlow::Break(match self {
            Self::Take(step) => return ControlFlow::Continue(step),
            Self::Done => Ok(Convergence::Done),
            Self::Wait(why) => Ok(Convergence::Waiting(why)),
            Self::VolumeLost => Err(HostError::volume_lost(&observed.volume_name)),
        })
    }
}

/// Decides the next step. Every step changes what is observed next.
pub fn next_step(spec: &InstanceSpec, target: Target, observed: &Observed) -> Next {
    match target {
        Target::Running(limits) => bring_up(spec, Some(limits), observed),
        Target::Stopped => match &observed.container {
            Some(container) if container.is_alive() => Next::Take(Step::StopContainer),
            _ => bring_up(spec, None, observed),
        },
        Target::Suspended { at_most } => match &observed.container {
            Some(container) if container.state == ContainerState::Running => {
                Next::Take(Step::PauseContainer { at_most })
            }
            _ => Next::Done,
        },
        Target::Absent { keep_volumes } => take_down(spec, keep_volumes, observed),
    }
}

/// Removal: container, network, secrets, and the data last.
fn take_down(spec: &InstanceSpec, keep_volumes: bool, observed: &Observed) -> Next {
    if let Some(container) = &observed.container {
        // The data of a restore test are copies.
        let step = if spec.isolated { Step::RemoveContainer } else { stop_or_remove(container) };
        return Next::Take(step);
    }
    if observed.network {
        return Next::Take(Step::RemoveNetwork);
    }
    if observed.secrets.is_some() {
        return Next::Take(Step::RemoveSecrets);
    }
    if keep_volumes {
        return Next::Done;
    }
    if observed.other_volumes_unknown {
        return Next::Wait("Docker does not say which volumes are left of it");
    }
    if let Some(other) = observed.other_volumes.first() {
        return Next::Take(Step::RemoveOtherVolume(*other));
    }
    if observed.volume {
        return Next::Take(Step::RemoveVolume);
    }
    Next::Done
}

/// Start, with these limits, or preparation of a start: in the order volume, network, secrets,
/// configuration, container.
fn bring_up(spec: &InstanceSpec, start: Option<Enforced>, observed: &Observed) -> Next {
    let container = observed.container.as_ref();
    let alive = container.is_some_and(Container::is_alive);
    // An unneeded volume is removed only when the container certainly does not use it.
    let moved = container.is_none_or(|c| c.digest == spec.digest);
    let stale = observed.other_volumes.iter().find(|v| !spec.kept_volumes.contains(v));
    if let Some(stale) = stale.filter(|_| moved) {
        return Next::Take(Step::RemoveOtherVolume(*stale));
    }
    let network = observed.network || spec.isolated;
    if !observed.volume || !network {
        // A container whose volume or network is gone cannot be repaired, only recreated.
        return match container {
            Some(container) => Next::Take(stop_or_remove(container)),
            None if observed.volume => Next::Take(Step::CreateNetwork),
            None if spec.volume_holds_data => Next::VolumeLost,
            None => Next::Take(Step::CreateVolume),
        };
    }
    // Incomplete after a crash, or changed by the instance; a running container is not disturbed
    // for that.
    if !observed.volume_ready && !alive {
        return Next::Take(if spec.volume_holds_data {
            Step::OwnVolume
        } else {
            Step::CreateVolume
        });
    }
    if observed.secrets != Some(spec.secrets_revision) {
        return Next::Take(Step::WriteSecrets);
    }
    match container {
        Some(container) if container.digest == spec.digest => keep_running(spec, start, container),
        Some(_) if alive => Next::Take(Step::StopContainer),
        _ => with_config(spec, Next::Take(Step::CreateContainer)),
    }
}

/// From an existing container of the right digest to one that runs.
fn keep_running(spec: &InstanceSpec, start: Option<Enforced>, container: &Container) -> Next {
    let Some(limits) = start else { return with_config(spec, Next::Done) };
    match container.state {
        ContainerState::Created | ContainerState::Exited(_) => {
            with_config(spec, Next::Take(Step::StartContainer))
        }
        ContainerState::Paused => Next::Take(Step::ResumeContainer),
        ContainerState::Running if limits == Enforced::All && container.limits_changed => {
            Next::Take(Step::ApplyLimits)
        }
        ContainerState::Running if container.enforced >= limits => Next::Done,
        ContainerState::Running if limits == Enforced::Cpu => Next::Take(Step::ApplyCpuLimit),
        ContainerState::Running => Next::Take(Step::ApplyLimits),
    }
}

/// What needs an up-to-date configuration.
fn with_config(spec: &InstanceSpec, then: Next) -> Next {
    match &spec.config {
        Some(content) => Next::Take(Step::WriteConfig(content.clone())),
        None => then,
    }
}

fn stop_or_remove(container: &Container) -> Step {
    if container.is_alive() { Step::StopContainer } else { Step::RemoveContainer }
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
