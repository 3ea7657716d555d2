//! Repairs a repository with the content of another one.
//!
//! Damaged files are hidden first, not removed. Then the data that the snapshots lack without them
//! is copied: from the other repository, or from what is readable in the damaged files. Only after
//! everything was read and verified, the damaged files are removed. If a snapshot remains
//! incomplete, they are set aside instead, because parts of it are in them.

mod damage;
mod view;

use std::{collections::HashSet, sync::Arc};

use rustic_core::{
    FileType, IndexedFullStatus, OpenStatus, RepairIndexOptions, Repository as Rustic, RusticError,
    StringList,
    repofile::{SnapshotFile, SnapshotId},
};
use startclaw_model::Timestamp;

pub(crate) use view::SET_ASIDE;
use view::View;

use crate::{
    BackupError, BackupErrorKind, ReadData, Repository, check,
    copy::{self, Numbers},
    keys,
    lock::Lock,
    meter::Meter,
    objects::{self, Backend, Objects, object_name},
    panics::Panics,
    repository,
    snapshot::{self, PENDING, Snapshots},
};

/// What was brought back, and what was not, for people.
#[derive(Debug, Default)]
pub(crate) struct Repaired {
    pub repaired: Vec<String>,
    pub lost: Vec<String>,
}

/// Repairs `repository` with the content of `from`.
pub(crate) fn repair(
    repository: &Repository,
    from: &Repository,
    meter: &Arc<Meter>,
    panics: &Panics,
) -> Result<Repaired, BackupError> {
    // In the same order in all jobs.
    let mut locks = [&repository.lock, &from.lock];
    locks.sort();
    let _locks = [Lock::take(locks[0])?, Lock::take(locks[1])?];
    let here = Place::new(repository, meter)?;
    let there = Place::new(from, meter)?;
    let mut done = Repaired::default();
    if !here.exists()? {
        return Ok(done);
    }
    if here.objects.keeps_all() {
        let text = format!(
            "backup.append_only is set, so that damaged files at {} cannot be replaced: unset it, \
             with credentials that may delete, until they are",
            here.location()
        );
        return Err(BackupError::new(BackupErrorKind::Refused, text));
    }
    if !there.exists()? {
        let text = format!("there is no repository at {} to repair from", there.location());
        return Err(BackupError::new(BackupErrorKind::NoSnapshot, text));
    }
    if here.repair_config(&there)? {
        done.repaired.push("the file `config`".to_owned());
    }
    if keys::repair(here.objects.as_ref(), &here.open([])?, repository)? {
        done.repaired.push("the key of the password".to_owned());
    }
    Repair::begin(&here, &there, panics)?.run(done)
}

/// A repository that is locked.
struct Place<'a> {
    repository: &'a Repository,
    objects: Arc<dyn Objects>,
    meter: &'a Arc<Meter>,
}

impl<'a> Place<'a> {
    fn new(repository: &'a Repository, meter: &'a Arc<Meter>) -> Result<Self, BackupError> {
        Ok(Self { repository, objects: objects::open(repository)?, meter })
    }

    fn location(&self) -> String {
        self.objects.location()
    }

    /// Whether there is a repository, or what is left of one.
    fn exists(&self) -> Result<bool, BackupError> {
        match repository::is_there(self.objects.as_ref()) {
            Err(e) if e.kind == BackupErrorKind::Damaged => Ok(true),
            result => result,
        }
    }

    fn view(&self, hidden: impl IntoIterator<Item = String>) -> Arc<View> {
        let inner = Backend { objects: self.objects.clone(), meter: self.meter.clone() };
        View::new(inner, hidden)
    }

    /// Opens the repository without the objects of these names.
    fn open(
        &self,
        hidden: impl IntoIterator<Item = String>,
    ) -> Result<Rustic<OpenStatus>, BackupError> {
        self.open_view(self.view(hidden))
    }

    fn open_view(&self, view: Arc<View>) -> Result<Rustic<OpenStatus>, BackupError> {
        repository::open_backend(view, self.repository, &self.location(), self.meter)
    }

    /// Opens the repository without its damaged index files, and names those.
    fn open_readable(&self) -> Result<(Rustic<OpenStatus>, Vec<String>), BackupError> {
        let damaged = damage::indexes(&self.open([])?)?;
        let names: Vec<_> = damaged.iter().map(|id| object_name(FileType::Index, id)).collect();
        Ok((self.open(names.clone())?, names))
    }

    /// Replaces a missing or damaged config by that of a repository with the same key. It may have
    /// been the config of a repository with another key: then it is put back.
    fn repair_config(&self, other: &Self) -> Result<bool, BackupError> {
        let Err(error) = self.open([]) else { return Ok(false) };
        let same_key = self.repository.key == other.repository.key;
        if error.kind == BackupErrorKind::Unavailable || !same_key {
            return Err(error);
        }
        other.open([])?;
        let stop = |e: objects::ObjectError| e.stop("repair", &self.location());
        let damaged = match self.objects.stat("config").map_err(stop)? {
            Some(_) => Some(self.objects.read("config", None).map_err(stop)?),
            None => None,
        };
        let config = other.objects.read("config", None).map_err(stop)?;
        self.objects.write("config", vec![config]).map_err(stop)?;
        let all = self.open([]).and_then(|rustic| Snapshots::read(&rustic))?;
        let readable = !all.valid.is_empty() || !all.unfinished.is_empty();
        if readable || all.damaged.is_empty() {
            return Ok(true);
        }
        match damaged {
            Some(content) => self.objects.write("config", vec![content]),
            None => self.objects.remove("config"),
        }
        .map_err(stop)?;
        Err(error)
    }
}

/// A repair under way.
struct Repair<'a> {
    place: &'a Place<'a>,
    panics: &'a Panics,
    /// What will be the repaired repository.
    view: Arc<View>,
    /// The repository as it was, with what is readable in damaged packs.
    before: Option<Rustic<IndexedFullStatus>>,
    there: Rustic<IndexedFullStatus>,
    mine: Snapshots,
    theirs: Snapshots,
    damaged_packs: usize,
    damaged_indexes: usize,
    /// Whether packs and index were all that the snapshots need.
    sound: bool,
}

impl<'a> Repair<'a> {
    fn begin(
        place: &'a Place<'a>,
        there: &Place<'_>,
        panics: &'a Panics,
    ) -> Result<Self, BackupError> {
        let (before, indexes) = place.open_readable()?;
        let packs = damage::packs(place.objects.as_ref(), place.meter)?;
        let mine = Snapshots::read(&before)?;
        let sound = is_complete(&before, &mine.valid, panics)?;
        // Without it, only what is in the other repository can be brought back.
        let before = panics.catch(|| before.to_indexed().map_err(failed)).ok();
        let (there, _) = there.open_readable()?;
        let theirs = Snapshots::read(&there)?;
        let there = there.to_indexed().map_err(failed)?;
        let (damaged_packs, damaged_indexes) = (packs.len(), indexes.len());
        let view = place.view(packs.into_iter().chain(indexes));
        Ok(Self {
            place,
            panics,
            view,
            before,
            there,
            mine,
            theirs,
            damaged_packs,
            damaged_indexes,
            sound,
        })
    }

    /// What will be the repaired repository.
    fn here(&self) -> Result<Rustic<OpenStatus>, BackupError> {
        self.place.open_view(self.view.clone())
    }

    fn run(self, mut done: Repaired) -> Result<Repaired, BackupError> {
        let no_damage = self.damaged_packs + self.damaged_indexes + self.mine.damaged.len() == 0;
        if self.sound && no_damage {
            return Ok(done);
        }
        let options = RepairIndexOptions::default();
        self.here()?.repair_index(&options, false).map_err(failed)?;
        let broken = self.incomplete()?;
        for (id, file) in &broken {
            self.bring_data(id, file)?;
        }
        self.bring_snapshots(&mut done)?;
        let lost = self.incomplete()?;
        self.report(&broken, &lost, &mut done);
        self.verify(&lost)?;
        self.hide_unfinished()?;
        self.view.commit(!lost.is_empty())?;
        Ok(done)
    }

    /// The snapshots that lack data.
    fn incomplete(&self) -> Result<Vec<(String, SnapshotFile)>, BackupError> {
        let here = self.here()?;
        let all = Snapshots::read(&here)?;
        if is_complete(&here, &all.valid, self.panics)? {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for snapshot in all.valid {
            if !is_complete(&here, std::slice::from_ref(&snapshot), self.panics)? {
                found.push(snapshot);
            }
        }
        Ok(found)
    }

    /// Copies the data that a snapshot lacks, from wherever it is readable.
    fn bring_data(&self, id: &str, file: &SnapshotFile) -> Result<(), BackupError> {
        // The copy of the snapshot itself is of no use, as the snapshot is there.
        let mut data_only = file.clone();
        data_only.tags = StringList::default();
        data_only.tags.add(PENDING.to_owned());
        let is_there = self.theirs.valid.iter().any(|(other, _)| other == id);
        let sources = [is_there.then_some(&self.there), self.before.as_ref()];
        for source in sources.into_iter().flatten() {
            if self.copy(source, &data_only)?.is_ok() {
                break;
            }
        }
        Ok(())
    }

    fn copy(
        &self,
        source: &Rustic<IndexedFullStatus>,
        file: &SnapshotFile,
    ) -> Result<Result<(), BackupError>, BackupError> {
        let (copied, _) = copy::copy_file(source, self.here()?, file, self.panics)?;
        Ok(copied)
    }

    /// Copies the snapshots whose files may be those that cannot be read here.
    fn bring_snapshots(&self, done: &mut Repaired) -> Result<(), BackupError> {
        let mut damaged = self.mine.damaged.clone();
        let mut others = 0;
        for (id, file) in self.candidates() {
            if let Err(e) = self.copy(&self.there, &file)? {
                done.lost.push(format!("the {}: {}", title(&id, &file), e.message));
                continue;
            }
            done.repaired.push(format!("the {}", title(&id, &file)));
            match damaged.iter().position(|name| file.original == Some(*name)) {
                Some(known) => self.hide_snapshot(damaged.remove(known)),
                None => others += 1,
            }
        }
        // Which of them is which cannot be told, and need not be if there are enough.
        if others >= damaged.len() {
            damaged.into_iter().for_each(|name| self.hide_snapshot(name));
        } else {
            let names = damaged.iter().map(snapshot::name);
            done.lost.extend(names.map(|name| format!("the snapshot file {name}")));
        }
        Ok(())
    }

    fn hide_snapshot(&self, name: SnapshotId) {
        self.view.hide(object_name(FileType::Snapshot, &name));
    }

    /// The snapshots of the other repository that may be the damaged ones: copies of those, and
    /// others that are missing here though they are newer than the oldest one. If these are too
    /// few, the newest of the rest.
    fn candidates(&self) -> Vec<(String, SnapshotFile)> {
        let damaged = &self.mine.damaged;
        if damaged.is_empty() {
            return Vec::new();
        }
        let age = |file: &SnapshotFile| (snapshot::sequence(file), file.time.timestamp());
        let known: HashSet<&str> = self.mine.valid.iter().map(|(id, _)| id.as_str()).collect();
        let oldest = self.mine.valid.last().map(|(_, file)| age(file));
        let numbers = Numbers::between(&self.theirs, &self.mine);
        let missing = self.theirs.valid.iter().filter(|(id, _)| !known.contains(id.as_str()));
        let numbered = missing.map(|(id, file)| (id.clone(), numbers.renumber(file)));
        let (mut likely, rest): (Vec<_>, Vec<_>) = numbered.partition(|(_, file)| {
            let is_copy = file.original.is_some_and(|name| damaged.contains(&name));
            is_copy || oldest.is_some_and(|oldest| age(file) > oldest)
        });
        let more = damaged.len().saturating_sub(likely.len());
        likely.extend(rest.into_iter().take(more));
        likely
    }

    fn report(
        &self,
        broken: &[(String, SnapshotFile)],
        lost: &[(String, SnapshotFile)],
        done: &mut Repaired,
    ) {
        let is_lost = |id: &str| lost.iter().any(|(other, _)| other == id);
        let whole = broken.iter().filter(|(id, _)| !is_lost(id));
        done.repaired.extend(whole.map(|(id, file)| format!("data of the {}", title(id, file))));
        let counts = [(self.damaged_packs, "damaged pack"), (self.damaged_indexes, "index file")];
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            let plural = if count == 1 { "" } else { "s" };
            done.repaired.push(format!("{count} {what}{plural}"));
        }
        if !self.sound && done.repaired.is_empty() {
            done.repaired.push("the index".to_owned());
        }
        done.lost.extend(lost.iter().map(|(id, file)| format!("data of the {}", title(id, file))));
    }

    /// Reads all data of the snapshots that are complete.
    fn verify(&self, lost: &[(String, SnapshotFile)]) -> Result<(), BackupError> {
        let here = self.here()?;
        let all = Snapshots::read(&here)?.valid.into_iter();
        let whole = all.filter(|(id, _)| lost.iter().all(|(other, _)| other != id));
        let trees = whole.map(|(_, file)| file.tree).collect();
        self.panics.catch(|| check::check_trees(&here, trees, ReadData::All))
    }

    fn hide_unfinished(&self) -> Result<(), BackupError> {
        let here = self.here()?;
        let unfinished = Snapshots::read(&here)?.unfinished;
        here.delete_snapshots(&unfinished).map_err(failed)
    }
}

/// Whether all data of these snapshots is there.
fn is_complete(
    rustic: &Rustic<OpenStatus>,
    snapshots: &[(String, SnapshotFile)],
    panics: &Panics,
) -> Result<bool, BackupError> {
    let trees = snapshots.iter().map(|(_, file)| file.tree).collect();
    match panics.catch(|| check::check_trees(rustic, trees, ReadData::Nothing)) {
        Ok(()) => Ok(true),
        Err(e) if e.kind == BackupErrorKind::Damaged => Ok(false),
        Err(e) => Err(e),
    }
}

fn failed(e: Box<RusticError>) -> BackupError {
    BackupError::of("repair the repository", &e)
}

/// How a snapshot is named to people.
fn title(id: &str, file: &SnapshotFile) -> String {
    let time = Timestamp::from_millis(file.time.timestamp().as_millisecond());
    format!("snapshot {id} of {time}")
}
