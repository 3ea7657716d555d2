//! Deletes snapshots, and frees the data that no snapshot uses.

use std::collections::HashSet;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use rustic_core::{
    FileType, OpenStatus, PruneOptions, Repository as Rustic, RusticError, repofile::SnapshotId,
};

use crate::{
    BackupError,
    objects::{ObjectError, Objects, object_name},
    packs,
    repair::SET_ASIDE,
    snapshot::{self, Snapshots},
};

/// Deletes these snapshots, and returns how many bytes were freed.
///
/// Nothing is freed while a snapshot file is damaged: another copy of the file may be put back, and
/// the data that it uses must still be there then. Nothing at all is deleted in an append-only
/// bucket.
pub(crate) fn forget(
    rustic: &Rustic<OpenStatus>,
    objects: &dyn Objects,
    ids: &[String],
) -> Result<u64, BackupError> {
    if objects.keeps_all() {
        return Ok(0);
    }
    let ids: HashSet<&str> = ids.iter().map(String::as_str).collect();
    let all = Snapshots::read(rustic)?;
    let files = all.valid.iter().chain(&all.duplicates);
    let named = files.filter(|(id, _)| ids.contains(id.as_str())).map(|(_, file)| file.id);
    let (dropped, damaged): (Vec<_>, Vec<_>) =
        all.damaged.iter().partition(|id| ids.contains(snapshot::name(id).as_str()));
    let old: Vec<_> = named.chain(dropped).chain(all.unfinished.iter().copied()).collect();
    remove_snapshots(objects, &old)?;
    // Runs that end before they write an index leave unknown packs; those that end later leave an
    // unfinished snapshot.
    if !damaged.is_empty() || (old.is_empty() && !packs::compare(rustic, objects)?.unknown) {
        return Ok(0);
    }
    let freed = prune(rustic)?;
    // All data that snapshots use is there.
    Ok(freed + remove_set_aside(objects)?)
}

/// Removes what a repair set aside; returns how many bytes it had.
fn remove_set_aside(objects: &dyn Objects) -> Result<u64, BackupError> {
    let stop = |e: ObjectError| e.stop("free unused data in", &objects.location());
    let mut freed = 0;
    for (name, size) in objects.list(SET_ASIDE).map_err(stop)? {
        objects.remove(&format!("{SET_ASIDE}/{name}")).map_err(stop)?;
        freed += size;
    }
    Ok(freed)
}

/// Removes snapshot files. If one cannot be removed, its data must stay too.
fn remove_snapshots(objects: &dyn Objects, ids: &[SnapshotId]) -> Result<(), BackupError> {
    let location = objects.location();
    ids.par_iter().try_for_each(|id| {
        let removed = objects.remove(&object_name(FileType::Snapshot, id));
        removed.map_err(|e| e.stop("delete snapshots in", &location))
    })
}

fn prune(rustic: &Rustic<OpenStatus>) -> Result<u64, BackupError> {
    let failed = |e: Box<RusticError>| BackupError::of("free unused data", &e);
    // There is no other writer, so unused data is not about to be used.
    let options = PruneOptions::default().instant_delete(true);
    let plan = rustic.prune_plan(&options).map_err(failed)?;
    let sizes = plan.stats.size_sum();
    let freed = sizes.remove + sizes.repackrm + plan.stats.size_unref;
    rustic.prune(&options, plan).map_err(failed)?;
    Ok(freed)
}
