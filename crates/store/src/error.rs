//! What can go wrong with the database.

use std::path::PathBuf;

/// A failed look or change.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The name belongs to another instance.
    #[error("an instance with this name already exists")]
    NameTaken,
    /// The address belongs to another account.
    #[error("an account with this address already exists")]
    EmailTaken,
    /// The link was used before, or is too old.
    #[error("the link has expired or was already used")]
    DeadLink,
    /// There would be no admin any more.
    #[error("this is the last admin")]
    LastAdmin,
    /// It would be more than the account may have.
    #[error("{0}")]
    Quota(String),
    /// Too many new names in too short a time.
    #[error("{message}")]
    TooSoon {
        /// What was counted.
        message: String,
        /// When it can be asked again.
        at: startclaw_model::Timestamp,
    },
    /// No such instance.
    #[error("instance not found")]
    NoInstance,
    /// The instance is being removed: nothing else can be asked of it.
    #[error("the instance is being removed")]
    Removing,
    /// It does not go together with what is in progress.
    #[error("{0}")]
    Conflict(&'static str),
    /// Every slot of the host is taken.
    #[error("the host is at capacity")]
    Full,
    /// The key was used before, for a different request.
    #[error("this Idempotency-Key was used before with a different request")]
    KeyReused,
    /// The database file cannot be made or opened.
    #[error("cannot open the database {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The schema cannot be brought up to date.
    #[error("cannot bring the database up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// What is stored makes no sense to this version.
    #[error("the database holds a value this version does not understand: {0}")]
    Value(String),
    /// SQLite says no.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

impl From<serde_json::Error> for StoreError {
    fn from(e: serde_json::Error) -> Self {
        Self::Value(e.to_string())
    }
}
