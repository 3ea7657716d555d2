//! The master key in a file of its own, mode 600.

use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use zeroize::Zeroizing;

use crate::{KEY, Vault, VaultError, random_key};

impl Vault {
    /// Opens the vault with the master key in `path`. With `may_create` a missing key is generated:
    /// set it only if no secret was ever stored, or the loss of a key would go unnoticed.
    pub fn load(path: &Path, may_create: bool) -> Result<Self, VaultError> {
        let io = |e| VaultError::File(path.to_owned(), e);
        match fs::read_to_string(path) {
            Ok(text) => {
                let text = Zeroizing::new(text);
                if fs::metadata(path).map_err(io)?.mode() & 0o077 != 0 {
                    return Err(VaultError::Exposed(path.to_owned()));
                }
                let bytes = BASE64.decode(text.trim()).map(Zeroizing::new);
                let key: Option<[u8; KEY]> = bytes.ok().and_then(|b| b.as_slice().try_into().ok());
                let key = key.ok_or_else(|| VaultError::Damaged(path.to_owned()))?;
                Ok(Self { master: Zeroizing::new(key) })
            }
            Err(e) if e.kind() == ErrorKind::NotFound && may_create => {
                let master = random_key();
                write_new(path, &Zeroizing::new(BASE64.encode(&master[..]))).map_err(io)?;
                Ok(Self { master })
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Err(VaultError::Missing(path.to_owned())),
            Err(e) => Err(io(e)),
        }
    }
}

impl Vault {
    /// Writes the master key to where [`Vault::load`] reads it, on a machine that has none.
    ///
    /// # Errors
    /// [`VaultError::Another`] when the file holds another key; the same key is not written again.
    pub fn store(&self, path: &Path) -> Result<(), VaultError> {
        match Self::load(path, false) {
            Err(VaultError::Missing(_)) => {
                write_new(path, &Zeroizing::new(BASE64.encode(&self.master[..])))
                    .map_err(|e| VaultError::File(path.to_owned(), e))
            }
            Ok(there) if there.master == self.master => Ok(()),
            Ok(_) => Err(VaultError::Another(path.to_owned())),
            Err(e) => Err(e),
        }
    }
}

/// Writes a temporary file, then renames it: a crash leaves either no key or a complete one.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use startclaw_model::InstanceId;

    use super::*;

    #[test]
    fn the_key_is_made_once_private_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let id = InstanceId::new();
        let wrapped = Vault::load(&path, true).unwrap().new_data_key(&id).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(Vault::load(&path, false).unwrap().data_key(&wrapped, &id).is_ok());
    }

    #[test]
    fn a_key_comes_to_where_there_is_none_and_takes_the_place_of_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (dir.path().join("master.key"), dir.path().join("old.key"));
        let vault = Vault::load(&elsewhere, true).unwrap();
        vault.store(&path).unwrap();
        vault.store(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), fs::read(&elsewhere).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let other = Vault { master: random_key() };
        assert!(matches!(other.store(&path), Err(VaultError::Another(_))));
    }

    #[test]
    fn a_lost_open_or_damaged_key_is_said_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        assert!(matches!(Vault::load(&path, false), Err(VaultError::Missing(_))));
        Vault::load(&path, true).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Vault::load(&path, true), Err(VaultError::Exposed(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        assert!(matches!(Vault::load(&path, true), Err(VaultError::Damaged(_))));
    }
}
