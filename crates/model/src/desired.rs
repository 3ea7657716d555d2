//! The desired state of an instance.

use serde::{Deserialize, Serialize};

use crate::{ModelProvider, Volumes};

/// Whether an instance is to exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// It must exist and be live.
    Present,
    /// It and its data must be removed.
    Absent,
}

/// The desired state of an instance. Stored; changed only by operations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// Whether it is to exist.
    pub presence: Presence,
    /// Number of requested restarts: a container of an older epoch is replaced.
    pub epoch: u64,
    /// Number of changes of the secrets: a container that started with older ones is replaced.
    pub secrets_revision: u64,
    /// How it is set up.
    pub profile: Profile,
    /// Which volume is in use, filling or replaced.
    #[serde(default, skip_serializing_if = "Volumes::is_plain")]
    pub volumes: Volumes,
    /// What to do with its data before it is removed.
    #[serde(default, alias = "farewell", skip_serializing_if = "DeletionPolicy::is_none")]
    pub deletion_policy: DeletionPolicy,
}

impl Desired {
    /// Whether a secret was ever set.
    pub fn has_had_secrets(&self) -> bool {
        self.profile.api_key || self.profile.telegram || self.secrets_revision > 1
    }
}

/// What to do with the data of an instance before they are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeletionPolicy {
    /// Take a final backup.
    #[serde(alias = "backup")]
    FinalBackup,
    /// Delete all its backups.
    Purge,
    /// Nothing, or nothing more.
    #[serde(alias = "over")]
    #[default]
    None,
}

impl DeletionPolicy {
    /// Whether nothing is to be done.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// Who may write to a Telegram bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TelegramAccess {
    /// Telegram users whom the owner approved.
    #[default]
    Pairing,
    /// Every Telegram user.
    Open,
}

impl TelegramAccess {
    /// Whether the owner approves each user.
    pub fn is_pairing(&self) -> bool {
        *self == Self::Pairing
    }
}

/// The configuration of an instance, as its owner requested it at provision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The OpenClaw version, which is the image's tag.
    pub version: String,
    /// Where its model comes from; none means the owner sets one up in the Control UI.
    pub provider: Option<ModelProvider>,
    /// Whether the vault holds a key for the provider.
    pub api_key: bool,
    /// Whether a Telegram bot is connected.
    pub telegram: bool,
    /// Which Telegram users the bot accepts, for the first configuration only. After that the owner
    /// decides in OpenClaw, and a configuration that is written again later is never open.
    #[serde(default, skip_serializing_if = "TelegramAccess::is_pairing")]
    pub telegram_access: TelegramAccess,
    /// The resources it may use.
    pub limits: Limits,
}

/// The resources of one instance. A field that is left out takes the platform's default.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory it is to keep when the host is short, in MiB (a soft limit).
    pub memory_soft_mib: u64,
    /// Memory it can never pass, in MiB (the kernel ends it there).
    pub memory_hard_mib: u64,
    /// CPUs it may use once it has booted; 0.5 is half of one core.
    pub cpus: f64,
    /// Processes and threads.
    pub pids: u32,
}

// `check` rejects NaN, so equality is total for every stored value.
impl Eq for Limits {}

impl Default for Limits {
    /// The specified 512 MB soft and 0.5 CPU. OpenClaw idles at 600 to 830 MB, so the hard
    /// ceiling leaves room for work; 512 processes is many times what it uses.
    fn default() -> Self {
        Self { memory_soft_mib: 512, memory_hard_mib: 2048, cpus: 0.5, pids: 512 }
    }
}

/// Why limits are invalid; `field` names the invalid field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LimitsError {
    /// The field of [`Limits`] that is wrong.
    pub field: &'static str,
    /// What to do about it.
    pub message: &'static str,
}

impl Limits {
    /// Checks that an instance can run within every limit.
    pub fn check(&self) -> Result<(), LimitsError> {
        let err = |field, message| Err(LimitsError { field, message });
        if !(64..=1_048_576).contains(&self.memory_soft_mib) {
            return err("memory_soft_mib", "memory_soft_mib must be between 64 and 1048576");
        }
        if !(768..=1_048_576).contains(&self.memory_hard_mib) {
            return err(
                "memory_hard_mib",
                "memory_hard_mib must be between 768 (required to boot OpenClaw) and 1048576",
            );
        }
        if self.memory_soft_mib > self.memory_hard_mib {
            return err("memory_soft_mib", "memory_soft_mib must not exceed memory_hard_mib");
        }
        if !(0.05..=256.0).contains(&self.cpus) {
            return err("cpus", "cpus must be between 0.05 and 256");
        }
        if !(64..=32_768).contains(&self.pids) {
            return err("pids", "pids must be between 64 and 32768");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_follow_the_specification() {
        let limits = Limits::default();
        assert_eq!((limits.memory_soft_mib, limits.cpus), (512, 0.5));
        limits.check().unwrap();
    }

    #[test]
    fn limits_that_kill_an_instance_are_refused_by_field() {
        let d = Limits::default;
        for (limits, field) in [
            (Limits { memory_hard_mib: 512, ..d() }, "memory_hard_mib"),
            (Limits { memory_soft_mib: 4096, ..d() }, "memory_soft_mib"),
            (Limits { cpus: f64::NAN, ..d() }, "cpus"),
            (Limits { cpus: 0.0, ..d() }, "cpus"),
            (Limits { pids: 1, ..d() }, "pids"),
        ] {
            assert_eq!(limits.check().unwrap_err().field, field);
        }
    }
}
