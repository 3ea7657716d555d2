//! The names of the steps of an operation.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A step of an operation. In JSON, in the database and in metrics it is its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepName {
    /// It waits for the boots of other instances.
    Queue,
    /// It waits for the host, which does not answer.
    Host,
    /// The image is pulled.
    Image,
    /// The volume is created.
    Volume,
    /// The network is created.
    Network,
    /// The secrets are written.
    Secrets,
    /// The configuration is written.
    Config,
    /// An unreadable configuration is renamed.
    QuarantineConfig,
    /// The container is created.
    Container,
    /// The container is started.
    Start,
    /// OpenClaw starts in the container.
    Boot,
    /// The CPU limit is applied to a boot.
    ApplyCpuLimit,
    /// All limits are applied.
    ApplyLimits,
    /// It is live.
    Live,
    /// The container is stopped.
    Stop,
    /// The container is frozen.
    Freeze,
    /// The container is unfrozen.
    Unfreeze,
    /// OpenClaw's state is repaired.
    Repair,
    /// The container is removed.
    RemoveContainer,
    /// The network is removed.
    RemoveNetwork,
    /// The secrets are wiped.
    RemoveSecrets,
    /// The volume is removed.
    RemoveVolume,
    /// Another volume of the instance is removed.
    RemoveOldVolume,
    /// A backup reads the data while the instance runs.
    Scan,
    /// OpenClaw completes its work.
    Quiesce,
    /// A backup stores the snapshot.
    Commit,
    /// A backup is copied to the bucket.
    Upload,
    /// A backup is restored into a volume.
    Restore,
    /// The restored databases are checked.
    Databases,
    /// A test instance is removed.
    Cleanup,
    /// Expired snapshots are deleted.
    Forget,
    /// Stored data are verified.
    Verify,
    /// The last backup before the deletion of the data.
    FinalBackup,
    /// All backups are deleted.
    PurgeBackups,
    /// A step of another version of StartClaw.
    #[serde(other)]
    Unknown,
}

impl StepName {
    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Host => "host",
            Self::Image => "image",
            Self::Volume => "volume",
            Self::Network => "network",
            Self::Secrets => "secrets",
            Self::Config => "config",
            Self::QuarantineConfig => "quarantine-config",
            Self::Container => "container",
            Self::Start => "start",
            Self::Boot => "boot",
            Self::ApplyCpuLimit => "apply-cpu-limit",
            Self::ApplyLimits => "apply-limits",
            Self::Live => "live",
            Self::Stop => "stop",
            Self::Freeze => "freeze",
            Self::Unfreeze => "unfreeze",
            Self::Repair => "repair",
            Self::RemoveContainer => "remove-container",
            Self::RemoveNetwork => "remove-network",
            Self::RemoveSecrets => "remove-secrets",
            Self::RemoveVolume => "remove-volume",
            Self::RemoveOldVolume => "remove-old-volume",
            Self::Scan => "scan",
            Self::Quiesce => "quiesce",
            Self::Commit => "commit",
            Self::Upload => "upload",
            Self::Restore => "restore",
            Self::Databases => "databases",
            Self::Cleanup => "cleanup",
            Self::Forget => "forget",
            Self::Verify => "verify",
            Self::FinalBackup => "final-backup",
            Self::PurgeBackups => "purge-backups",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_in_json_and_in_texts() {
        for step in [StepName::Queue, StepName::QuarantineConfig, StepName::PurgeBackups] {
            assert_eq!(serde_json::to_value(step).unwrap(), step.as_str());
        }
    }

    #[test]
    fn a_step_of_another_version_does_not_make_an_operation_unreadable() {
        let step: StepName = serde_json::from_str("\"teleport\"").unwrap();
        assert_eq!(step, StepName::Unknown);
    }
}
