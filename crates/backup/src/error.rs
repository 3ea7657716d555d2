//! Errors of backups.

use rustic_core::{ErrorKind, RusticError};
use serde::{Deserialize, Serialize};

use crate::{objects::ObjectError, text};

/// Kind of error, which decides what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackupErrorKind {
    /// The storage is unavailable or full: a retry may work.
    Unavailable,
    /// The storage answers, and refuses to delete.
    Refused,
    /// The repository is damaged.
    Damaged,
    /// The key does not open the repository.
    Key,
    /// A file of the volume cannot be read.
    Unreadable,
    /// The destination is not the one that holds the backups.
    Foreign,
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

/// The longest message, in characters.
const LONGEST: usize = 600;

impl BackupError {
    pub(crate) fn new(kind: BackupErrorKind, message: impl AsRef<str>) -> Self {
        Self { kind, message: text::bounded(message.as_ref(), LONGEST) }
    }

    /// Whether it is that a disk is full: less data may be the remedy.
    pub fn is_disk_full(&self) -> bool {
        text::is_disk_full(&self.message)
    }

    /// An error of rustic while doing `what`.
    pub(crate) fn of(what: &str, e: &RusticError) -> Self {
        let (kind, text) = unmarked(&text::plain(&e.display_log()));
        Self::new(kind, format!("cannot {what}: {text}"))
    }

    /// An error of rustic while it opens a repository. What cannot be decrypted then means that the
    /// key is another.
    pub(crate) fn of_open(what: &str, e: &RusticError) -> Self {
        let error = Self::of(what, e);
        let lower = error.message.to_lowercase();
        let mut words = lower.split(|c: char| !c.is_ascii_alphanumeric());
        let undecipherable = words.any(|word| word == "mac" || word.starts_with("decrypt"));
        let is_key =
            e.is_incorrect_password() || (error.kind == BackupErrorKind::Damaged && undecipherable);
        if !is_key {
            return error;
        }
        let advice = "the key does not fit this repository, or its file `config` was changed";
        Self::new(BackupErrorKind::Key, format!("{}; {advice}", error.message))
    }
}

/// The mark of errors of the storage, which distinguishes them from a damaged repository. A message
/// may name paths and addresses, so it must be unlikely in those.
const STORAGE: &str = " (storage)";
/// The mark of refused deletions.
const REFUSED: &str = " (storage refuses)";

/// The kind of an error that passed through rustic, by its mark, and its text without the mark.
pub(crate) fn unmarked(text: &str) -> (BackupErrorKind, String) {
    let kind = if text.contains(REFUSED) {
        BackupErrorKind::Refused
    } else if text.contains(STORAGE) {
        BackupErrorKind::Unavailable
    } else {
        BackupErrorKind::Damaged
    };
    (kind, text.replace(STORAGE, "").replace(REFUSED, ""))
}

/// An error of the storage, for rustic. Missing objects are damage of the repository.
pub(crate) fn storage_error(what: &str, path: &str, e: &ObjectError) -> Box<RusticError> {
    let mark = match e {
        ObjectError::Missing(_) => "",
        ObjectError::Failed(_) => STORAGE,
        ObjectError::Refused(_) => REFUSED,
    };
    let text = format!("cannot {what} {path}: {e}{mark}");
    // rustic would take braces for placeholders.
    RusticError::new(ErrorKind::Backend, text.replace(['{', '}'], "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(e: &ObjectError) -> BackupError {
        let path = "/mnt/machine/decrypted/config";
        BackupError::of_open("open", &storage_error("read", path, e))
    }

    #[test]
    fn a_path_does_not_decide_the_kind_of_an_error() {
        let failed = of(&ObjectError::Failed("timed out".into()));
        assert_eq!(failed.kind, BackupErrorKind::Unavailable);
        assert_eq!(
            failed.message,
            "cannot open: cannot read /mnt/machine/decrypted/config: timed out"
        );
    }

    #[test]
    fn what_cannot_be_decrypted_is_a_wrong_key_at_the_opening_and_damage_later() {
        let e =
            RusticError::new(ErrorKind::Cryptography, "Data decryption failed, MAC check failed.");
        assert_eq!(BackupError::of_open("open", &e).kind, BackupErrorKind::Key);
        let later = BackupError::of("read a snapshot", &e);
        assert_eq!(later.kind, BackupErrorKind::Damaged);
        assert!(!later.message.contains("key"), "{later}");
    }

    #[test]
    fn a_refused_deletion_is_no_outage() {
        let refused = ObjectError::Refused("403".into());
        let error = BackupError::of("free space", &storage_error("remove", "/b/data/5e", &refused));
        assert_eq!(error.kind, BackupErrorKind::Refused);
        assert_eq!(error.message, "cannot free space: cannot remove /b/data/5e: 403");
        assert_eq!(refused.stop("erase", "/b").kind, BackupErrorKind::Refused);
    }

    #[test]
    fn a_missing_object_is_damage() {
        let path = "/b/data/5e";
        let missing = ObjectError::Missing("it is missing".into());
        let error = BackupError::of("restore", &storage_error("read", path, &missing));
        assert_eq!(error.kind, BackupErrorKind::Damaged);
        assert_eq!(error.message, "cannot restore: cannot read /b/data/5e: it is missing");
    }
}
