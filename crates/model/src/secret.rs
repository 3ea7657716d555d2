//! Secrets: values that cannot be printed by accident, and their names.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};

use crate::schema::describe_text;

/// An API key, bot token or password. `Debug` shows dots, it has no `Display` and no
/// `Serialize`, and its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// The longest secret, in bytes.
    pub const MAX_LEN: usize = 16 * 1024;

    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(SecretString::from(value.into()))
    }

    /// The value itself. Every call is a place to look at in a review.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self::new(String::deserialize(d)?))
    }
}

/// What a secret is called: `A-Z`, `0-9` and `_`, starting with a letter, at most 64
/// characters; the grammar of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

describe_text!(
    SecretName,
    "^[A-Z][A-Z0-9_]{0,63}$",
    64,
    "MODEL_API_KEY",
    "The name of a secret: 1 to 64 characters `A-Z`, `0-9` and `_`, starting with a letter. The \
     platform itself knows `MODEL_API_KEY` and `TELEGRAM_BOT_TOKEN`."
);

/// A text that is no secret name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a secret's name has 1 to 64 characters A-Z, 0-9 and _, and starts with a letter")]
pub struct SecretNameError;

impl SecretName {
    /// Checks `text` against the grammar.
    pub fn parse(text: &str) -> Result<Self, SecretNameError> {
        let good = text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'0'..=b'9' | b'_'));
        if good { Ok(Self(text.to_owned())) } else { Err(SecretNameError) }
    }

    /// The model provider's API key.
    pub fn model_api_key() -> Self {
        Self("MODEL_API_KEY".to_owned())
    }

    /// The Telegram bot's token, as BotFather gave it.
    pub fn telegram_bot_token() -> Self {
        Self("TELEGRAM_BOT_TOKEN".to_owned())
    }

    /// What Telegram proves itself with at our webhook; made by us.
    pub fn telegram_webhook_secret() -> Self {
        Self("TELEGRAM_WEBHOOK_SECRET".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SecretName {
    type Error = SecretNameError;
    fn try_from(text: String) -> Result<Self, SecretNameError> {
        Self::parse(&text)
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_itself() {
        assert_eq!(format!("{:?}", Secret::new("sk-123")), "Secret(…)");
    }

    #[test]
    fn names_follow_the_environment_grammar() {
        assert!(SecretName::parse("OPENAI_API_KEY").is_ok());
        for bad in ["", "a", "1A", "A-B", "A/B", "../A", &"A".repeat(65)] {
            assert!(SecretName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
