//! Tokens of programs and sign-in links of people.

use serde::{Deserialize, Serialize};
use startclaw_engine::StoredToken;
use startclaw_model::{Name, Scope, Timestamp};
use utoipa::{IntoParams, ToSchema};

use super::SentSecret;

/// A token that is to be made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What it is for, 1 to 100 characters.
    #[schema(example = "sign-up site", min_length = 1, max_length = 100)]
    pub label: String,
    /// What it may do.
    #[schema(min_items = 1)]
    pub scopes: Vec<Scope>,
    /// The one instance it is for; all when left out. Such a token sees nothing else, and
    /// cannot have the scope `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Name>,
    /// How many days it is good for, 1 to 3650; until it is revoked when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 90, minimum = 1, maximum = 3650)]
    pub days: Option<u32>,
}

/// A token, without its secret part.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub label: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The one instance it is for, if it is for one.
    pub instance: Option<Name>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it ends; never when none.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was used last, to the minute.
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

/// A token that was just made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FreshToken {
    /// What the program sends as `Authorization: Bearer …`. Shown this once.
    #[schema(read_only, example = "sclaw_…")]
    pub value: SentSecret,
    /// What is kept of it.
    pub token: Token,
}

/// Which token.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TokenQuery {
    /// Its id, not its secret part.
    pub id: String,
}

/// A link that opens an instance once.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SignInLink {
    /// Whoever opens it first is signed in as the instance's owner. Shown this once.
    #[schema(read_only, example = "https://alice.example.com/.startclaw/enter?ticket=…")]
    pub url: SentSecret,
    /// Until when it can be used.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}
