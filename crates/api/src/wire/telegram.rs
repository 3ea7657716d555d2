//! The Telegram bot of an instance: connection, access and requests.

use serde::{Deserialize, Serialize};
use startclaw_engine::{TelegramConnection as Found, TelegramStatus, TelegramUser};
use startclaw_model::Name;
use utoipa::ToSchema;

/// The connection of a bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TelegramConnection {
    /// No token is stored.
    None,
    /// A token is stored, and the instance has not verified it yet.
    Unverified,
    /// Telegram accepted the token.
    Connected,
    /// Telegram rejected the token.
    Refused,
    /// The instance cannot reach Telegram.
    Unreachable,
}

/// The state of an instance's Telegram bot, as reported by the instance.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Telegram {
    /// The connection.
    pub connection: TelegramConnection,
    /// The connection in words.
    pub detail: String,
    /// The bot's user name at Telegram, without `@`.
    #[schema(example = "alice_claw_bot")]
    pub bot: Option<String>,
    /// Whether every Telegram user can command the agent; null if the instance does not report it.
    pub open: Option<bool>,
    /// The ids of the approved users that the configuration lists.
    #[schema(value_type = Vec<i64>)]
    pub allowed: Vec<TelegramUser>,
    /// Access requests, newest first.
    pub requests: Vec<PairingRequest>,
}

/// A Telegram user who wrote to the bot and waits for approval.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PairingRequest {
    /// The user's id.
    #[schema(value_type = i64, example = 4242)]
    pub user: TelegramUser,
    /// The user name, without `@`.
    pub username: Option<String>,
    /// The name that the user chose; anyone can choose any.
    pub name: String,
    /// When, as RFC 3339.
    pub at: String,
}

/// Approves a Telegram user.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveTelegram {
    /// The instance.
    pub name: Name,
    /// The user's id, as in the bot's reply to a user without access.
    #[schema(value_type = i64, minimum = 1, example = 4242)]
    pub user: TelegramUser,
}

impl From<TelegramStatus> for Telegram {
    fn from(status: TelegramStatus) -> Self {
        let detail = status.connection.text();
        let (connection, bot) = match status.connection {
            Found::None => (TelegramConnection::None, None),
            Found::Unverified => (TelegramConnection::Unverified, None),
            Found::Connected(bot) => {
                (TelegramConnection::Connected, Some(bot).filter(|bot| !bot.is_empty()))
            }
            Found::Refused => (TelegramConnection::Refused, None),
            Found::Unreachable => (TelegramConnection::Unreachable, None),
        };
        let requests = status.requests.into_iter().map(|request| PairingRequest {
            user: request.user,
            username: request.username,
            name: request.name,
            at: request.at,
        });
        Self {
            connection,
            detail,
            bot,
            open: status.open,
            allowed: status.allowed,
            requests: requests.collect(),
        }
    }
}
