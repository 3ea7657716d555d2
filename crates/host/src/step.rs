//! The single things a host can do for an instance.

use std::{fmt, time::Duration};

use bytes::Bytes;

/// One idempotent step. The name of a step is what people see while an operation runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Get the image from its registry.
    FetchImage,
    /// Make the volume, owned by the instance's uid, mode 700; or make one to the end.
    CreateVolume,
    /// Give the existing volume to the instance's uid, mode 700. Never creates one: a volume that
    /// vanished meanwhile must not come back empty.
    OwnVolume,
    /// Make the instance's own network.
    CreateNetwork,
    /// Put the plan's secrets into memory, instead of older ones.
    WriteSecrets,
    /// Replace the configuration file in the volume by this content, in one move.
    WriteConfig(Bytes),
    /// Rename the configuration file, which nobody can read, so that it is kept and a new one
    /// can be written.
    QuarantineConfig,
    /// Make the container; remove one of an older spec first.
    CreateContainer,
    /// Lift the CPU limit and the soft memory limit, and start the container.
    StartContainer,
    /// Put the CPU limit into force, of a container that has not booted. The soft memory limit
    /// stays lifted: on cgroup v1 Node takes it for all the memory there is.
    ApplyCpuLimit,
    /// Put the CPU limit and the soft memory limit into force.
    ApplyLimits,
    /// Freeze the running container, for this long at most: then something that does not depend
    /// on the caller unfreezes it. One that does not run is left alone.
    PauseContainer {
        /// How long at most.
        at_most: Duration,
    },
    /// Let a frozen container continue.
    ResumeContainer,
    /// Ask the container to end, and end it when its grace is over.
    StopContainer,
    /// Run the repair command on the volume; the container is stopped.
    Repair,
    /// Remove the container, ended or not.
    RemoveContainer,
    /// Remove the network.
    RemoveNetwork,
    /// Wipe the secrets.
    RemoveSecrets,
    /// Remove the volume and all data in it.
    RemoveVolume,
    /// Remove another of its volumes, and all data in it.
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
