//! Compares the packs of a repository with its index.

use std::collections::HashMap;

use rustic_core::{
    Id, OpenStatus, RepairIndexOptions, Repository as Rustic, RusticError,
    repofile::{IndexFile, PackId},
};

use crate::{BackupError, objects::Objects};

/// How packs and index differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Difference {
    /// There are packs that no index contains.
    pub unknown: bool,
    /// An index contains packs that do not exist, or have another size.
    pub missing: bool,
}

/// Lists the packs and reads the index; the data are not read.
pub(crate) fn compare(
    rustic: &Rustic<OpenStatus>,
    objects: &dyn Objects,
) -> Result<Difference, BackupError> {
    let listed = objects.list("data").map_err(|e| e.stop("list", &objects.location()))?;
    let mut packs: HashMap<PackId, u64> = HashMap::new();
    for (name, size) in listed {
        if let Some(id) = name.rsplit('/').next().and_then(|name| name.parse::<Id>().ok()) {
            packs.insert(id.into(), size);
        }
    }
    let mut missing = false;
    for index in rustic.stream_files::<IndexFile>().map_err(failed)? {
        let (_, index) = index.map_err(failed)?;
        for pack in index.packs.iter().chain(&index.packs_to_delete) {
            match packs.get_mut(&pack.id) {
                Some(size) if *size == u64::from(pack.pack_size()) || *size == KNOWN => {
                    *size = KNOWN;
                }
                _ => missing = true,
            }
        }
    }
    Ok(Difference { unknown: packs.values().any(|size| *size != KNOWN), missing })
}

/// Stands for the size of a pack that an index contains.
const KNOWN: u64 = u64::MAX;

/// Removes packs that do not exist from the index. Then a new snapshot stores again what was in
/// them.
pub(crate) fn forget_missing(
    rustic: &Rustic<OpenStatus>,
    objects: &dyn Objects,
) -> Result<(), BackupError> {
    if compare(rustic, objects)?.missing {
        rustic.repair_index(&RepairIndexOptions::default(), false).map_err(failed)?;
    }
    Ok(())
}

fn failed(e: Box<RusticError>) -> BackupError {
    BackupError::of("read the index", &e)
}
