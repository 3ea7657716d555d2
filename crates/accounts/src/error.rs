//! Errors of account requests.

use std::time::Duration;

use startclaw_engine::EngineError;
use startclaw_store::StoreError;

/// A request that was not carried out. The texts are for the caller.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Invalid field.
    #[error("{message}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What to do about it.
        message: String,
    },
    /// Wrong address or password; which one is not revealed.
    #[error("wrong e-mail address or password")]
    Refused,
    /// No account has this passkey.
    #[error("unknown passkey; sign in with your password")]
    UnknownPasskey,
    /// An admin suspended the account.
    #[error("this account is suspended; contact your administrator")]
    Suspended,
    /// Too many attempts.
    #[error("too many attempts; try again in {seconds} seconds")]
    Slow {
        /// How long to wait.
        seconds: u64,
    },
    /// Sign-up is closed, or requires an invitation.
    #[error("sign-up is by invitation only; ask your administrator for an invitation")]
    Closed,
    /// Sign-up begins with a mail.
    #[error("sign-up begins with a link that is sent to your address; request one")]
    ByMail,
    /// The link was used, has expired, or never existed.
    #[error("this link has expired or was already used; request a new one")]
    DeadLink,
    /// No such account, session, passkey or invitation.
    #[error("{0} not found")]
    Missing(&'static str),
    /// An error of the engine about an instance.
    #[error("{0}")]
    Instance(#[source] EngineError),
    /// The last admin cannot be removed.
    #[error(
        "this is the last admin; grant admin rights to another account first, or do it as the operator (startclaw accounts …)"
    )]
    LastAdmin,
    /// Too many concurrent sign-ins.
    #[error("too many sign-ins in progress; try again in a few seconds")]
    Busy,
    /// Internal error; the cause is in the daemon's log.
    #[error("internal error; try again in a moment")]
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
