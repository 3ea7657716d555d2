//! Errors of backups.

use rustic_core::{ErrorKind, RusticError};
use serde::{Deserialize, Serialize};

/// Kind of error, which decides what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackupErrorKind {
    /// The storage is unavailable or full: a retry may work.
    Unavailable,
    /// The repository is damaged.
    Damaged,
    /// The key does not open the repository.
    Key,
    /// A file of the volume cannot be read.
    Unreadable,
    /// Another process writes to the repository.
    Busy,
    /// Snapshot not found.
    NoSnapshot,
    /// The snapshot would write outside the volume.
    Hostile,
    /// The worker made no progress and was killed.
    Stalled,
    /// The worker ended without a result.
    Died,
    /// The worker exceeded its memory limit.
    Memory,
}

/// A failed job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct BackupError {
    /// Kind of error.
    pub kind: BackupErrorKind,
    /// What failed, on what, and what to do. Contains no secret.
    pub message: String,
}

impl BackupError {
    pub(crate) fn new(kind: BackupErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// An error of rustic while doing `what`.
    pub(crate) fn of(what: &str, e: &RusticError) -> Self {
        let text = plain(&e.display_log());
        let kind = if e.is_incorrect_password() { BackupErrorKind::Key } else { kind_of(&text) };
        let advice = match kind {
            BackupErrorKind::Key => {
                "; the key does not fit this repository, or its first file was changed"
            }
            _ => "",
        };
        Self::new(kind, format!("cannot {what}: {text}{advice}"))
    }
}

/// What a message of rustic is about. It may name paths and addresses, so the mark of the storage
/// comes first, and words are whole ones.
fn kind_of(text: &str) -> BackupErrorKind {
    let lower = text.to_lowercase();
    let mut words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    if lower.contains("(storage)") {
        BackupErrorKind::Unavailable
    } else if words.any(|word| word == "mac" || word.starts_with("decrypt")) {
        BackupErrorKind::Key
    } else {
        BackupErrorKind::Damaged
    }
}

/// The message of rustic, on one line.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An error of the storage, for rustic. The mark `(storage)` distinguishes it from a damaged
/// repository.
pub(crate) fn storage_error(what: &str, path: &str, e: impl std::fmt::Display) -> Box<RusticError> {
    let text = format!("cannot {what} {path}: {e} (storage)");
    // rustic would take braces for placeholders.
    RusticError::new(ErrorKind::Backend, text.replace(['{', '}'], "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_does_not_decide_the_kind_of_an_error() {
        let kind = |text| kind_of(text);
        let storage = "cannot read /mnt/machine/decrypted/config: timed out (storage)";
        assert_eq!(kind(storage), BackupErrorKind::Unavailable);
        assert_eq!(kind("MAC mismatch"), BackupErrorKind::Key);
        assert_eq!(kind("decryption failed"), BackupErrorKind::Key);
        assert_eq!(kind("pack of /mnt/machine is truncated"), BackupErrorKind::Damaged);
    }
}
