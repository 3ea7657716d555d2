//! Snapshots in a repository, and their description.

use std::{cmp::Reverse, collections::HashSet};

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rustic_core::{
    Open, Repository as Rustic, RusticError, StringList,
    repofile::{SnapshotFile, SnapshotId},
};
use startclaw_model::Timestamp;

use crate::{BackupError, BackupErrorKind, SnapshotInfo};

/// The host and path of all snapshots, the same wherever they were taken, so that restic groups
/// them.
pub(crate) const HOST: &str = "startclaw";
pub(crate) const PATH: &str = "/data";

/// Tags of snapshots that are not valid: the first pass, and a second pass before its commit.
pub(crate) const FIRST_PASS: &str = "first-pass";
pub(crate) const PENDING: &str = "pending";

/// The tag with the number of a snapshot.
const SEQUENCE: &str = "sequence-";

/// The snapshot files of a repository.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    /// The valid ones with their ids, newest first.
    pub valid: Vec<(String, SnapshotFile)>,
    /// Further files of valid ones, as an interrupted copy may leave.
    pub duplicates: Vec<(String, SnapshotFile)>,
    /// Those of unfinished runs.
    pub unfinished: Vec<SnapshotId>,
    /// Those that cannot be read.
    pub damaged: Vec<SnapshotId>,
}

impl Snapshots {
    /// Reads all snapshot files. A damaged one does not hide the others.
    pub fn read<S: Open + Sync>(rustic: &Rustic<S>) -> Result<Self, BackupError> {
        let failed = |e: Box<RusticError>| BackupError::of("read the snapshots", &e);
        let ids: Vec<SnapshotId> = rustic.list().map_err(failed)?.collect();
        let read = |id: SnapshotId| (id, rustic.get_file::<SnapshotFile>(&id));
        let files: Vec<_> = ids.into_par_iter().map(read).collect();
        let mut found = Self::default();
        for (id, file) in files {
            match file {
                Ok(file) => found.add(SnapshotFile { id, ..file }),
                Err(e) => {
                    let error = failed(e);
                    if error.kind == BackupErrorKind::Unavailable {
                        return Err(error);
                    }
                    found.damaged.push(id);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn add(&mut self, file: SnapshotFile) {
        if file.tags.iter().any(|tag| tag == FIRST_PASS || tag == PENDING) {
            self.unfinished.push(file.id);
        } else if let Some(id) = id(&file) {
            self.valid.push((id, file));
        }
    }

    /// Sorts by sequence, because a clock may have been wrong. Snapshots of older versions have
    /// none and are older than all that have one.
    fn sort(&mut self) {
        self.damaged.sort();
        self.valid.sort_by_cached_key(|(id, file)| {
            Reverse((sequence(file), file.time.timestamp(), id.clone(), file.id))
        });
        let mut seen = HashSet::new();
        let all = std::mem::take(&mut self.valid);
        (self.valid, self.duplicates) =
            all.into_iter().partition(|(id, _)| seen.insert(id.clone()));
    }

    /// The number of the next snapshot.
    pub fn next_sequence(&self) -> u64 {
        let last = self.valid.iter().filter_map(|(_, file)| sequence(file)).max();
        last.unwrap_or(0).saturating_add(1)
    }

    /// Finds a valid snapshot: `latest`, or by its id.
    pub fn choose(&self, wanted: &str) -> Result<&SnapshotFile, BackupError> {
        let found = self.valid.iter().find(|(id, _)| wanted == "latest" || id == wanted);
        found.map(|(_, file)| file).ok_or_else(|| {
            let mut error = no_snapshot(wanted);
            if !self.damaged.is_empty() {
                let more = format!("; {} of its snapshot files cannot be read", self.damaged.len());
                error.message.push_str(&more);
            }
            error
        })
    }

    /// Names of the damaged files.
    pub fn damaged_names(&self) -> Vec<String> {
        self.damaged.iter().map(name).collect()
    }

    /// The valid snapshots, newest first.
    pub fn infos(&self) -> Vec<SnapshotInfo> {
        self.valid.iter().map(|(id, file)| info(file, id.clone())).collect()
    }
}

/// The name of a snapshot file.
pub(crate) fn name(id: &SnapshotId) -> String {
    id.to_hex().to_string()
}

/// A new id.
pub(crate) fn new_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The tag that numbers a snapshot.
pub(crate) fn sequence_tag(number: u64) -> String {
    format!("{SEQUENCE}{number}")
}

/// The number of a snapshot.
pub(crate) fn sequence(snapshot: &SnapshotFile) -> Option<u64> {
    snapshot.tags.iter().find_map(|tag| tag.strip_prefix(SEQUENCE)?.parse().ok())
}

/// Numbers a snapshot that may have another number.
pub(crate) fn set_sequence(snapshot: &mut SnapshotFile, number: u64) {
    let mut tags = StringList::default();
    let others = snapshot.tags.iter().filter(|tag| !tag.starts_with(SEQUENCE));
    others.for_each(|tag| tags.add(tag.clone()));
    tags.add(sequence_tag(number));
    snapshot.tags = tags;
}

fn id(snapshot: &SnapshotFile) -> Option<String> {
    let is_id = |tag: &&String| tag.len() == 32 && tag.bytes().all(|b| b.is_ascii_hexdigit());
    snapshot.tags.iter().find(is_id).cloned()
}

pub(crate) fn info(snapshot: &SnapshotFile, id: String) -> SnapshotInfo {
    let summary = snapshot.summary.as_ref();
    SnapshotInfo {
        id,
        taken_at: Timestamp::from_millis(snapshot.time.timestamp().as_millisecond()),
        sequence: sequence(snapshot),
        files: summary.map_or(0, |s| s.total_files_processed),
        bytes: summary.map_or(0, |s| s.total_bytes_processed),
        added_bytes: summary.map_or(0, |s| s.data_added_packed),
    }
}

pub(crate) fn no_snapshot(wanted: &str) -> BackupError {
    let text = format!("the repository has no snapshot {wanted}");
    BackupError::new(BackupErrorKind::NoSnapshot, text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustic_core::jiff::{Zoned, civil::date, tz::TimeZone};
    use startclaw_model::Secret;

    use super::*;
    use crate::{
        Repository, RepositoryKey, Storage,
        meter::Meter,
        repository::{self, Make},
    };

    fn at(day: i8) -> Zoned {
        date(2026, 5, day).to_zoned(TimeZone::UTC).unwrap()
    }

    fn file(id: u8, day: i8, number: Option<u64>) -> SnapshotFile {
        let mut file = SnapshotFile { time: at(day), ..Default::default() };
        file.tags.add(format!("{id:032x}"));
        if let Some(number) = number {
            file.tags.add(sequence_tag(number));
        }
        file
    }

    #[test]
    fn the_sequence_decides_what_is_newest_and_the_time_only_without_one() {
        let mut all = Snapshots::default();
        for (id, day, number) in
            [(1, 3, None), (2, 9, None), (3, 25, Some(1)), (4, 7, Some(2)), (5, 8, Some(10))]
        {
            all.add(file(id, day, number));
        }
        all.add(file(4, 7, Some(2)));
        all.sort();
        let order: Vec<_> = all.infos().into_iter().map(|s| s.sequence).collect();
        assert_eq!(order, [Some(10), Some(2), Some(1), None, None]);
        assert_eq!(all.valid[3].0, format!("{:032x}", 2));
        assert_eq!(all.duplicates.len(), 1);
        assert_eq!(all.next_sequence(), 11);
    }

    #[test]
    fn a_snapshot_of_a_clock_that_was_ahead_is_not_the_newest_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let place = Repository {
            storage: Storage::folder(dir.path()),
            folder: "alice".into(),
            lock: dir.path().join("lock"),
            key: RepositoryKey::new(Secret::new("password"), [7; 64]),
            destination_id: None,
        };
        let opened = repository::open(&place, Make::Fresh, &Arc::new(Meter::default()));
        let rustic = opened.unwrap().unwrap().rustic;
        for (id, day) in [(1, 5), (2, 28), (3, 6)] {
            let number = Snapshots::read(&rustic).unwrap().next_sequence();
            rustic.save_snapshots(vec![file(id, day, Some(number))]).unwrap();
        }
        let all = Snapshots::read(&rustic).unwrap();
        let ids: Vec<_> = all.infos().into_iter().map(|s| s.id).collect();
        assert_eq!(ids, [3, 2, 1].map(|id| format!("{id:032x}")));
        assert_eq!(all.choose("latest").unwrap().time.timestamp(), at(6).timestamp());
    }
}
