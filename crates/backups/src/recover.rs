//! Recovery on a new machine, from the destination of the backups and the master key.
//!
//! The database is restored into a temporary file, and a restore of each instance is requested in
//! it. Once the file is in place, the daemon carries out these restores like any other.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream};
use startclaw_backup::{BackupError, BackupErrorKind, Job, Report, Repository, Work, WorkerLimits};
use startclaw_engine::{EngineError, backoff, lack_of_space, space_for};
use startclaw_model::{
    Actor, CONTROL_PLANE, Instance, InstanceId, Name, Operation, OperationKind, OperationState,
    Presence, Snapshot, SnapshotId, Timestamp,
};
use startclaw_store::{Copy, Store};
use startclaw_vault::Vault;

use crate::{
    BackupSettings, DATABASE, Repositories, RepositoryLayout, finish,
    held::{Held, snapshot},
    passes, unexpected_report,
};

/// Repositories that are listed in parallel: listing mostly waits for the bucket.
const SIDE_BY_SIDE: usize = 4;
/// The number of attempts after temporary errors.
const TRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// What is needed to recover the platform.
pub struct Recovery {
    vault: Vault,
    places: RepositoryLayout,
    repositories: Arc<dyn Repositories>,
    limits: WorkerLimits,
}

/// The recovery of an instance.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Recovered {
    /// The instance.
    pub name: Name,
    /// The snapshot that it is restored from.
    pub snapshot: Option<SnapshotId>,
    /// When that was taken. Without a snapshot the instance starts empty: it has no backup.
    pub taken_at: Option<Timestamp>,
    /// Why it is not restored now; its backups are left as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The database as it was backed up.
#[derive(Debug, Clone)]
pub struct RecoveredDatabase {
    /// The file.
    pub file: PathBuf,
    /// When it was backed up: what changed later is not known.
    pub taken_at: Timestamp,
    /// Newer backups of it that cannot be restored, and why.
    pub skipped: Vec<(Timestamp, String)>,
}

impl Recovery {
    /// Recovers from the destination in the settings, with the master key of `vault`.
    ///
    /// # Errors
    /// When the settings are invalid.
    pub fn new(
        vault: Vault,
        repositories: Arc<dyn Repositories>,
        settings: &BackupSettings,
    ) -> Result<Self, BackupError> {
        let limits =
            WorkerLimits { memory_mib: settings.worker_memory_mib, threads: settings.threads() };
        Ok(Self { vault, places: RepositoryLayout::new(settings)?, repositories, limits })
    }

    /// Restores the newest backup of the database that can be restored, or the newest one that was
    /// taken before `before`, into `folder`, as user `uid`.
    ///
    /// # Errors
    /// Errors of the storage; [`BackupErrorKind::NoSnapshot`] when there is no backup of the
    /// database.
    pub async fn fetch_database(
        &self,
        folder: &Path,
        uid: u32,
        before: Option<Timestamp>,
    ) -> Result<RecoveredDatabase, BackupError> {
        let repository = self.places.offsite(&self.vault, CONTROL_PLANE);
        let mut all = self.list(&repository).await?.snapshots;
        all.retain(|info| before.is_none_or(|time| info.taken_at < time));
        let mut skipped = Vec::new();
        for info in all {
            // Each into a folder of its own: a restore that failed leaves files.
            let root = folder.join(&info.id);
            std::fs::create_dir(&root).map_err(|e| BackupError {
                kind: BackupErrorKind::Unavailable,
                message: format!("cannot create {}: {e}", root.display()),
            })?;
            let work = Work::Restore { snapshot: info.id, root: root.clone(), uid };
            match self.run(repository.clone(), work).await {
                Ok(_) => {
                    let (file, taken_at) = (root.join(DATABASE), info.taken_at);
                    return Ok(RecoveredDatabase { file, taken_at, skipped });
                }
                Err(e) if e.kind == BackupErrorKind::Damaged => {
                    skipped.push((info.taken_at, e.message));
                }
                Err(e) => return Err(e),
            }
        }
        let address = &repository.storage.destination;
        let message = match skipped.first() {
            Some((_, why)) => {
                format!("no backup of StartClaw's database at {address} is whole: {why}")
            }
            None => format!(
                "there is no backup of StartClaw's database at {address}: check that this is the destination of the backups"
            ),
        };
        Err(BackupError { kind: BackupErrorKind::NoSnapshot, message })
    }

    /// Requests, in the restored database, a restore of each instance from its newest backup, and
    /// reports each to `tell`. One whose backups cannot be read, that is in `without`, or that does
    /// not fit into the `free` bytes of the disk with those before it, is left as it is: it can be
    /// restored later. Without a number the disk is not considered.
    ///
    /// # Errors
    /// Errors of the database; then nothing was changed outside that database.
    pub async fn restore_snapshots(
        &self,
        store: &Store,
        without: &[Name],
        mut free: Option<u64>,
        mut tell: impl FnMut(&Recovered),
    ) -> Result<Vec<Recovered>, EngineError> {
        let mut known: Vec<_> =
            store.archives().await?.into_iter().map(|a| (a.id, a.name)).collect();
        let instances = store.instances().await?;
        known.extend(instances.iter().map(|i| (i.id.clone(), i.name.clone())));
        let mut looks = stream::iter(known)
            .map(|(id, name)| async move {
                let held = if without.contains(&name) {
                    Err("it was left out".to_owned())
                } else {
                    self.held(store, &id, &name).await
                };
                (id, held)
            })
            // In their order, so that it does not depend on the bucket which ones fit.
            .buffered(SIDE_BY_SIDE);
        let mut all = Vec::new();
        while let Some((id, held)) = looks.next().await {
            if let Ok(held) = &held {
                note_held(store, &id, held).await?;
            } else {
                store.set_copies(&id, Copy::Local, &[]).await?;
            }
            let instance = instances.iter().find(|i| i.id == id);
            // The removal of an instance continues.
            let living = instance.filter(|i| i.desired.presence == Presence::Present);
            if let Some(instance) = living {
                let recovered = match held.and_then(|held| fitting(held, &mut free)) {
                    Ok(held) => reset_instances(store, instance, held.first()).await?,
                    Err(why) => leave_out(store, instance, why).await?,
                };
                tell(&recovered);
                all.push(recovered);
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The snapshots of an instance, newest first. An error when there are none although there were
    /// some: then it would begin empty.
    async fn held(
        &self,
        store: &Store,
        id: &InstanceId,
        name: &Name,
    ) -> Result<Vec<Snapshot>, String> {
        let repository = self.places.offsite(&self.vault, id.as_str());
        let Held { snapshots, damaged } = self.list(&repository).await.map_err(|e| e.message)?;
        if !snapshots.is_empty() {
            return Ok(snapshots.iter().map(|s| snapshot(id, name, s, Copy::Remote)).collect());
        }
        if !damaged.is_empty() {
            return Err(format!("all of its {} backups are damaged", damaged.len()));
        }
        let known = store.snapshots(id).await.map_err(|e| e.to_string())?;
        match known.iter().filter(|s| s.remote).count() {
            0 => Ok(Vec::new()),
            count => Err(format!("its {count} backups are missing at the destination")),
        }
    }

    async fn list(&self, repository: &Repository) -> Result<Held, BackupError> {
        match self.run(repository.clone(), Work::List).await? {
            Report::Listed { snapshots, damaged } => Ok(Held { snapshots, damaged }),
            other => Err(unexpected_report(other)),
        }
    }

    async fn run(&self, repository: Repository, work: Work) -> Result<Report, BackupError> {
        let job = Job { repository: Some(repository), limits: self.limits, work };
        let mut attempt = 0;
        loop {
            attempt += 1;
            let done = match self.repositories.begin(&job).await {
                Ok(mut session) => finish(session.as_mut(), |_| {}).await,
                Err(e) => Err(e),
            };
            match done {
                Err(e) if passes(&e) && attempt < TRIES => {
                    tracing::warn!(error = %e.message, "trying again");
                    tokio::time::sleep(backoff(attempt, FIRST_WAIT, LONGEST_WAIT)).await;
                }
                done => return done,
            }
        }
    }
}

/// The copies on the old machine are lost; the bucket may hold newer snapshots than the database.
async fn note_held(store: &Store, id: &InstanceId, held: &[Snapshot]) -> Result<(), EngineError> {
    for snapshot in held {
        store.add_snapshot(snapshot).await?;
    }
    let ids: Vec<_> = held.iter().map(|s| s.id.clone()).collect();
    store.set_copies(id, Copy::Remote, &ids).await?;
    Ok(store.set_copies(id, Copy::Local, &[]).await?)
}

/// The snapshots, if the newest fits on the disk; what it takes is not free any more then.
fn fitting(held: Vec<Snapshot>, free: &mut Option<u64>) -> Result<Vec<Snapshot>, String> {
    let needed = held.first().map_or(0, space_for);
    if let Some(left) = free.filter(|_| needed > 0) {
        if let Some(why) = lack_of_space(needed, left) {
            return Err(why);
        }
        *free = Some(left - needed);
    }
    Ok(held)
}

async fn reset_instances(
    store: &Store,
    instance: &Instance,
    newest: Option<&Snapshot>,
) -> Result<Recovered, EngineError> {
    let Instance { id, name, .. } = instance;
    let recovered = Recovered {
        name: name.clone(),
        snapshot: newest.map(|s| s.id.clone()),
        taken_at: newest.map(|s| s.taken_at),
        error: None,
    };
    // A new instance whose first restore, of another instance's snapshot, is not complete: the
    // daemon continues it.
    if newest.is_none() && instance.desired.volumes.awaits_restore() {
        return Ok(recovered);
    }
    end_jobs(store, id).await?;
    let Some(newest) = newest else {
        let anew = |desired: &mut startclaw_model::Desired| {
            desired.volumes.reset(false);
            true
        };
        store.amend(id, anew).await?;
        return Ok(recovered);
    };
    let mut operation =
        Operation::new(OperationKind::Restore, id.clone(), name.clone(), Actor::system());
    operation.snapshot = Some(newest.id.clone());
    operation.source = Some(id.clone());
    let anew = |desired: &mut startclaw_model::Desired| {
        desired.volumes.reset(true);
        Ok(())
    };
    store.change(&operation, anew, &[], &[], None).await?;
    Ok(recovered)
}

/// The instance is not restored now. It waits with an alert, because its volume is missing, until it
/// is restored by a request.
async fn leave_out(
    store: &Store,
    instance: &Instance,
    why: String,
) -> Result<Recovered, EngineError> {
    end_jobs(store, &instance.id).await?;
    store
        .amend(&instance.id, |desired| {
            desired.volumes.abort_restore();
            desired.volumes.mark_used();
            true
        })
        .await?;
    let name = instance.name.clone();
    Ok(Recovered { name, snapshot: None, taken_at: None, error: Some(why) })
}

/// Ends the jobs that the lost machine had begun.
async fn end_jobs(store: &Store, id: &InstanceId) -> Result<(), EngineError> {
    for mut open in store.open_operations(id).await? {
        if matches!(
            open.kind,
            OperationKind::Backup | OperationKind::Restore | OperationKind::Drill
        ) {
            open.state = OperationState::Failed;
            open.error = Some("the machine was lost meanwhile".into());
            open.finished_at = Some(Timestamp::now());
            store.save_operation(&open).await?;
        }
    }
    Ok(())
}
