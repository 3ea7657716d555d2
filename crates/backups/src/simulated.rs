//! Repositories in memory, with fault injection for tests.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use startclaw_backup::{
    BackupError, BackupErrorKind, Command, Event, Job, Report, Repository, SnapshotInfo, Work,
};
use startclaw_model::Timestamp;

use crate::{Repositories, Session};

/// Chooses the error of each job.
type Decider = dyn Fn(&Job) -> Option<BackupError> + Send;

/// Chooses how long each job hangs, before it ends as one that made no progress.
type HangDecider = dyn Fn(&Job) -> Option<Duration> + Send;

/// Repositories in memory. Clones share them.
#[derive(Clone, Default)]
pub struct SimulatedRepositories(Arc<Shared>);

/// The content of a destination.
#[derive(Debug, Clone)]
pub struct Contents {
    destination: String,
    snapshots: HashMap<String, Vec<SnapshotInfo>>,
    identity: Option<String>,
}

#[derive(Default)]
struct Shared {
    snapshots: Mutex<HashMap<String, Vec<SnapshotInfo>>>,
    /// The identities of destinations, by their addresses.
    identities: Mutex<HashMap<String, String>>,
    damaged: Mutex<HashMap<String, Vec<String>>>,
    faults: Mutex<Option<Box<Decider>>>,
    hangs: Mutex<Option<Box<HangDecider>>>,
    second_pass: Mutex<Duration>,
}

impl Contents {
    /// Whether nothing is there, not even an identity.
    pub fn is_empty(&self) -> bool {
        self.identity.is_none() && self.snapshots.values().all(Vec::is_empty)
    }

    /// How many repositories of instances have snapshots there.
    pub fn repositories(&self) -> usize {
        let of_instance = |place: &str| !place.ends_with(startclaw_model::CONTROL_PLANE);
        let held = self.snapshots.iter();
        held.filter(|(place, held)| of_instance(place) && !held.is_empty()).count()
    }
}

impl SimulatedRepositories {
    /// Calls `decide` for each job.
    pub fn fail_by(&self, decide: impl Fn(&Job) -> Option<BackupError> + Send + 'static) {
        *self.0.faults.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(decide));
    }

    /// Calls `decide` for each job.
    pub fn hang_by(&self, decide: impl Fn(&Job) -> Option<Duration> + Send + 'static) {
        *self.0.hangs.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(decide));
    }

    /// Lets second passes take this long.
    pub fn slow_down(&self, second_pass: Duration) {
        *self.0.second_pass.lock().unwrap_or_else(PoisonError::into_inner) = second_pass;
    }

    /// Stops the injection of faults.
    pub fn heal(&self) {
        *self.0.hangs.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.0.faults.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The snapshots of a repository, newest first.
    pub fn of(&self, repository: &Repository) -> Vec<SnapshotInfo> {
        self.all().get(&place(repository)).cloned().unwrap_or_default()
    }

    /// Empties everything at a destination, as a new bucket or an unmounted folder is.
    pub fn empty(&self, destination: &str) {
        let start = format!("{destination}/");
        self.all().retain(|place, _| !place.starts_with(&start));
        self.identities().remove(destination);
    }

    /// Takes the identity of a destination away: older versions gave none.
    pub fn forget_identity(&self, destination: &str) {
        self.identities().remove(destination);
    }

    /// Copies everything at a destination to another one, with the identity.
    pub fn copy(&self, from: &str, to: &str) {
        let Contents { snapshots, identity, .. } = self.contents(from);
        let moved = |place: String| format!("{to}{}", &place[from.len()..]);
        let snapshots = snapshots.into_iter().map(|(place, held)| (moved(place), held)).collect();
        self.bring_back(Contents { destination: to.to_owned(), snapshots, identity });
    }

    /// Damages a snapshot at a destination: it is listed as a damaged file of the same name.
    pub fn damage(&self, destination: &str, snapshot: &str) {
        let start = format!("{destination}/");
        let mut all = self.all();
        for (place, held) in all.iter_mut().filter(|(place, _)| place.starts_with(&start)) {
            if held.iter().any(|s| s.id == snapshot) {
                held.retain(|s| s.id != snapshot);
                self.damaged().entry(place.clone()).or_default().push(snapshot.to_owned());
            }
        }
    }

    /// The names of damaged snapshot files, by their repositories.
    fn damaged(&self) -> MutexGuard<'_, HashMap<String, Vec<String>>> {
        self.0.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loses a snapshot at a destination.
    pub fn lose(&self, destination: &str, snapshot: &str) {
        let start = format!("{destination}/");
        for (_, held) in self.all().iter_mut().filter(|(place, _)| place.starts_with(&start)) {
            held.retain(|s| s.id != snapshot);
        }
    }

    /// Everything at a destination, to bring it back.
    pub fn contents(&self, destination: &str) -> Contents {
        let start = format!("{destination}/");
        let all = self.all();
        let there = all.iter().filter(|(place, _)| place.starts_with(&start));
        Contents {
            snapshots: there.map(|(place, held)| (place.clone(), held.clone())).collect(),
            identity: self.identities().get(destination).cloned(),
            destination: destination.to_owned(),
        }
    }

    /// Brings the content of a destination back.
    pub fn bring_back(&self, contents: Contents) {
        self.empty(&contents.destination);
        self.all().extend(contents.snapshots);
        if let Some(id) = contents.identity {
            self.identities().insert(contents.destination, id);
        }
    }

    fn identities(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.identities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error if a job's destination does not have the identity that it expects.
    fn check_identity(&self, job: &Job) -> Result<(), BackupError> {
        let to = match &job.work {
            Work::Copy { to } => Some(to),
            Work::Repair { from } => Some(from),
            _ => None,
        };
        for repository in job.repository.iter().chain(to) {
            let found = self.identities().get(&address(repository)).cloned();
            if repository.destination_id.is_some() && repository.destination_id != found {
                let message = format!(
                    "{} is not the destination that holds the backups",
                    address(repository)
                );
                return Err(BackupError { kind: BackupErrorKind::Foreign, message });
            }
        }
        Ok(())
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Vec<SnapshotInfo>>> {
        self.0.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, job: &Job) -> Result<Report, BackupError> {
        let own = job.repository.as_ref().map(place).unwrap_or_default();
        let mut all = self.all();
        Ok(match &job.work {
            Work::Take { .. } => {
                let here = all.entry(own).or_default();
                let info = SnapshotInfo {
                    id: format!("{:032x}", rand::random::<u128>()),
                    sequence: Some(here.first().and_then(|s| s.sequence).unwrap_or(0) + 1),
                    taken_at: Timestamp::now(),
                    files: 1,
                    bytes: 1,
                    added_bytes: 1,
                };
                here.insert(0, info.clone());
                Report::Taken(info)
            }
            Work::Copy { to } => {
                let missing = all.get(&own).cloned().unwrap_or_default();
                let there = all.entry(place(to)).or_default();
                let copied: Vec<_> = missing.into_iter().filter(|s| !there.contains(s)).collect();
                there.splice(0..0, copied.iter().cloned());
                Report::Copied { copied, failed: Vec::new() }
            }
            Work::Restore { snapshot, .. } => {
                let there = all.get(&own).is_some_and(|all| all.iter().any(|s| s.id == *snapshot));
                if !there {
                    let message = format!("the repository has no snapshot {snapshot}");
                    return Err(BackupError { kind: BackupErrorKind::NoSnapshot, message });
                }
                Report::Restored { files: 1, bytes: 1 }
            }
            Work::Forget { snapshots } => {
                self.damaged().entry(own.clone()).or_default().retain(|s| !snapshots.contains(s));
                all.entry(own).or_default().retain(|s| !snapshots.contains(&s.id));
                Report::Forgotten { freed_bytes: 0 }
            }
            Work::Repair { .. } => Report::Repaired { repaired: Vec::new(), lost: Vec::new() },
            Work::Identify { create } => {
                let address = job.repository.as_ref().map(address).unwrap_or_default();
                let mut known = self.identities();
                if let Some(id) = create {
                    known.entry(address.clone()).or_insert_with(|| id.clone());
                }
                let start = format!("{address}/");
                let has_repositories = all.keys().any(|place| place.starts_with(&start));
                Report::Identified { id: known.get(&address).cloned(), has_repositories }
            }
            Work::Probe => Report::Probed { server_time: None },
            Work::Erase => {
                all.remove(&own);
                Report::Erased
            }
            Work::Check { .. } => Report::Checked { read_bytes: 0 },
            Work::CheckDatabases { .. } => Report::DatabasesChecked { good: 1, unknown: 0 },
            Work::List => Report::Listed {
                snapshots: all.get(&own).cloned().unwrap_or_default(),
                damaged: self.damaged().get(&own).cloned().unwrap_or_default(),
            },
        })
    }
}

fn place(repository: &Repository) -> String {
    format!("{}/{}", address(repository), repository.folder)
}

fn address(repository: &Repository) -> String {
    repository.storage.destination.to_string()
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
        self.check_identity(job)?;
        let hang = {
            let hangs = self.0.hangs.lock().unwrap_or_else(PoisonError::into_inner);
            hangs.as_ref().and_then(|decide| decide(job))
        };
        if let Some(time) = hang {
            return Ok(Box::new(Hanging(time)));
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
            slow: Duration::ZERO,
        }))
    }
}

/// A job that makes no progress, until it is ended for that.
struct Hanging(Duration);

#[async_trait]
impl Session for Hanging {
    async fn next(&mut self) -> Result<Event, BackupError> {
        tokio::time::sleep(self.0).await;
        let message = "the worker made no progress".to_owned();
        Err(BackupError { kind: BackupErrorKind::Stalled, message })
    }

    async fn send(&mut self, _: Command) -> Result<(), BackupError> {
        Ok(())
    }
}

struct Simulated {
    repositories: SimulatedRepositories,
    job: Job,
    events: VecDeque<Event>,
    aborted: bool,
    /// How long the next event takes.
    slow: Duration,
}

#[async_trait]
impl Session for Simulated {
    async fn next(&mut self) -> Result<Event, BackupError> {
        tokio::time::sleep(std::mem::take(&mut self.slow)).await;
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
            Command::Go => {
                let time = self.repositories.0.second_pass.lock();
                self.slow = *time.unwrap_or_else(PoisonError::into_inner);
                self.events.push_back(Event::Read);
            }
            Command::Commit => {}
            Command::Abort => self.aborted = true,
        }
        Ok(())
    }
}
