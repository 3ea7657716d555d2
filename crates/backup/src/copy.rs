//! Copies snapshots to another repository.

use std::{collections::HashMap, sync::Arc};

use rustic_core::{
    IndexedFullStatus, OpenStatus, Repository as Rustic, RusticError, repofile::SnapshotFile,
};

use crate::{
    BackupError, BackupErrorKind, Repository, SnapshotInfo,
    meter::Meter,
    panics::Panics,
    repository::{self, Make},
    snapshot::{self, Snapshots},
};

/// What was copied, and the ids of what cannot be copied, with reasons.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    pub copied: Vec<SnapshotInfo>,
    pub failed: Vec<(String, String)>,
}

/// Copies the snapshots that `to` does not have, oldest first: if it is interrupted, `to` has all
/// snapshots before the last copied one, except those whose data are damaged here.
pub(crate) fn copy(
    from: Rustic<OpenStatus>,
    to: &Repository,
    meter: &Arc<Meter>,
    panics: &Panics,
) -> Result<Copied, BackupError> {
    let config = repository::config(&from);
    let opened = repository::open(to, Make::Like(&config), meter)?;
    let Some(opened) = opened else {
        return Err(BackupError::new(BackupErrorKind::Damaged, "the other repository is gone"));
    };
    let here = Snapshots::read(&from)?;
    let there = Snapshots::read(&opened.rustic)?;
    let known = ids(&there);
    let mut missing: Vec<_> =
        here.valid.iter().filter(|(id, _)| !known.contains_key(id.as_str())).collect();
    missing.reverse();
    let numbers = Numbers::between(&here, &there);
    let missing = missing.into_iter().map(|(id, file)| (id.clone(), numbers.renumber(file)));
    let mut done = Copied::default();
    if missing.len() == 0 {
        return Ok(done);
    }
    let from = from.to_indexed().map_err(failed)?;
    let mut to = opened.rustic;
    for (id, file) in missing {
        let (copied, same) = copy_file(&from, to, &file, panics)?;
        to = same;
        match copied {
            Ok(()) => done.copied.push(snapshot::info(&file, id)),
            Err(e) => done.failed.push((id, e.message)),
        }
    }
    drop(opened.lock);
    Ok(done)
}

/// Copies one snapshot to a repository, and returns that as well. The inner error says that the
/// data of the snapshot are missing or damaged, the outer one that nothing can be copied.
pub(crate) fn copy_file(
    from: &Rustic<IndexedFullStatus>,
    to: Rustic<OpenStatus>,
    file: &SnapshotFile,
    panics: &Panics,
) -> Result<(Result<(), BackupError>, Rustic<OpenStatus>), BackupError> {
    let indexed = to.to_indexed_ids().map_err(failed)?;
    match panics.catch(|| from.copy(&indexed, [file]).map_err(failed)) {
        Err(e) if e.kind != BackupErrorKind::Damaged => Err(e),
        copied => Ok((copied, indexed.drop_index())),
    }
}

fn failed(e: Box<RusticError>) -> BackupError {
    BackupError::of("copy a snapshot", &e)
}

fn ids(all: &Snapshots) -> HashMap<&str, &SnapshotFile> {
    all.valid.iter().map(|(id, file)| (id.as_str(), file)).collect()
}

/// How the numbers of two repositories relate. They are the same, unless one of them was begun
/// again while the other has snapshots.
pub(crate) struct Numbers(i128);

impl Numbers {
    /// The difference that snapshots of `from` need to be newer than those before them in `to`.
    pub fn between(from: &Snapshots, to: &Snapshots) -> Self {
        let there = ids(to);
        let number = |file| snapshot::sequence(file).map(i128::from);
        let shared = from
            .valid
            .iter()
            .find_map(|(id, file)| Some(number(there.get(id.as_str())?)? - number(file)?));
        let newest = to.valid.iter().filter_map(|(_, file)| number(file)).max();
        Self(shared.or(newest).unwrap_or(0))
    }

    /// The snapshot as it is to be stored in the other repository. It names the file that it is a
    /// copy of.
    pub fn renumber(&self, file: &SnapshotFile) -> SnapshotFile {
        let mut file = file.clone();
        file.original = file.original.or(Some(file.id));
        if let Some(number) = snapshot::sequence(&file) {
            let other = (i128::from(number) + self.0).max(0);
            snapshot::set_sequence(&mut file, u64::try_from(other).unwrap_or(u64::MAX));
        }
        file
    }
}
