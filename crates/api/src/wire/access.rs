//! API tokens and sign-in links.

use serde::{Deserialize, Serialize};
use startclaw_engine::StoredToken;
use startclaw_model::{Name, Scope, Timestamp};
use utoipa::{IntoParams, ToSchema};

use super::SentSecret;

/// A token to create.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// The purpose, 1 to 100 characters.
    #[schema(example = "sign-up site", min_length = 1, max_length = 100)]
    pub label: String,
    /// Its scopes.
    #[schema(min_items = 1)]
    pub scopes: Vec<Scope>,
    /// Restricts the token to one instance; all when left out. A restricted token cannot have the
    /// scope `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Name>,
    /// Days until it expires, 1 to 3650; does not expire when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 90, minimum = 1, maximum = 3650)]
    pub days: Option<u32>,
}

/// A token, without its secret part.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its id.
    pub id: String,
    /// The purpose.
    pub label: String,
    /// Its scopes.
    pub scopes: Vec<Scope>,
    /// The one instance it is for, if it is for one.
    pub instance: Option<Name>,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it expires; never when null.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

impl From<StoredToken> for Token {
    fn from(t: StoredToken) -> Self {
        Self {
            id: t.id,
            label: t.label,
            scopes: t.scopes.scopes,
            instance: t.scopes.instance,
            created_at: t.created_at,
            expires_at: t.expires_at,
            last_used_at: t.last_used_at,
        }
    }
}

/// Tokens, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Tokens {
    /// Without their secret parts.
    pub tokens: Vec<Token>,
}

/// A new token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FreshToken {
    /// The value for `Authorization: Bearer …`. Shown once.
    #[schema(read_only, example = "sclaw_…")]
    pub value: SentSecret,
    /// The stored token.
    pub token: Token,
}

/// Selects a token.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TokenQuery {
    /// Its id, not its secret part.
    pub id: String,
}

/// A one-time sign-in link of an instance.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SignInLink {
    /// The first to open it is signed in as the instance's owner. Shown once.
    #[schema(read_only, example = "https://alice.example.com/.startclaw/enter?ticket=…")]
    pub url: SentSecret,
    /// When it expires.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}
