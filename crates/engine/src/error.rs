//! What a caller of the engine can get wrong or meet.

use startclaw_model::{Name, OperationId, Timestamp};
use startclaw_store::StoreError;

/// A request that was not carried out. The texts are for the caller; what lies inside
/// ([`EngineError::Inside`]) goes to the log only.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A field of the request is wrong.
    #[error("{message}")]
    Invalid {
        /// The field, dotted where it is nested: `provider.base_url`.
        field: String,
        /// What to do about it.
        message: String,
    },
    /// There is no instance of this name, or the caller may not see it.
    #[error("instance {0} not found")]
    NoInstance(Name),
    /// There is no such operation, or the caller may not see it.
    #[error("operation {0} not found")]
    NoOperation(OperationId),
    /// There is no such token.
    #[error("token {0} not found")]
    NoToken(String),
    /// There is no such secret.
    #[error("{0} has no secret of this name")]
    NoSecret(Name),
    /// The name belongs to another instance.
    #[error("instance {0} already exists; choose another name or deprovision it first")]
    NameTaken(Name),
    /// The instance is being removed.
    #[error("{0} is being removed; wait until it is gone")]
    Removing(Name),
    /// It is gone, or access to it was lost, while the request was on its way.
    #[error("this does not exist any more, or access to it was withdrawn")]
    NoAccess,
    /// One caller has many streams open.
    #[error("too many streams are open for one caller; close one first")]
    TooManyStreams,
    /// It was asked too often.
    #[error("{message}; next at {at}")]
    TooSoon {
        /// What was counted.
        message: String,
        /// When it can be asked again.
        at: Timestamp,
    },
    /// It does not go together with what is in progress.
    #[error("{0}")]
    Conflict(String),
    /// It would be more than the account may have.
    #[error("{0}")]
    Quota(String),
    /// The host has no slot left.
    #[error("the host is at capacity; deprovision an instance or add a host")]
    Full,
    /// The settings leave an instance without a port or network.
    #[error(
        "the address pool or port range in the settings has no place for {0} any more; make it as large as it was"
    )]
    NoPlace(Name),
    /// An idempotency key with another request.
    #[error("this Idempotency-Key was used before with a different request; use a new key")]
    KeyReused,
    /// The host cannot do it just now.
    #[error("the host is temporarily unavailable; try again")]
    HostUnavailable(#[source] startclaw_host::HostError),
    /// Something of ours failed; the cause is in the daemon's log.
    #[error("internal error; see the daemon's log")]
    Inside(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl EngineError {
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into() }
    }

    pub(crate) fn inside(e: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Inside(Box::new(e))
    }

    /// What a failed change of the instance `name` means for the caller.
    pub(crate) fn of(name: &Name, e: StoreError) -> Self {
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
