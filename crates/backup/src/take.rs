//! Takes a snapshot.
//!
//! A folder in use is read in two passes: the first stores nearly everything while it changes; then
//! the folder is frozen, and the second pass stores the changes. Only the second one is a valid
//! snapshot, and only after a commit, which confirms that the folder was frozen until everything
//! was read.

use std::{path::PathBuf, sync::Arc};

use rustic_core::jiff::Zoned;
use rustic_core::{
    BackupOptions, IndexedIdsStatus, OpenStatus, ParentOptions, Repository as Rustic,
    SnapshotOptions, StringList,
    repofile::{SnapshotFile, SnapshotId},
};

use crate::{
    BackupError, BackupErrorKind, Command, Event, ReadData, SnapshotInfo, check,
    checkpoints::PausedCheckpoints,
    meter::Meter,
    objects::Objects,
    packs,
    snapshot::{self, FIRST_PASS, HOST, PATH, PENDING, Snapshots},
    source::{Pass, Shared, Source},
    unchanged::Unchanged,
    worker::Talk,
};

/// What to take a snapshot of.
pub(crate) struct Taking {
    pub root: PathBuf,
    pub live: bool,
    pub exclude: Vec<String>,
    /// Check the snapshot before it becomes valid.
    pub check: bool,
}

/// Takes a snapshot and removes the first pass.
///
/// A run that fails leaves its unfinished snapshots: they tell [`forget`](crate::forget) that there
/// may be unused data.
pub(crate) fn take(
    rustic: Rustic<OpenStatus>,
    objects: &dyn Objects,
    wanted: &Taking,
    meter: &Arc<Meter>,
    talk: &Talk,
) -> Result<SnapshotInfo, BackupError> {
    let before = Snapshots::read(&rustic)?;
    let newest = before.valid.first().map(|(_, file)| file);
    meter.begin(newest.map_or(0, |s| snapshot::info(s, String::new()).bytes));
    packs::forget_missing(&rustic, objects)?;
    let mut indexed = index(rustic)?;
    let mut parent = newest.map(|s| s.id);
    let mut unfinished = Vec::new();
    let mut first_added = 0;
    let mut unchanged = Unchanged::at_rest();
    let mut paused = None;
    if wanted.live {
        paused = Some(PausedCheckpoints::begin(&wanted.root, &wanted.exclude, meter));
        unchanged = Unchanged::begin(&wanted.root, meter);
        let shared = Shared::new(meter.clone(), wanted.root.clone(), || {});
        let source = source(wanted, Pass::First, unchanged, &shared);
        let first = archive(&indexed, &source, &[FIRST_PASS.to_owned()], parent)?;
        // If the folder itself is unreadable, there is no first pass.
        shared.outcome()?;
        first_added = snapshot::info(&first, String::new()).added_bytes;
        parent = Some(first.id);
        unfinished.push(first.id);
        // Lets the second pass find what the first one stored.
        indexed = index(indexed.drop_index())?;
        talk.say(Event::Ready);
        talk.expect(Command::Go)?;
    }
    meter.begin(0);
    let speaker = talk.speaker();
    let shared = Shared::new(meter.clone(), wanted.root.clone(), move || {
        drop(paused);
        speaker.say(Event::Read);
    });
    let id = snapshot::new_id();
    let source = source(wanted, Pass::Final, unchanged, &shared);
    let pending = archive(&indexed, &source, &[id.clone(), PENDING.to_owned()], parent)?;
    unfinished.push(pending.id);
    talk.expect(Command::Commit).and_then(|()| shared.outcome())?;
    let rustic = indexed.drop_index();
    if wanted.check {
        check::check_trees(&rustic, vec![pending.tree], ReadData::Nothing)?;
    }
    let marks = [id.clone(), snapshot::sequence_tag(before.next_sequence())];
    let last = commit(&rustic, pending, &marks, first_added)?;
    remove(&rustic, &unfinished)?;
    Ok(snapshot::info(&last, id))
}

/// Makes a valid snapshot of a pending one.
fn commit(
    rustic: &Rustic<OpenStatus>,
    pending: SnapshotFile,
    marks: &[String],
    first_added: u64,
) -> Result<SnapshotFile, BackupError> {
    let mut last = pending;
    last.tags = tags(marks);
    if let Some(summary) = &mut last.summary {
        summary.data_added_packed += first_added;
    }
    last.parent = None;
    last.parents = Vec::new();
    let saved = rustic.save_snapshots(vec![last.clone()]);
    saved.map_err(|e| BackupError::of("save the snapshot", &e))?;
    Ok(last)
}

fn remove(rustic: &Rustic<OpenStatus>, unfinished: &[SnapshotId]) -> Result<(), BackupError> {
    let removed = rustic.delete_snapshots(unfinished);
    removed.map_err(|e| BackupError::of("remove an unfinished snapshot", &e))
}

fn index(rustic: Rustic<OpenStatus>) -> Result<Rustic<IndexedIdsStatus>, BackupError> {
    rustic.to_indexed_ids().map_err(|e| BackupError::of("read the repository's index", &e))
}

fn source(wanted: &Taking, pass: Pass, unchanged: Unchanged, shared: &Arc<Shared>) -> Source {
    Source {
        root: wanted.root.clone(),
        exclude: wanted.exclude.clone(),
        pass,
        unchanged,
        shared: shared.clone(),
    }
}

fn tags(all: &[String]) -> StringList {
    let mut list = StringList::default();
    all.iter().for_each(|tag| list.add(tag.clone()));
    list
}

fn archive(
    rustic: &Rustic<IndexedIdsStatus>,
    source: &Source,
    marks: &[String],
    parent: Option<SnapshotId>,
) -> Result<SnapshotFile, BackupError> {
    let failed = |e: Box<rustic_core::RusticError>| BackupError::of("store the files", &e);
    let about = SnapshotOptions::default()
        .host(HOST.to_owned())
        .command("startclaw".to_owned())
        .time(Zoned::now());
    let mut snapshot = about.to_snapshot().map_err(failed)?;
    snapshot.tags = tags(marks);
    let parents = ParentOptions::default()
        .parents(parent.iter().map(|id| id.to_hex().to_string()).collect::<Vec<_>>())
        .force(parent.is_none());
    let options =
        BackupOptions::default().as_path(PathBuf::from(PATH)).no_scan(true).parent_opts(parents);
    let done = rustic.archive(&options, source, snapshot, std::slice::from_ref(&source.root));
    done.map_err(|e| {
        let error = failed(e);
        match source.shared.outcome() {
            Err(unreadable) => unreadable,
            Ok(()) => error,
        }
    })
}

/// The error when a command other than the expected one, or none, was received.
pub(crate) fn aborted(got: Option<Command>) -> BackupError {
    let text = match got {
        None => "the daemon went away; the snapshot does not count",
        Some(_) => "the folder did not hold still until all was read; the snapshot does not count",
    };
    BackupError::new(BackupErrorKind::Died, text)
}
