//! The recovery kit: what is needed to recover the platform on a new machine, sealed for its
//! operator.
//!
//! It is an armored age file, so that `age --decrypt` opens it without StartClaw.

use std::io::{Read, Write};

use age::{
    Decryptor, Encryptor, IdentityFile,
    armor::{ArmoredReader, ArmoredWriter, Format},
    x25519::Recipient,
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use serde::{Deserialize, Serialize};
use startclaw_model::{Secret, Timestamp};
use zeroize::Zeroizing;

use crate::{KEY, Vault};

/// The format of kits, so that another one can be added later.
const KIND: &str = "startclaw-recovery-kit/1";
/// The largest accepted kit, in bytes: settings and keys are small.
const LARGEST: u64 = 1 << 20;

/// Errors of kits. None contains a secret.
#[derive(Debug, thiserror::Error)]
pub enum KitError {
    /// The text is not a recipient.
    #[error("{0:?} is no age recipient: it begins with age1, and age-keygen prints it")]
    Recipient(String),
    /// No recipient was given.
    #[error("a kit needs at least one recipient, such as age1...")]
    NoRecipient,
    /// The file holds no identity.
    #[error(
        "the identity file holds no age identity: it has a line that begins with AGE-SECRET-KEY-1"
    )]
    Identity,
    /// The kit is not sealed for this identity.
    #[error("the kit cannot be opened with this identity: it was sealed for another recipient")]
    NotForYou,
    /// The file is not a kit, or is incomplete.
    #[error("the kit is damaged or is no recovery kit: {0}")]
    Damaged(String),
    /// It could not be sealed.
    #[error("the kit cannot be sealed: {0}")]
    Seal(String),
}

/// What is needed to recover the platform on a new machine.
#[derive(Serialize, Deserialize)]
pub struct RecoveryKit {
    kind: String,
    made_at: Timestamp,
    master_key: Zeroizing<String>,
    settings: String,
    credentials: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for RecoveryKit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecoveryKit(made at {}, …)", self.made_at)
    }
}

impl RecoveryKit {
    /// A kit with the vault's master key, the settings as TOML, and the bucket's credentials.
    pub fn new(vault: &Vault, settings: String, credentials: Option<&Secret>) -> Self {
        Self {
            kind: KIND.into(),
            made_at: Timestamp::now(),
            master_key: Zeroizing::new(BASE64.encode(&vault.master[..])),
            settings,
            credentials: credentials.map(|c| Zeroizing::new(c.expose().to_owned())),
        }
    }

    /// When it was made.
    pub fn made_at(&self) -> Timestamp {
        self.made_at
    }

    /// The settings, as TOML.
    pub fn settings(&self) -> &str {
        &self.settings
    }

    /// The bucket's credentials, if the host had them in a file.
    pub fn credentials(&self) -> Option<Secret> {
        self.credentials.as_ref().map(|c| Secret::new(c.as_str()))
    }

    /// The vault that its master key opens.
    ///
    /// # Errors
    /// [`KitError::Damaged`].
    pub fn vault(&self) -> Result<Vault, KitError> {
        let bytes = BASE64.decode(self.master_key.as_bytes()).map(Zeroizing::new).ok();
        let key: Option<[u8; KEY]> = bytes.and_then(|b| b.as_slice().try_into().ok());
        let key = key.ok_or_else(|| KitError::Damaged("its master key is no key".into()))?;
        Ok(Vault { master: Zeroizing::new(key) })
    }

    /// Encrypts the kit for these recipients.
    ///
    /// # Errors
    /// [`KitError::Recipient`], [`KitError::NoRecipient`].
    pub fn seal(&self, recipients: &[String]) -> Result<String, KitError> {
        let parse = |text: &String| {
            text.parse::<Recipient>().map_err(|_| KitError::Recipient(text.clone()))
        };
        let recipients: Vec<_> = recipients.iter().map(parse).collect::<Result<_, _>>()?;
        let each = recipients.iter().map(|r| r as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(each).map_err(|_| KitError::NoRecipient)?;
        let failed = |e: &dyn std::fmt::Display| KitError::Seal(e.to_string());
        let plain = Zeroizing::new(serde_json::to_vec_pretty(self).map_err(|e| failed(&e))?);
        let sealed = || -> std::io::Result<Vec<u8>> {
            let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
            let mut writer = encryptor.wrap_output(armor)?;
            writer.write_all(&plain)?;
            writer.finish()?.finish()
        };
        String::from_utf8(sealed().map_err(|e| failed(&e))?).map_err(|e| failed(&e))
    }

    /// Decrypts a kit with the identities of a file that `age-keygen` wrote.
    ///
    /// # Errors
    /// [`KitError::Identity`], [`KitError::NotForYou`], [`KitError::Damaged`].
    pub fn open(sealed: &[u8], identities: &Secret) -> Result<Self, KitError> {
        let file = IdentityFile::from_buffer(identities.expose().as_bytes());
        let identities =
            file.ok().and_then(|f| f.into_identities().ok()).ok_or(KitError::Identity)?;
        if identities.is_empty() {
            return Err(KitError::Identity);
        }
        let damaged = |e: &dyn std::fmt::Display| KitError::Damaged(e.to_string());
        let decryptor =
            Decryptor::new_buffered(ArmoredReader::new(sealed)).map_err(|e| damaged(&e))?;
        let each = identities.iter().map(|i| &**i as &dyn age::Identity);
        let reader = decryptor.decrypt(each).map_err(|e| match e {
            age::DecryptError::NoMatchingKeys => KitError::NotForYou,
            e => damaged(&e),
        })?;
        let mut plain = Zeroizing::new(Vec::new());
        reader.take(LARGEST).read_to_end(&mut plain).map_err(|e| damaged(&e))?;
        // The error of serde would quote secrets.
        let kit: Self = serde_json::from_slice(&plain)
            .map_err(|_| KitError::Damaged("its content cannot be read".into()))?;
        if kit.kind != KIND {
            let text = format!("it is of the kind {:?}, and this version reads {KIND:?}", kit.kind);
            return Err(KitError::Damaged(text));
        }
        Ok(kit)
    }
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret;

    use super::*;
    use crate::random_key;

    fn operator() -> (Secret, String) {
        let identity = age::x25519::Identity::generate();
        let secret = Secret::new(identity.to_string().expose_secret());
        (secret, identity.to_public().to_string())
    }

    fn kit(vault: &Vault) -> RecoveryKit {
        let credentials = Secret::new("{\"canary\": 1}");
        RecoveryKit::new(vault, "[edge]\ndomain = \"x\"".into(), Some(&credentials))
    }

    #[test]
    fn a_kit_is_opened_by_each_of_its_recipients_and_nobody_else() {
        let vault = Vault { master: random_key() };
        let ((one, to_one), (other, to_other), (stranger, _)) =
            (operator(), operator(), operator());
        let sealed = kit(&vault).seal(&[to_one, to_other]).unwrap();
        assert!(sealed.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
        for identity in [one, other] {
            let opened = RecoveryKit::open(sealed.as_bytes(), &identity).unwrap();
            assert_eq!(*opened.vault().unwrap().master, *vault.master);
            assert_eq!(opened.settings(), "[edge]\ndomain = \"x\"");
            assert_eq!(opened.credentials().unwrap().expose(), "{\"canary\": 1}");
        }
        let refused = RecoveryKit::open(sealed.as_bytes(), &stranger);
        assert!(matches!(refused, Err(KitError::NotForYou)), "{refused:?}");
    }

    #[test]
    fn nothing_of_a_kit_can_be_printed() {
        let vault = Vault { master: random_key() };
        let kit = kit(&vault);
        let key = BASE64.encode(&vault.master[..]);
        let (_, recipient) = operator();
        for text in [format!("{kit:?}"), kit.seal(&[recipient]).unwrap()] {
            assert!(!text.contains("canary") && !text.contains(&key), "{text}");
        }
    }

    #[test]
    fn what_is_no_kit_is_an_error_and_no_panic() {
        let vault = Vault { master: random_key() };
        let (identity, recipient) = operator();
        let sealed = kit(&vault).seal(&[recipient]).unwrap().into_bytes();
        for length in [0, 10, sealed.len() / 2, sealed.len() - 60] {
            assert!(RecoveryKit::open(&sealed[..length], &identity).is_err(), "{length}");
        }
        for at in (0..sealed.len()).step_by(7) {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            if let Ok(kit) = RecoveryKit::open(&changed, &identity) {
                // Only changes that age itself ignores, such as the end of the last line.
                assert_eq!(*kit.vault().unwrap().master, *vault.master, "{at}");
            }
        }
        assert!(matches!(
            RecoveryKit::open(&sealed, &Secret::new("nothing")),
            Err(KitError::Identity)
        ));
        assert!(matches!(kit(&vault).seal(&["age1x".into()]), Err(KitError::Recipient(_))));
        assert!(matches!(kit(&vault).seal(&[]), Err(KitError::NoRecipient)));
    }
}
