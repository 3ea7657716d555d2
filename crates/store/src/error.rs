//! Errors of the database.

use std::path::PathBuf;

/// A failed query or change.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The name belongs to another instance.
    #[error("an instance with this name already exists")]
    NameTaken,
    /// The address belongs to another account.
    #[error("an account with this address already exists")]
    EmailTaken,
    /// The link was used before, or has expired.
    #[error("the link has expired or was already used")]
    DeadLink,
    /// There would be no admin left.
    #[error("this is the last admin")]
    LastAdmin,
    /// It would exceed the account's quota.
    #[error("{0}")]
    Quota(String),
    /// Too many new names in too short a time.
    #[error("{message}")]
    TooSoon {
        /// What was counted.
        message: String,
        /// When to try again.
        at: startclaw_model::Timestamp,
    },
    /// Instance not found.
    #[error("instance not found")]
    NoInstance,
    /// The instance is being removed: other requests are rejected.
    #[error("the instance is being removed")]
    Removing,
    /// It conflicts with an operation in progress.
    #[error("{0}")]
    Conflict(&'static str),
    /// Every slot of the host is taken.
    #[error("the host is at capacity")]
    Full,
    /// The idempotency key was used before, for a different request.
    #[error("this Idempotency-Key was used before with a different request")]
    KeyReused,
    /// The database file cannot be created or opened.
    #[error("cannot open the database {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// A migration failed.
    #[error("cannot bring the database up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A stored value is not valid in this version.
    #[error("the database holds a value this version does not understand: {0}")]
    Value(String),
    /// An error of SQLite.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

impl From<serde_json::Error> for StoreError {
    fn from(e: serde_json::Error) -> Self {
        Self::Value(e.to_string())
    }
}
