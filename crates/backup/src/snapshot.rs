//! Snapshots in a repository, and their description.

use rustic_core::{Open, Repository as Rustic, repofile::SnapshotFile};
use startclaw_model::Timestamp;

use crate::{BackupError, BackupErrorKind, SnapshotInfo};

/// The host and path of all snapshots, the same wherever they were taken, so that restic groups
/// them.
pub(crate) const HOST: &str = "startclaw";
pub(crate) const PATH: &str = "/data";

/// Tags of snapshots that are not valid: the first pass, and a second pass before its commit.
pub(crate) const FIRST_PASS: &str = "first-pass";
pub(crate) const PENDING: &str = "pending";

/// A new id.
pub(crate) fn new_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The id of a snapshot, if it is valid.
pub(crate) fn id(snapshot: &SnapshotFile) -> Option<String> {
    if snapshot.tags.iter().any(|tag| tag == FIRST_PASS || tag == PENDING) {
        return None;
    }
    let is_id = |tag: &&String| tag.len() == 32 && tag.bytes().all(|b| b.is_ascii_hexdigit());
    snapshot.tags.iter().find(is_id).cloned()
}

pub(crate) fn info(snapshot: &SnapshotFile, id: String) -> SnapshotInfo {
    let summary = snapshot.summary.as_ref();
    SnapshotInfo {
        id,
        taken_at: Timestamp::from_millis(snapshot.time.timestamp().as_millisecond()),
        files: summary.map_or(0, |s| s.total_files_processed),
        bytes: summary.map_or(0, |s| s.total_bytes_processed),
        added_bytes: summary.map_or(0, |s| s.data_added_packed),
    }
}

/// All snapshots, valid or not.
pub(crate) fn all<S: Open>(rustic: &Rustic<S>) -> Result<Vec<SnapshotFile>, BackupError> {
    rustic.get_all_snapshots().map_err(|e| BackupError::of("read the snapshots", &e))
}

/// The valid snapshots, newest first, without duplicates.
pub(crate) fn counting<S: Open>(
    rustic: &Rustic<S>,
) -> Result<Vec<(String, SnapshotFile)>, BackupError> {
    let mut found: Vec<_> = all(rustic)?.into_iter().filter_map(|s| Some((id(&s)?, s))).collect();
    found.sort_by(|(a_id, a), (b_id, b)| b.time.cmp(&a.time).then_with(|| a_id.cmp(b_id)));
    found.dedup_by(|(a, _), (b, _)| a == b);
    Ok(found)
}

/// Finds a valid snapshot: `latest`, or by its id.
pub(crate) fn choose<S: Open>(
    rustic: &Rustic<S>,
    wanted: &str,
) -> Result<SnapshotFile, BackupError> {
    let found = counting(rustic)?.into_iter().find(|(id, _)| wanted == "latest" || id == wanted);
    found.map(|(_, snapshot)| snapshot).ok_or_else(|| no_snapshot(wanted))
}

pub(crate) fn no_snapshot(wanted: &str) -> BackupError {
    let text = format!("the repository has no snapshot {wanted}");
    BackupError::new(BackupErrorKind::NoSnapshot, text)
}
