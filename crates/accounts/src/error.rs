//! What can be wrong with what people ask of their accounts.

use std::time::Duration;

use startclaw_engine::EngineError;
use startclaw_store::StoreError;

/// A request that was not carried out. The texts are for whoever asked.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// A field is wrong.
    #[error("{message}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What to do about it.
        message: String,
    },
    /// Address and password do not belong together; which of them is wrong is not said.
    #[error("this address and this password do not belong together")]
    Refused,
    /// A passkey that does not open anything here.
    #[error("this passkey is not known here; sign in with your password")]
    UnknownPasskey,
    /// An admin keeps the account out.
    #[error("this account is suspended; ask whoever runs this platform")]
    Suspended,
    /// Too often.
    #[error("that was tried too often; try again in {seconds} seconds")]
    Slow {
        /// How long to wait.
        seconds: u64,
    },
    /// Nobody can sign up, or not without an invitation.
    #[error("an account can be made by invitation only; ask whoever runs this platform for one")]
    Closed,
    /// The link was used, is too old, or was never one.
    #[error("this link does not work any more; ask for a new one")]
    DeadLink,
    /// There is no such account, session, passkey or invitation.
    #[error("there is no such {0}")]
    Missing(&'static str),
    /// What the engine says of an instance.
    #[error("{0}")]
    Instance(#[source] EngineError),
    /// The last admin cannot be taken away.
    #[error(
        "this is the last admin; make another one first, or do it as the operator (startclaw accounts …)"
    )]
    LastAdmin,
    /// Too many people at this moment.
    #[error("too many people sign in at this moment; try again in a few seconds")]
    Busy,
    /// Something of ours failed; the cause is in the daemon's log.
    #[error("something of ours failed; try again in a moment")]
    Inside(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl AccountError {
    pub(crate) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid { field, message: message.into() }
    }

    pub(crate) fn slow(wait: Duration) -> Self {
        Self::Slow { seconds: wait.as_secs().max(1) }
    }

    pub(crate) fn inside(e: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Inside(Box::new(e))
    }
}

impl From<StoreError> for AccountError {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::EmailTaken => Self::invalid(
                "email",
                "there is an account with this address already; sign in, or set a new password",
            ),
            StoreError::DeadLink => Self::DeadLink,
            StoreError::LastAdmin => Self::LastAdmin,
            other => Self::inside(other),
        }
    }
}

impl From<EngineError> for AccountError {
    fn from(e: EngineError) -> Self {
        match e {
            EngineError::Inside(cause) => Self::Inside(cause),
            other => Self::Instance(other),
        }
    }
}
