//! Errors for callers of the engine.

use startclaw_model::{Name, OperationId, Timestamp};
use startclaw_store::StoreError;

/// A rejected or failed request. The texts are for the caller; internal causes
/// ([`EngineError::Inside`]) are only logged.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A field of the request is invalid.
    #[error("{message}")]
    Invalid {
        /// The field, dotted where it is nested: `provider.base_url`.
        field: String,
        /// What to do about it.
        message: String,
    },
    /// The instance does not exist, or the caller may not see it.
    #[error("instance {0} not found")]
    NoInstance(Name),
    /// The operation does not exist, or the caller may not see it.
    #[error("operation {0} not found")]
    NoOperation(OperationId),
    /// The token does not exist.
    #[error("token {0} not found")]
    NoToken(String),
    /// The secret does not exist.
    #[error("{0} has no secret of this name")]
    NoSecret(Name),
    /// The name belongs to another instance.
    #[error("instance {0} already exists; choose another name or deprovision it first")]
    NameTaken(Name),
    /// The instance is being removed.
    #[error("{0} is being removed; wait until it is gone")]
    Removing(Name),
    /// It was removed, or access to it was revoked, during the request.
    #[error("this does not exist any more, or access to it was withdrawn")]
    NoAccess,
    /// The caller has too many open streams.
    #[error("too many streams are open for one caller; close one first")]
    TooManyStreams,
    /// Too many requests.
    #[error("{message}; next at {at}")]
    TooSoon {
        /// What was counted.
        message: String,
        /// When to try again.
        at: Timestamp,
    },
    /// It conflicts with an operation in progress.
    #[error("{0}")]
    Conflict(String),
    /// It would exceed the account's quota.
    #[error("{0}")]
    Quota(String),
    /// The host has no slot left.
    #[error("the host is at capacity; deprovision an instance or add a host")]
    Full,
    /// The disk of the instances has no room for it.
    #[error("{0}")]
    DiskFull(String),
    /// The settings leave an instance without a port or network.
    #[error(
        "the address pool or port range in the settings has no place for {0} any more; make it as large as it was"
    )]
    NoPlace(Name),
    /// The idempotency key was used with another request.
    #[error("this Idempotency-Key was used before with a different request; use a new key")]
    KeyReused,
    /// The host is temporarily unavailable.
    #[error("the host is temporarily unavailable; try again")]
    HostUnavailable(#[source] startclaw_host::HostError),
    /// An internal error; the cause is in the daemon's log.
    #[error("internal error; see the daemon's log")]
    Inside(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl EngineError {
    /// A field of a request is invalid.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into() }
    }

    /// Wraps an internal error.
    pub fn inside(e: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Inside(Box::new(e))
    }

    /// Converts an error of a change of the instance `name`.
    pub fn of(name: &Name, e: StoreError) -> Self {
        match e {
            StoreError::NameTaken => Self::NameTaken(name.clone()),
            StoreError::NoInstance => Self::NoInstance(name.clone()),
            StoreError::Removing => Self::Removing(name.clone()),
            StoreError::Conflict(why) => Self::Conflict(why.to_owned()),
            StoreError::Quota(why) => Self::Quota(why),
            StoreError::TooSoon { message, at } => Self::TooSoon { message, at },
            StoreError::Full => Self::Full,
            StoreError::KeyReused => Self::KeyReused,
            other => Self::inside(other),
        }
    }
}

impl From<StoreError> for EngineError {
    fn from(e: StoreError) -> Self {
        Self::inside(e)
    }
}

impl From<startclaw_vault::VaultError> for EngineError {
    fn from(e: startclaw_vault::VaultError) -> Self {
        Self::inside(e)
    }
}
