//! The steps that a host can apply to an instance.

use std::{fmt, time::Duration};

use bytes::Bytes;

/// One idempotent step. Its name is shown while an operation runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Pull the image from its registry.
    FetchImage,
    /// Create the volume, owned by the instance's uid, mode 700; or complete an existing one.
    CreateVolume,
    /// Give the existing volume to the instance's uid, mode 700. Never creates one: a volume that
    /// disappeared must not be replaced by an empty one.
    OwnVolume,
    /// Create the instance's own network.
    CreateNetwork,
    /// Write the plan's secrets to memory, replacing older ones.
    WriteSecrets,
    /// Replace the configuration file in the volume by this content, atomically.
    WriteConfig(Bytes),
    /// Rename the unreadable configuration file, so that it is kept and a new one can be written.
    QuarantineConfig,
    /// Create the container; first remove one of an older spec.
    CreateContainer,
    /// Lift the CPU limit and the soft memory limit, and start the container.
    StartContainer,
    /// Apply the CPU limit to a container that is still booting. The soft memory limit stays
    /// lifted: with cgroup v1 Node.js takes it for the total memory.
    ApplyCpuLimit,
    /// Apply the CPU limit and the soft memory limit.
    ApplyLimits,
    /// Freeze the running container for a limited time: then a watchdog that does not depend on the
    /// caller unfreezes it. No effect on a container that does not run.
    PauseContainer {
        /// The time limit.
        at_most: Duration,
    },
    /// Unfreeze a frozen container.
    ResumeContainer,
    /// Ask the container to stop, and kill it after its grace period.
    StopContainer,
    /// Run the repair command on the volume; the container is stopped.
    Repair,
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
    /// The step's name for people and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::FetchImage => "image",
            Self::CreateVolume | Self::OwnVolume => "volume",
            Self::CreateNetwork => "network",
            Self::WriteSecrets => "secrets",
            Self::WriteConfig(_) => "config",
            Self::QuarantineConfig => "quarantine-config",
            Self::CreateContainer => "container",
            Self::StartContainer => "start",
            Self::ApplyCpuLimit => "apply-cpu-limit",
            Self::ApplyLimits => "apply-limits",
            Self::PauseContainer { .. } => "freeze",
            Self::ResumeContainer => "unfreeze",
            Self::StopContainer => "stop",
            Self::Repair => "repair",
            Self::RemoveContainer => "remove-container",
            Self::RemoveNetwork => "remove-network",
            Self::RemoveSecrets => "remove-secrets",
            Self::RemoveVolume => "remove-volume",
            Self::RemoveOtherVolume(_) => "remove-old-volume",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
