//! The key of a repository.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rustic_core::{Credentials, repofile::MasterKey};
use serde::{Deserialize, Serialize};
use serde_json::json;
use startclaw_model::Secret;
use zeroize::Zeroizing;

use crate::{BackupError, BackupErrorKind};

/// The keys of a repository: the one that encrypts everything in it, and the password that encrypts
/// that key in the repository itself, for restic. It cannot be printed; it is serialized for the
/// worker's stdin only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryKey {
    password: Zeroizing<String>,
    master: Zeroizing<Vec<u8>>,
}

impl RepositoryKey {
    /// Takes a password and 64 bytes: 32 to encrypt, 16 and 16 to authenticate.
    pub fn new(password: Secret, master: [u8; 64]) -> Self {
        Self {
            password: Zeroizing::new(password.expose().to_owned()),
            master: Zeroizing::new(master.to_vec()),
        }
    }

    /// The password, for restic.
    pub fn password(&self) -> Secret {
        Secret::new(self.password.as_str())
    }

    /// Opening with the key itself saves the 128 MiB of memory that a password needs.
    pub(crate) fn credentials(&self) -> Result<Credentials, BackupError> {
        let part = |from: usize, to: usize| self.master.get(from..to).unwrap_or_default();
        let mut r = part(48, 64).to_vec();
        // Poly1305 requires these bits to be zero.
        for (index, mask) in [(3, 15), (7, 15), (11, 15), (15, 15), (4, 252), (8, 252), (12, 252)] {
            if let Some(byte) = r.get_mut(index) {
                *byte &= mask;
            }
        }
        let text = |bytes: &[u8]| BASE64.encode(bytes);
        let key: Result<MasterKey, _> = serde_json::from_value(json!({
            "mac": { "k": text(part(32, 48)), "r": text(&r) },
            "encrypt": text(part(0, 32)),
        }));
        key.map(Credentials::Masterkey)
            .map_err(|_| BackupError::new(BackupErrorKind::Key, "this is no key of a repository"))
    }
}

impl fmt::Debug for RepositoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RepositoryKey(…)")
    }
}
