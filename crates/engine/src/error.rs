//! What a caller of the engine can get wrong or meet.

use startclaw_model::{Name, OperationId, Timestamp};
use startclaw_store::StoreError;

/// A request that was not carried out. The texts are for whoever asked; what lies inside
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
    #[error("there is no instance named {0}")]
    NoInstance(Name),
    /// There is no such operation, or the caller may not see it.
    #[error("there is no operation {0}")]
    NoOperation(OperationId),
    /// There is no such token.
    #[error("there is no token {0}")]
    NoToken(String),
    /// There is no such secret.
    #[error("{0} has no secret of this name")]
    NoSecret(Name),
    /// The name belongs to another instance.
    #[error("an instance named {0} exists already; choose another name or deprovision it first")]
    NameTaken(Name),
    /// The instance is being removed.
    #[error("{0} is being removed; wait until that is done")]
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
    /// It does not go together with what is under way.
    #[error("{0}")]
    Conflict(String),
    /// It would be more than the account may have.
    #[error("{0}")]
    Quota(String),
    /// The machine has no slot left.
    #[error("the machine is full; deprovision an instance or add a machine")]
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
    #[error("the host does not answer just now; try again")]
    HostUnavailable(#[source] startclaw_host::HostError),
    /// Something of ours failed; the cause is in the daemon's log.
    #[error("something failed inside StartClaw; the daemon's log says what")]
    Inside(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl EngineError {
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into() }
    }

    pub(crate) fn inside(e: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Inside(Box::new(e))
    }

    /// What a failed change of the instance `name` means for whoever asked.
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
