//! The key files of a repository. They hold its key, encrypted with a password each, for restic.
//!
//! This crate opens a repository with the key itself, so that it would not notice that they are
//! damaged. restic does not open a repository if one of them is.

use rustic_core::{
    Id, KeyOptions, OpenStatus, Repository as Rustic, RusticError, repofile::KeyFile,
};
use sha2::{Digest, Sha256};

use crate::{
    BackupError, Repository,
    objects::{ObjectError, Objects},
};

/// Adds the key of the repository's password.
pub(crate) fn add(rustic: &Rustic<OpenStatus>, repository: &Repository) -> Result<(), BackupError> {
    let password = repository.key.password();
    let added = rustic.add_key(password.expose(), &KeyOptions::default());
    added.map(drop).map_err(|e: Box<RusticError>| BackupError::of("add the key", &e))
}

/// Adds the key of the repository's password if it cannot be read, and removes damaged key files.
/// Those of other passwords stay. Returns whether anything was changed.
pub(crate) fn repair(
    objects: &dyn Objects,
    rustic: &Rustic<OpenStatus>,
    repository: &Repository,
) -> Result<bool, BackupError> {
    let location = objects.location();
    let stop = |e: ObjectError| e.stop("read the keys in", &location);
    let password = repository.key.password();
    let (mut opens, mut damaged) = (false, Vec::new());
    for (name, size) in objects.list("keys").map_err(stop)? {
        let Ok(id) = name.parse::<Id>() else { continue };
        let path = format!("keys/{name}");
        if size > LARGEST {
            damaged.push(path);
            continue;
        }
        let content = objects.read(&path, None).map_err(stop)?;
        if Id::new(Sha256::digest(&content).into()) != id {
            damaged.push(path);
        } else if let Ok(file) = serde_json::from_slice::<KeyFile>(&content) {
            opens |= file.key_from_password(&password.expose()).is_ok();
        }
    }
    if opens && damaged.is_empty() {
        return Ok(false);
    }
    if !opens {
        add(rustic, repository)?;
    }
    for path in damaged {
        objects.remove(&path).map_err(|e| e.stop("remove a damaged key in", &location))?;
    }
    Ok(true)
}

/// The largest key file. restic's have less than 500 bytes.
const LARGEST: u64 = 64 << 10;
