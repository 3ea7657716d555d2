//! Provision requests.

use startclaw_model::{AccountId, Limits, ModelProvider, Name, Owner, Secret, TelegramAccess};

use crate::EngineError;

/// A request of a new instance. Single fields are validated by their types; the rest is checked by
/// [`ProvisionRequest::check`].
#[derive(Debug, Clone)]
pub struct ProvisionRequest {
    /// The name: the first label of its address.
    pub name: Name,
    /// The owner's identity in OpenClaw.
    pub owner: Owner,
    /// The owning account.
    pub account: Option<AccountId>,
    /// Where its model comes from; without one the owner sets it up in the Control UI.
    pub provider: Option<ModelProvider>,
    /// The provider's key.
    pub api_key: Option<Secret>,
    /// A Telegram bot's token, from BotFather.
    pub telegram_bot_token: Option<Secret>,
    /// Which Telegram users the bot accepts at first.
    pub telegram_access: TelegramAccess,
    /// The OpenClaw version; the platform's when none.
    pub version: Option<String>,
    /// Its limits; the platform's when none.
    pub limits: Option<Limits>,
}

impl ProvisionRequest {
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        if is_reserved(self.owner.as_str()) {
            return Err(EngineError::invalid("owner", "this owner is the platform itself"));
        }
        if let Some(provider) = &self.provider {
            provider
                .check()
                .map_err(|e| EngineError::invalid(format!("provider.{}", e.field), e.message))?;
        }
        if self.api_key.is_some() && self.provider.is_none() {
            return Err(EngineError::invalid("api_key", "an api_key needs its provider"));
        }
        if let Some(key) = &self.api_key {
            check_secret("api_key", key)?;
        }
        if let Some(token) = &self.telegram_bot_token {
            check_telegram_token("telegram_bot_token", token)?;
        }
        if self.telegram_bot_token.is_none() && !self.telegram_access.is_pairing() {
            return Err(EngineError::invalid(
                "telegram_access",
                "an open bot needs its telegram_bot_token",
            ));
        }
        if let Some(version) = &self.version {
            check_version(version)?;
        }
        if let Some(limits) = &self.limits {
            limits
                .check()
                .map_err(|e| EngineError::invalid(format!("limits.{}", e.field), e.message))?;
        }
        Ok(())
    }
}

/// Whether OpenClaw uses this identity for the platform itself.
pub fn is_reserved(owner: &str) -> bool {
    owner.eq_ignore_ascii_case(startclaw_openclaw::HOST_USER)
}

/// A secret is one line of printable characters: a line break in a key is a paste error.
pub(crate) fn check_secret(field: &str, secret: &Secret) -> Result<(), EngineError> {
    let text = secret.expose();
    if text.is_empty() || text.len() > Secret::MAX_LEN {
        return Err(EngineError::invalid(field, "a secret has 1 to 16384 bytes"));
    }
    if text.chars().any(char::is_control) || text.trim() != text {
        return Err(EngineError::invalid(field, "a secret is one line without spaces around it"));
    }
    Ok(())
}

/// BotFather's tokens are the bot's id, a colon and 30 or more characters; a shorter second part is
/// accepted for private Bot API servers.
pub(crate) fn check_telegram_token(field: &str, token: &Secret) -> Result<(), EngineError> {
    let good = token.expose().len() <= 256
        && token.expose().split_once(':').is_some_and(|(id, rest)| {
            !id.is_empty()
                && id.bytes().all(|b| b.is_ascii_digit())
                && !rest.is_empty()
                && rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        });
    if good {
        Ok(())
    } else {
        Err(EngineError::invalid(
            field,
            "this is no Telegram bot token; BotFather gives one like 123456789:AAE…",
        ))
    }
}

/// A version is used as an image tag, so it follows the grammar of tags.
fn check_version(version: &str) -> Result<(), EngineError> {
    let good = (1..=128).contains(&version.len())
        && version.starts_with(|c: char| c.is_ascii_alphanumeric())
        && version.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if good {
        Ok(())
    } else {
        Err(EngineError::invalid("version", "a version is an OpenClaw release such as 2026.9.6"))
    }
}
