//! Finds damaged files of a repository by reading all of them.

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rustic_core::{
    Id, OpenStatus, Repository as Rustic,
    repofile::{IndexFile, IndexId},
};
use sha2::{Digest, Sha256};

use crate::{
    BackupError, BackupErrorKind,
    meter::Meter,
    objects::{ObjectError, Objects},
};

/// How much of a pack is read at once.
const PIECE: u64 = 8 << 20;

/// The names of packs whose content does not have the hash that they are named by.
pub(super) fn packs(objects: &dyn Objects, meter: &Meter) -> Result<Vec<String>, BackupError> {
    let location = objects.location();
    let listed = objects.list("data").map_err(|e| e.stop("list", &location))?;
    meter.begin(listed.iter().map(|(_, size)| size).sum());
    let judge = |(name, size): (String, u64)| {
        let id: Id = name.rsplit('/').next()?.parse().ok()?;
        let name = format!("data/{name}");
        match hash(objects, &name, size, meter) {
            Ok(found) if found == id => None,
            Ok(_) | Err(ObjectError::Missing(_)) => Some(Ok(name)),
            Err(e) => Some(Err(e.stop("read", &format!("{location}/{name}")))),
        }
    };
    listed.into_par_iter().filter_map(judge).collect()
}

fn hash(objects: &dyn Objects, name: &str, size: u64, meter: &Meter) -> Result<Id, ObjectError> {
    let mut hash = Sha256::new();
    let mut offset = 0;
    while offset < size {
        let length = PIECE.min(size - offset);
        hash.update(objects.read(name, Some((offset, length)))?);
        meter.bytes(length);
        offset += length;
    }
    Ok(Id::new(hash.finalize().into()))
}

/// The index files that cannot be read.
pub(super) fn indexes(rustic: &Rustic<OpenStatus>) -> Result<Vec<IndexId>, BackupError> {
    let failed = |e: Box<rustic_core::RusticError>| BackupError::of("read the index", &e);
    let ids: Vec<IndexId> = rustic.list().map_err(failed)?.collect();
    let judge = |id: IndexId| match rustic.get_file::<IndexFile>(&id).map_err(failed) {
        Ok(_) => None,
        Err(e) if e.kind == BackupErrorKind::Damaged => Some(Ok(id)),
        Err(e) => Some(Err(e)),
    };
    ids.into_par_iter().filter_map(judge).collect()
}
