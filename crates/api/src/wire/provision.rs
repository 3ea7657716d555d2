//! The body of a provision, and of verbs that need only a name.

use serde::{Deserialize, Serialize};
use startclaw_engine::ProvisionRequest;
use startclaw_model::{Limits, ModelProvider, Name, Owner, TelegramAccess};
use utoipa::ToSchema;

use super::SentSecret;

/// A new instance.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Provision {
    /// Its name: 1 to 40 characters `a-z`, `0-9` and `-`. The instance is reached at
    /// `https://NAME.DOMAIN`.
    pub name: Name,
    /// The owner: an e-mail address or id. Required with a bearer token; `admin` when left out at
    /// the Unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// The model provider. Without one, the owner sets it up in the Control UI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ModelProvider>,
    /// The provider's API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(write_only, example = "sk-…")]
    pub api_key: Option<SentSecret>,
    /// A Telegram bot's token, from BotFather.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(write_only, example = "123456789:AAE…")]
    pub telegram_bot_token: Option<SentSecret>,
    /// Who may write to the bot at first: users whom the owner approves, or (`open`) every
    /// Telegram user, who then commands an agent that runs programs.
    #[serde(default, skip_serializing_if = "TelegramAccess::is_pairing")]
    pub telegram_access: TelegramAccess,
    /// The OpenClaw version; the platform's when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026.9.6")]
    pub version: Option<String>,
    /// Its limits; the platform's when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<WantedLimits>,
}

impl Provision {
    /// A request for `name` with the platform's defaults.
    pub const fn of(name: Name) -> Self {
        Self {
            name,
            owner: None,
            provider: None,
            api_key: None,
            telegram_bot_token: None,
            telegram_access: TelegramAccess::Pairing,
            version: None,
            limits: None,
        }
    }

    /// The engine's request, with `owner` and default limits filled in.
    pub(crate) fn into_request(self, owner: Owner, limits: Limits) -> ProvisionRequest {
        ProvisionRequest {
            name: self.name,
            owner,
            account: None,
            provider: self.provider,
            api_key: self.api_key.map(|s| s.0),
            telegram_bot_token: self.telegram_bot_token.map(|s| s.0),
            telegram_access: self.telegram_access,
            version: self.version,
            limits: self.limits.map(|wanted| wanted.over(limits)),
        }
    }
}

/// Limits of one instance. A field that is left out has the platform's limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedLimits {
    /// Memory protected under memory pressure, in MiB (a soft limit).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 512, minimum = 64, maximum = 1048576)]
    pub memory_soft_mib: Option<u64>,
    /// Hard memory limit, in MiB; the kernel kills it above. At least 768.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 2048, minimum = 768, maximum = 1048576)]
    pub memory_hard_mib: Option<u64>,
    /// CPU limit once it has booted; 0.5 is half of one core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 0.5, minimum = 0.05, maximum = 256)]
    pub cpus: Option<f64>,
    /// Maximum number of processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 512, minimum = 64, maximum = 32768)]
    pub pids: Option<u32>,
}

impl WantedLimits {
    /// Whether no limit is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These limits, with `base` for those left out.
    fn over(self, base: Limits) -> Limits {
        Limits {
            memory_soft_mib: self.memory_soft_mib.unwrap_or(base.memory_soft_mib),
            memory_hard_mib: self.memory_hard_mib.unwrap_or(base.memory_hard_mib),
            cpus: self.cpus.unwrap_or(base.cpus),
            pids: self.pids.unwrap_or(base.pids),
        }
    }
}

/// Selects the instance of a verb.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NameBody {
    /// The instance.
    pub name: Name,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_left_out_are_the_platforms() {
        let wanted = WantedLimits { cpus: Some(2.0), ..Default::default() };
        let platform = Limits { memory_hard_mib: 4096, ..Limits::default() };
        assert_eq!(wanted.over(platform), Limits { cpus: 2.0, ..platform });
    }
}
