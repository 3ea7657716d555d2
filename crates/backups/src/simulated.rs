//! Repositories in memory, with fault injection for tests.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use startclaw_backup::{
    BackupError, BackupErrorKind, Command, Event, Job, Report, Repository, SnapshotInfo, Work,
};
use startclaw_model::Timestamp;

use crate::{Repositories, Session};

/// Chooses the error of each job.
type Decider = dyn Fn(&Job) -> Option<BackupError> + Send;

/// Repositories in memory. Clones share them.
#[derive(Clone, Default)]
pub struct SimulatedRepositories(Arc<Shared>);

#[derive(Default)]
struct Shared {
    snapshots: Mutex<HashMap<String, Vec<SnapshotInfo>>>,
    faults: Mutex<Option<Box<Decider>>>,
}

impl SimulatedRepositories {
    /// Calls `decide` for each job.
    pub fn fail_by(&self, decide: impl Fn(&Job) -> Option<BackupError> + Send + 'static) {
        *self.0.faults.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(decide));
    }

    /// Stops the injection of faults.
    pub fn heal(&self) {
        *self.0.faults.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The snapshots of a repository, newest first.
    pub fn of(&self, repository: &Repository) -> Vec<SnapshotInfo> {
        self.all().get(&place(repository)).cloned().unwrap_or_default()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Vec<SnapshotInfo>>> {
        self.0.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, job: &Job) -> Result<Report, BackupError> {
        let own = job.repository.as_ref().map(place).unwrap_or_default();
        let mut all = self.all();
        Ok(match &job.work {
            Work::Take { .. } => {
                let info = SnapshotInfo {
                    id: format!("{:032x}", rand::random::<u128>()),
                    taken_at: Timestamp::now(),
                    files: 1,
                    bytes: 1,
                    added_bytes: 1,
                };
                all.entry(own).or_default().insert(0, info.clone());
                Report::Taken(info)
            }
            Work::Copy { to } => {
                let missing = all.get(&own).cloned().unwrap_or_default();
                let there = all.entry(place(to)).or_default();
                let copied: Vec<_> = missing.into_iter().filter(|s| !there.contains(s)).collect();
                there.splice(0..0, copied.iter().cloned());
                Report::Copied(copied)
            }
            Work::Restore { snapshot, .. } => {
                let there = all.get(&own).is_some_and(|all| all.iter().any(|s| s.id == *snapshot));
                if !there {
                    let message = format!("the repository has no snapshot {snapshot}");
                    return Err(BackupError { kind: BackupErrorKind::NoSnapshot, message });
                }
                Report::Restored { files: 1, bytes: 1 }
            }
            Work::Forget { .. } => Report::Forgotten {
                kept: all.get(&own).into_iter().flatten().map(|s| s.id.clone()).collect(),
                freed_bytes: 0,
            },
            Work::Erase => {
                all.remove(&own);
                Report::Erased
            }
            Work::Check { .. } => Report::Checked { read_bytes: 0 },
            Work::CheckDatabases { .. } => Report::DatabasesChecked { good: 1, unknown: 0 },
            Work::List => Report::Listed(all.get(&own).cloned().unwrap_or_default()),
        })
    }
}

fn place(repository: &Repository) -> String {
    format!("{}/{}", repository.storage.destination, repository.folder)
}

#[async_trait]
impl Repositories for SimulatedRepositories {
    async fn begin(&self, job: &Job) -> Result<Box<dyn Session>, BackupError> {
        let fault = {
            let faults = self.0.faults.lock().unwrap_or_else(PoisonError::into_inner);
            faults.as_ref().and_then(|decide| decide(job))
        };
        if let Some(error) = fault {
            return Err(error);
        }
        let mut events = VecDeque::new();
        if let Work::Take { live, .. } = &job.work {
            events.push_back(if *live { Event::Ready } else { Event::Read });
        }
        Ok(Box::new(Simulated {
            repositories: self.clone(),
            job: job.clone(),
            events,
            aborted: false,
        }))
    }
}

struct Simulated {
    repositories: SimulatedRepositories,
    job: Job,
    events: VecDeque<Event>,
    aborted: bool,
}

#[async_trait]
impl Session for Simulated {
    async fn next(&mut self) -> Result<Event, BackupError> {
        match self.events.pop_front() {
            Some(event) => Ok(event),
            None if self.aborted => Err(BackupError {
                kind: BackupErrorKind::Died,
                message: "the snapshot was aborted".into(),
            }),
            None => self.repositories.report(&self.job).map(Event::Done),
        }
    }

    async fn send(&mut self, command: Command) -> Result<(), BackupError> {
        match command {
            Command::Go => self.events.push_back(Event::Read),
            Command::Commit => {}
            Command::Abort => self.aborted = true,
        }
        Ok(())
    }
}
