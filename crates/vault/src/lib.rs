//! Secrets at rest.
//!
//! Envelope encryption: every instance has its own data key, which is stored wrapped by one master
//! key. Removing an instance's wrapped key makes its secrets permanently unreadable, and the master
//! key can be moved elsewhere (a key management service) by rewrapping the data keys. The cipher is
//! XChaCha20-Poly1305: its 24-byte nonces may be random.

mod kit;
mod master;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use rand::RngCore;
use sha2::Sha256;
use startclaw_model::{InstanceId, Secret, SecretName};
use zeroize::Zeroizing;

pub use kit::{KitError, RecoveryKit};

/// Bytes of a key.
const KEY: usize = 32;
/// Bytes of an XChaCha20 nonce.
const NONCE: usize = 24;
/// The prefix of sealed texts, so that another format can be added later.
const FORMAT: &str = "v1:";

/// Errors of the vault. None contains a secret.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The master key is missing although secrets were sealed with it.
    #[error(
        "the master key {0} is missing, and without it stored secrets and backups cannot be read: put it back from your copy or recovery kit"
    )]
    Missing(std::path::PathBuf),
    /// The master key's file is readable by other users.
    #[error("the master key {0} can be read by others: chmod 600 it")]
    Exposed(std::path::PathBuf),
    /// The file holds another master key.
    #[error("{0} holds another master key than the one that is to lie there: move it away first")]
    Another(std::path::PathBuf),
    /// The master key's file does not hold a key.
    #[error("the master key {0} is damaged: put it back from your copy")]
    Damaged(std::path::PathBuf),
    /// The master key's file cannot be read or created.
    #[error("the master key {0}: {1}")]
    File(std::path::PathBuf, std::io::Error),
    /// A sealed text was modified, or belongs to another instance, name or master key.
    #[error("a stored secret cannot be opened: it was changed, or sealed with another master key")]
    Sealed,
}

/// Seals and opens secrets. Holds the master key.
pub struct Vault {
    master: Zeroizing<[u8; KEY]>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(…)")
    }
}

impl Vault {
    /// A new data key for an instance, wrapped.
    pub fn new_data_key(&self, id: &InstanceId) -> Result<String, VaultError> {
        let key = random_key();
        seal(&self.master, &key[..], format!("data-key/{id}").as_bytes())
    }

    /// Seals a secret of an instance under its wrapped data key.
    pub fn seal(
        &self,
        wrapped: &str,
        id: &InstanceId,
        name: &SecretName,
        secret: &Secret,
    ) -> Result<String, VaultError> {
        seal(&*self.data_key(wrapped, id)?, secret.expose().as_bytes(), &bound_to(id, name))
    }

    /// Opens a secret that [`Vault::seal`] sealed for the same instance and name.
    pub fn open(
        &self,
        wrapped: &str,
        id: &InstanceId,
        name: &SecretName,
        sealed: &str,
    ) -> Result<Secret, VaultError> {
        let plain = open(&*self.data_key(wrapped, id)?, sealed, &bound_to(id, name))?;
        std::str::from_utf8(&plain).map(Secret::new).map_err(|_| VaultError::Sealed)
    }

    /// An HMAC of `text`. Without the master key it can neither be computed nor used to guess the
    /// text.
    pub fn hmac(&self, text: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.master[..])
            .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        mac.update(b"keyed-digest/");
        mac.update(text.as_bytes());
        BASE64.encode(mac.finalize().into_bytes())
    }

    /// Derives a key of 32 bytes for one purpose, such as `repository-password/<instance>`:
    /// deterministic, and of no use to find another one. It is HMAC-SHA256, so that an operator who
    /// has the master key can derive it with `openssl` alone.
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; KEY]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.master[..])
            .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        mac.update(purpose.as_bytes());
        Zeroizing::new(mac.finalize().into_bytes().into())
    }

    fn data_key(&self, wrapped: &str, id: &InstanceId) -> Result<Zeroizing<[u8; KEY]>, VaultError> {
        let plain = open(&self.master, wrapped, format!("data-key/{id}").as_bytes())?;
        let key: [u8; KEY] = plain.as_slice().try_into().map_err(|_| VaultError::Sealed)?;
        Ok(Zeroizing::new(key))
    }
}

/// Binds a sealed text to its instance and name, so that swapped rows in the database do not
/// decrypt.
fn bound_to(id: &InstanceId, name: &SecretName) -> Vec<u8> {
    format!("secret/{id}/{name}").into_bytes()
}

fn random_key() -> Zeroizing<[u8; KEY]> {
    let mut key = Zeroizing::new([0; KEY]);
    rand::rng().fill_bytes(&mut key[..]);
    key
}

fn seal(key: &[u8; KEY], plain: &[u8], aad: &[u8]) -> Result<String, VaultError> {
    let mut nonce = [0; NONCE];
    rand::rng().fill_bytes(&mut nonce);
    let sealed = XChaCha20Poly1305::new(key.into())
        .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad })
        .map_err(|_| VaultError::Sealed)?;
    Ok(format!("{FORMAT}{}", BASE64.encode([&nonce[..], &sealed].concat())))
}

fn open(key: &[u8; KEY], sealed: &str, aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let bytes = sealed
        .strip_prefix(FORMAT)
        .and_then(|text| BASE64.decode(text).ok())
        .ok_or(VaultError::Sealed)?;
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE>().ok_or(VaultError::Sealed)?;
    XChaCha20Poly1305::new(key.into())
        .decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad })
        .map(Zeroizing::new)
        .map_err(|_| VaultError::Sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        Vault { master: random_key() }
    }

    #[test]
    fn a_secret_comes_back_and_is_not_in_what_is_stored() {
        let (vault, id, name) = (vault(), InstanceId::new(), SecretName::model_api_key());
        let key = vault.new_data_key(&id).unwrap();
        let sealed = vault.seal(&key, &id, &name, &Secret::new("sk-canary")).unwrap();
        assert!(!sealed.contains("canary"));
        assert_eq!(vault.open(&key, &id, &name, &sealed).unwrap().expose(), "sk-canary");
    }

    #[test]
    fn a_sealed_secret_is_good_for_its_own_place_only() {
        let (vault, id, name) = (vault(), InstanceId::new(), SecretName::model_api_key());
        let key = vault.new_data_key(&id).unwrap();
        let sealed = vault.seal(&key, &id, &name, &Secret::new("x")).unwrap();
        let other = InstanceId::new();
        assert!(vault.open(&key, &other, &name, &sealed).is_err());
        assert!(vault.open(&key, &id, &SecretName::telegram_bot_token(), &sealed).is_err());
        assert!(super::tests::vault().open(&key, &id, &name, &sealed).is_err());
        let mut bytes = BASE64.decode(&sealed[FORMAT.len()..]).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let changed = format!("{FORMAT}{}", BASE64.encode(bytes));
        assert!(vault.open(&key, &id, &name, &changed).is_err());
    }

    #[test]
    fn a_keyed_digest_depends_on_text_and_key() {
        let (one, other) = (vault(), vault());
        assert_eq!(one.hmac("a"), one.hmac("a"));
        assert_ne!(one.hmac("a"), one.hmac("b"));
        assert_ne!(one.hmac("a"), other.hmac("a"));
    }

    #[test]
    fn a_derived_key_is_good_for_one_purpose_and_made_again_alike() {
        let (one, other) = (vault(), vault());
        assert_eq!(*one.derive("repository-password/a"), *one.derive("repository-password/a"));
        assert_ne!(*one.derive("repository-password/a"), *one.derive("repository-password/b"));
        assert_ne!(*one.derive("repository-password/a"), *other.derive("repository-password/a"));
    }

    #[test]
    fn rubbish_is_an_error_and_no_panic() {
        let (vault, id, name) = (vault(), InstanceId::new(), SecretName::model_api_key());
        let key = vault.new_data_key(&id).unwrap();
        for rubbish in ["", "v1:", "v1:AA", "v9:AAAA", "\u{0}"] {
            assert!(vault.open(&key, &id, &name, rubbish).is_err());
            assert!(vault.open(rubbish, &id, &name, rubbish).is_err());
        }
    }
}
