//! Takes a snapshot.
//!
//! A folder in use is read in two passes: the first stores nearly everything while it changes; then
//! the folder is frozen, and the second pass stores the changes. Only the second one is a valid
//! snapshot, and only after a commit, which confirms that the folder was frozen until everything
//! was read.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError},
};

use rustic_core::jiff::Zoned;
use rustic_core::{
    BackupOptions, IndexedIdsStatus, OpenStatus, ParentOptions, ReadSource, ReadSourceOpen,
    Repository as Rustic, SnapshotOptions, StringList,
    repofile::{SnapshotFile, SnapshotId},
};

use crate::{
    BackupError, BackupErrorKind, Command, Event, ReadData, SnapshotInfo, check,
    checkpoints::PausedCheckpoints,
    frozen::Frozen,
    listing::Listing,
    meter::Meter,
    objects::Objects,
    packs,
    reader::Shared,
    recorded::Recorded,
    snapshot::{self, FIRST_PASS, HOST, PATH, PENDING, Snapshots},
    source::{Pass, Source},
    spool::Spool,
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
    /// A folder on this host for files without a name.
    pub spool: PathBuf,
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
    let parent = newest.map(|s| s.id);
    let mut unfinished = Vec::new();
    let mut first_added = 0;
    let id = snapshot::new_id();
    let marks = [id.clone(), PENDING.to_owned()];
    let (pending, shared) = if wanted.live {
        let first = first_pass(&indexed, wanted, parent, meter)?;
        first_added = snapshot::info(&first.snapshot, String::new()).added_bytes;
        unfinished.push(first.snapshot.id);
        // Lets the second pass find what the first one stored.
        indexed = index(indexed.drop_index())?;
        second_pass(&indexed, wanted, first, &marks, talk)?
    } else {
        only_pass(&indexed, wanted, parent, &marks, talk, meter)?
    };
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

/// What the first pass leaves to the second one.
struct First {
    snapshot: SnapshotFile,
    found: Listing,
    unchanged: Unchanged,
    paused: PausedCheckpoints,
    meter: Arc<Meter>,
}

fn first_pass(
    rustic: &Rustic<IndexedIdsStatus>,
    wanted: &Taking,
    parent: Option<SnapshotId>,
    meter: &Arc<Meter>,
) -> Result<First, BackupError> {
    let paused = PausedCheckpoints::begin(&wanted.root, &wanted.exclude, meter);
    let unchanged = Unchanged::begin(&wanted.root, meter);
    let shared = Shared::new(meter.clone(), wanted.root.clone(), || {});
    let source = source(wanted, Pass::First, unchanged, &shared);
    let snapshot = archive(rustic, &source, wanted, &shared, &[FIRST_PASS.to_owned()], parent)?;
    // If the folder itself is unreadable, there is no first pass.
    shared.outcome()?;
    let mut found =
        std::mem::take(&mut *source.record.lock().unwrap_or_else(PoisonError::into_inner));
    found.not_stored(&shared.unstored());
    Ok(First { snapshot, found, unchanged, paused, meter: meter.clone() })
}

/// The second pass: a walk while the folder is frozen, and then the snapshot of what it found.
fn second_pass(
    rustic: &Rustic<IndexedIdsStatus>,
    wanted: &Taking,
    first: First,
    marks: &[String],
    talk: &Talk,
) -> Result<(SnapshotFile, Arc<Shared>), BackupError> {
    let First { snapshot, found, unchanged, paused, meter } = first;
    let spool = Spool::new(&wanted.spool);
    talk.say(Event::Ready);
    talk.expect(Command::Go)?;
    meter.begin(0);
    let shared = Shared::new(meter, wanted.root.clone(), read(talk, Some(paused)));
    let frozen = Frozen {
        root: &wanted.root,
        exclude: &wanted.exclude,
        unchanged,
        known: found,
        spool: &spool,
        shared: &shared,
    };
    let walked = frozen.walk().map_err(|e| shared.fail(&wanted.root, e));
    // Sooner than with what would be no snapshot.
    shared.outcome()?;
    let found = walked.map_err(|()| aborted(None))?;
    drop(frozen);
    shared.all_listed();
    let source = Recorded::new(&wanted.root, found, spool, unchanged, &shared);
    let pending = archive(rustic, &source, wanted, &shared, marks, Some(snapshot.id))?;
    Ok((pending, shared))
}

/// The pass over a folder that nothing writes to.
fn only_pass(
    rustic: &Rustic<IndexedIdsStatus>,
    wanted: &Taking,
    parent: Option<SnapshotId>,
    marks: &[String],
    talk: &Talk,
    meter: &Arc<Meter>,
) -> Result<(SnapshotFile, Arc<Shared>), BackupError> {
    meter.begin(0);
    let shared = Shared::new(meter.clone(), wanted.root.clone(), read(talk, None));
    let source = source(wanted, Pass::Final, Unchanged::at_rest(), &shared);
    let pending = archive(rustic, &source, wanted, &shared, marks, parent)?;
    Ok((pending, shared))
}

/// What happens when everything is read.
fn read(talk: &Talk, paused: Option<PausedCheckpoints>) -> impl FnOnce() + Send + 'static {
    let speaker = talk.speaker();
    move || {
        drop(paused);
        speaker.say(Event::Read);
    }
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
        record: Arc::default(),
    }
}

fn tags(all: &[String]) -> StringList {
    let mut list = StringList::default();
    all.iter().for_each(|tag| list.add(tag.clone()));
    list
}

fn archive<S>(
    rustic: &Rustic<IndexedIdsStatus>,
    source: &S,
    wanted: &Taking,
    shared: &Shared,
    marks: &[String],
    parent: Option<SnapshotId>,
) -> Result<SnapshotFile, BackupError>
where
    S: ReadSource<Iter: Send, Open: ReadSourceOpen + Send> + 'static,
{
    let failed = |e: Box<rustic_core::RusticError>| BackupError::of("store the files", &e);
    let about = SnapshotOptions::default()
        .host(HOST.to_owned())
        .command("startclaw".to_owned())
        .time(Zoned::now());
    let mut snapshot = about.to_snapshot().map_err(failed)?;
    snapshot.tags = tags(marks);
    let parents = ParentOptions::default()
        .parents(parent.iter().map(|id| id.to_hex().to_string()).collect::<Vec<_>>())
        // Means the contrary: only with it, rustic compares the inodes. They tell files apart that
        // changed places and have the same times and size.
        .ignore_inode(true)
        .force(parent.is_none());
    let options =
        BackupOptions::default().as_path(PathBuf::from(PATH)).no_scan(true).parent_opts(parents);
    let done = rustic.archive(&options, source, snapshot, std::slice::from_ref(&wanted.root));
    done.map_err(|e| {
        let error = failed(e);
        match shared.outcome() {
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
