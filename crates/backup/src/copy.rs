//! Copies snapshots to another repository.

use std::{collections::HashSet, sync::Arc};

use rustic_core::{OpenStatus, Repository as Rustic};

use crate::{
    BackupError, BackupErrorKind, Repository, SnapshotInfo,
    meter::Meter,
    repository::{self, Make},
    snapshot,
};

/// Copies the snapshots that `to` does not have, oldest first: if it is interrupted, `to` has all
/// snapshots before the last copied one.
pub(crate) fn copy(
    from: Rustic<OpenStatus>,
    to: &Repository,
    meter: &Arc<Meter>,
) -> Result<Vec<SnapshotInfo>, BackupError> {
    let config = repository::config(&from);
    let opened = repository::open(to, Make::Like(&config), meter)?;
    let Some(opened) = opened else {
        return Err(BackupError::new(BackupErrorKind::Damaged, "the other repository is gone"));
    };
    let there: HashSet<String> =
        snapshot::counting(&opened.rustic)?.into_iter().map(|(id, _)| id).collect();
    let mut missing: Vec<_> =
        snapshot::counting(&from)?.into_iter().filter(|(id, _)| !there.contains(id)).collect();
    missing.reverse();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |e: Box<rustic_core::RusticError>| BackupError::of("copy a snapshot", &e);
    let from = from.to_indexed().map_err(failed)?;
    let mut rustic = opened.rustic;
    let mut copied = Vec::new();
    for (id, file) in missing {
        let indexed = rustic.to_indexed_ids().map_err(failed)?;
        from.copy(&indexed, [&file]).map_err(failed)?;
        rustic = indexed.drop_index();
        copied.push(snapshot::info(&file, id));
    }
    drop(opened.lock);
    Ok(copied)
}
