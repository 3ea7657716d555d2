//! Deletes expired snapshots.

use std::time::Duration;

use rustic_core::{OpenStatus, PruneOptions, Repository as Rustic};
use startclaw_model::Timestamp;

use crate::{BackupError, snapshot};

/// Deletes the snapshots that are older than `keep_days` and frees the data that only they used.
/// Returns the ids of the others and how many bytes were freed.
///
/// The newest is always kept, and so are those with a time in the future: a clock that was wrong
/// for a while must not cause loss of data.
pub(crate) fn forget(
    rustic: Rustic<OpenStatus>,
    keep_days: u32,
    now: Timestamp,
) -> Result<(Vec<String>, u64), BackupError> {
    let kept_for = Duration::from_secs(u64::from(keep_days) * 24 * 3600);
    let all = snapshot::counting(&rustic)?;
    let (mut kept, mut old) = (Vec::new(), Vec::new());
    for (number, (id, file)) in all.into_iter().enumerate() {
        let info = snapshot::info(&file, id);
        if number == 0 || now.since(info.taken_at) <= kept_for {
            kept.push(info.id);
        } else {
            old.push(file.id);
        }
    }
    if old.is_empty() {
        return Ok((kept, 0));
    }
    let failed = |e: Box<rustic_core::RusticError>| BackupError::of("forget old snapshots", &e);
    rustic.delete_snapshots(&old).map_err(failed)?;
    // There is no other writer, so unused data is not about to be used.
    let options = PruneOptions::default().instant_delete(true);
    let plan = rustic.prune_plan(&options).map_err(failed)?;
    let freed = plan.stats.size_sum().remove + plan.stats.size_sum().repackrm;
    rustic.prune(&options, plan).map_err(failed)?;
    Ok((kept, freed))
}
