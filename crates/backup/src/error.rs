//! What can go wrong with a backup.

use rustic_core::{ErrorKind, RusticError};
use serde::{Deserialize, Serialize};

/// Kind of error, and so what can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackupErrorKind {
    /// The storage is away or full: the same may work later.
    Unavailable,
    /// The repository is not what it was.
    Damaged,
    /// The key does not open the repository.
    Key,
    /// A file of the volume cannot be read.
    Unreadable,
    /// Somebody else writes to the repository.
    Busy,
    /// There is no such snapshot.
    NoSnapshot,
    /// What is to be restored would write outside the volume.
    Hostile,
    /// The worker made no progress and was ended.
    Stalled,
    /// The worker ended without a word.
    Died,
    /// The worker met its memory limit.
    Memory,
}

/// A job that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct BackupError {
    /// Kind of error.
    pub kind: BackupErrorKind,
    /// What failed, on what, and what to do. Holds no secret.
    pub message: String,
}

impl BackupError {
    pub(crate) fn new(kind: BackupErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A failure of rustic while `what` was done.
    pub(crate) fn of(what: &str, e: &RusticError) -> Self {
        let text = plain(&e.display_log());
        let lower = text.to_lowercase();
        let kind =
            if e.is_incorrect_password() || lower.contains("decrypt") || lower.contains("mac") {
                BackupErrorKind::Key
            } else if lower.contains("(storage)") {
                BackupErrorKind::Unavailable
            } else {
                BackupErrorKind::Damaged
            };
        let advice = match kind {
            BackupErrorKind::Key => {
                "; the key does not fit this repository, or its first file was changed"
            }
            _ => "",
        };
        Self::new(kind, format!("cannot {what}: {text}{advice}"))
    }
}

/// What rustic says, on one line.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A failure of the storage, as rustic takes it. The mark tells it from a damaged repository.
pub(crate) fn storage_error(what: &str, path: &str, e: impl std::fmt::Display) -> Box<RusticError> {
    let text = format!("cannot {what} {path}: {e} (storage)");
    // Braces would be taken for places to fill in.
    RusticError::new(ErrorKind::Backend, text.replace(['{', '}'], "'"))
}
