//! Does the work of a job.

use std::{path::Path, sync::Arc};

use super::Talk;
use crate::{
    BackupError, BackupErrorKind, Job, Report, Repository, Work, check, copy, databases, forget,
    keys,
    lock::Lock,
    meter::Meter,
    objects,
    panics::Panics,
    repair,
    repository::{self, Make, Opened},
    restore, root,
    snapshot::{self, Snapshots},
    take::{self, Taking},
};

pub(super) fn do_work(
    job: &Job,
    meter: &Arc<Meter>,
    talk: &Talk,
    panics: &Panics,
) -> Result<Report, BackupError> {
    let Some(repository) = &job.repository else {
        return match &job.work {
            Work::CheckDatabases { .. } => check_databases(meter),
            _ => Err(BackupError::new(BackupErrorKind::Died, "the job names no repository")),
        };
    };
    match &job.work {
        Work::CheckDatabases { .. } => check_databases(meter),
        Work::Identify { create } => {
            let (id, has_repositories) = root::identify(&repository.storage, create.as_deref())?;
            Ok(Report::Identified { id, has_repositories })
        }
        work => {
            root::verify(repository)?;
            work_on(repository, work, meter, talk, panics)
        }
    }
}

fn work_on(
    repository: &Repository,
    work: &Work,
    meter: &Arc<Meter>,
    talk: &Talk,
    panics: &Panics,
) -> Result<Report, BackupError> {
    let existing = || repository::open(repository, Make::Never, meter);
    match work {
        Work::Take { root, live, exclude, check } => {
            let opened = repository::open(repository, Make::Fresh, meter)?;
            let Opened { rustic, objects, lock: _lock } = there(opened, repository)?;
            let taking = Taking {
                root: root.clone(),
                live: *live,
                exclude: exclude.clone(),
                check: *check,
                spool: repository.lock.parent().unwrap_or(Path::new("/")).to_owned(),
            };
            take::take(rustic, objects.as_ref(), &taking, meter, talk).map(Report::Taken)
        }
        Work::Copy { to } => {
            root::verify(to)?;
            let Some(Opened { rustic, lock: _lock, .. }) = existing()? else {
                return Ok(Report::Copied { copied: Vec::new(), failed: Vec::new() });
            };
            let done = copy::copy(rustic, to, meter, panics)?;
            Ok(Report::Copied { copied: done.copied, failed: done.failed })
        }
        Work::Restore { snapshot, root, uid } => {
            let opened = existing()?;
            let Opened { rustic, lock: _lock, .. } =
                opened.ok_or_else(|| snapshot::no_snapshot(snapshot))?;
            let (files, bytes) = restore::restore(rustic, snapshot, root, *uid, meter)?;
            Ok(Report::Restored { files, bytes })
        }
        Work::Forget { snapshots } => {
            let freed_bytes = match existing()? {
                Some(Opened { rustic, objects, lock: _lock }) => {
                    forget::forget(&rustic, objects.as_ref(), snapshots)?
                }
                None => 0,
            };
            Ok(Report::Forgotten { freed_bytes })
        }
        Work::Erase => erase(repository),
        Work::Check { read } => {
            if let Some(Opened { rustic, objects, lock: _lock }) = existing()? {
                keys::repair(objects.as_ref(), &rustic, repository)?;
                check::check(&rustic, *read)?;
                check::check_snapshots(&rustic)?;
            }
            Ok(Report::Checked { read_bytes: meter.packs() })
        }
        Work::List => {
            let all = match existing()? {
                Some(Opened { rustic, lock: _lock, .. }) => Snapshots::read(&rustic)?,
                None => Snapshots::default(),
            };
            Ok(Report::Listed { snapshots: all.infos(), damaged: all.damaged_names() })
        }
        Work::Probe => {
            let server_time = root::probe(&repository.storage)?;
            Ok(Report::Probed { server_time })
        }
        Work::Repair { from } => {
            root::verify(from)?;
            let done = repair::repair(repository, from, meter, panics)?;
            Ok(Report::Repaired { repaired: done.repaired, lost: done.lost })
        }
        Work::Identify { .. } | Work::CheckDatabases { .. } => {
            Err(BackupError::new(BackupErrorKind::Died, "the job needs no repository"))
        }
    }
}

fn erase(repository: &Repository) -> Result<Report, BackupError> {
    let _lock = Lock::take(&repository.lock)?;
    let objects = objects::open(repository)?;
    objects.erase().map_err(|e| e.stop("erase", &objects.location()))?;
    Ok(Report::Erased)
}

fn check_databases(meter: &Arc<Meter>) -> Result<Report, BackupError> {
    let (good, unknown) = databases::check(meter)?;
    Ok(Report::DatabasesChecked { good, unknown })
}

fn there(opened: Option<Opened>, repository: &Repository) -> Result<Opened, BackupError> {
    opened.ok_or_else(|| {
        let text = format!("the repository {} cannot be made", repository.folder);
        BackupError::new(BackupErrorKind::Unavailable, text)
    })
}
