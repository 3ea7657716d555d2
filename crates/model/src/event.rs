//! Events: the audit log.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{AccountId, Name, Timestamp};

/// The author of a change: `socket:uid=0`, `token:<id>`, `account:<id>`, or `startclaw` itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Actor(String);

impl Actor {
    /// The platform itself: healing, or resuming an operation.
    pub fn system() -> Self {
        Self("startclaw".to_owned())
    }

    /// A client at the Unix socket.
    pub fn socket(uid: u32) -> Self {
        Self(format!("socket:uid={uid}"))
    }

    /// A program with a bearer token.
    pub fn token(id: &str) -> Self {
        Self(format!("token:{id}"))
    }

    /// A signed-in user.
    pub fn account(id: &AccountId) -> Self {
        Self(format!("account:{id}"))
    }

    /// Whether it is a signed-in user, who has a quota.
    pub fn is_account(&self) -> bool {
        self.0.starts_with("account:")
    }

    /// Whether it is an operator at the Unix socket.
    pub fn is_operator(&self) -> bool {
        self.0.starts_with("socket:")
    }

    /// The id of the token, if it is a program with one.
    pub fn token_id(&self) -> Option<&str> {
        self.0.strip_prefix("token:")
    }

    /// From the database.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// The actor as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// An operation was requested.
    #[serde(alias = "asked")]
    Requested,
    /// An operation is over.
    Finished,
    /// An instance failed.
    #[serde(alias = "broke")]
    Failed,
    /// An instance recovered automatically.
    #[serde(alias = "healed")]
    Recovered,
    /// A user signed in to an instance with a sign-in link.
    #[serde(alias = "entered")]
    SignedIn,
    /// Tokens, secrets or accounts were changed.
    Changed,
}

impl EventKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Recovered => "recovered",
            Self::SignedIn => "signed-in",
            Self::Changed => "changed",
        }
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What kind.
    pub kind: EventKind,
    /// Of which instance, if of one.
    pub name: Option<Name>,
    /// Who did it.
    #[schema(value_type = String)]
    pub actor: Actor,
    /// In words.
    pub detail: String,
}
