//! A backup: a first pass while the instance runs, a second one while it is frozen, and the upload
//! to the bucket.

use std::time::Duration;

use startclaw_backup::{BackupError, BackupErrorKind, Command, Event, Report, SnapshotInfo, Work};
use startclaw_engine::EngineError;
use startclaw_model::{
    Actor, EventKind, Instance, Operation, Presence, Snapshot, SnapshotId, StepName,
};
use startclaw_store::Copy;
use tokio::time::Instant;

use crate::{Backups, Session, attempts::Attempts, unexpected};

/// The number of attempts before a backup fails.
const TRIES: u32 = 3;

impl Backups {
    /// Makes a requested backup.
    pub(crate) async fn back_up(&self, mut operation: Operation) -> Result<(), EngineError> {
        let alert = format!("backup/{}", operation.name);
        let mut attempts = Attempts::default();
        let mut repaired = false;
        while let Some(room) =
            self.next_attempt(&mut attempts, &mut operation, &self.inner.jobs.rooms.backups).await?
        {
            let Some((instance, _)) =
                self.engine.store().instance_and_key(&operation.instance).await?
            else {
                return self
                    .engine
                    .finish(&mut operation, Err("the instance is gone".into()))
                    .await;
            };
            if instance.desired.presence == Presence::Absent {
                let why = "the instance is being removed, which takes a final backup automatically";
                return self.engine.finish(&mut operation, Err(why.into())).await;
            }
            if let Some(lost) = self.engine.lost_data(&instance).await {
                // The instance has an alert already; earlier backups are not changed.
                let why = format!(
                    "{lost}, so there is nothing to back up; restore it with: startclaw restore {} latest",
                    instance.name
                );
                return self.engine.finish(&mut operation, Err(why)).await;
            }
            match self.take(&instance, &mut operation).await {
                Ok(snapshot) => {
                    // An upload may take long, and the next backup must not wait for it.
                    drop(room);
                    self.note_snapshot(&instance, &snapshot).await?;
                    operation.snapshot = Some(SnapshotId(snapshot.id));
                    self.engine.store().resolve(&alert).await?;
                    return self.after_backup(&instance, operation).await;
                }
                Err(_) if self.engine.is_stopping() => return Ok(()),
                Err(e) if e.kind == BackupErrorKind::Damaged && !repaired => {
                    repaired = true;
                    // What cannot be repaired is recorded, and fails the next attempt.
                    let _ = self.repair(&instance.id, &instance.name, Copy::Local).await?;
                    attempts.failed(e);
                }
                Err(e) if e.is_disk_full() && is_nightly(&operation) && !expired(&operation) => {
                    tracing::warn!(name = %instance.name, error = %e.message, "deleting expired backups");
                    operation.fail_step(&e.message);
                    self.engine.step(&mut operation, StepName::Forget).await;
                    self.apply_retention(&instance.id, &instance.name).await?;
                }
                Err(e) if attempts.retries(&e, TRIES) => attempts.failed(e),
                Err(e) => {
                    self.free_unused(&operation.instance, &operation.name).await;
                    let again = self.is_tried_again(&operation).await?;
                    if !again {
                        self.engine.store().fire(&alert, &e.message).await?;
                        self.engine.alerts_changed();
                    }
                    metrics::counter!("startclaw_backups_failed_total").increment(1);
                    let about = Some((&operation.instance, &operation.name));
                    let then = if again { "; it is tried again tonight" } else { "" };
                    let what = format!("its backup failed: {}{then}", e.message);
                    self.engine.record(EventKind::Failed, about, &Actor::system(), &what).await;
                    return self.engine.finish(&mut operation, Err(e.message)).await;
                }
            }
        }
        Ok(())
    }

    /// The upload and, after a nightly backup, the maintenance.
    async fn after_backup(
        &self,
        instance: &Instance,
        mut operation: Operation,
    ) -> Result<(), EngineError> {
        let Some(_room) = self.enter(&self.inner.jobs.rooms.uploads).await else { return Ok(()) };
        let Instance { id, name, .. } = instance;
        self.upload_pending_of(id, name, Some(&mut operation)).await?;
        if self.engine.is_stopping() {
            return Ok(());
        }
        let outcome = if is_nightly(&operation) {
            self.run_maintenance(id, name, &mut operation).await?
        } else {
            Ok(())
        };
        if self.engine.is_stopping() {
            return Ok(());
        }
        self.inner.control_plane.note_change();
        self.engine.finish(&mut operation, outcome).await
    }

    /// Stores a snapshot in the database.
    pub(crate) async fn note_snapshot(
        &self,
        instance: &Instance,
        info: &SnapshotInfo,
    ) -> Result<(), EngineError> {
        let bucket = self.inner.layout.has_bucket();
        // A repository on this host that was begun again counts from one; the bucket does not.
        let known = self.engine.store().snapshots(&instance.id).await?;
        let last = known.iter().filter_map(|s| s.sequence).max();
        let sequence = info.sequence.max(last.map(|last| last + 1));
        self.engine
            .store()
            .add_snapshot(&Snapshot {
                id: SnapshotId(info.id.clone()),
                instance: instance.id.clone(),
                name: instance.name.clone(),
                sequence,
                taken_at: info.taken_at,
                files: info.files,
                bytes: info.bytes,
                added_bytes: info.added_bytes,
                local: bucket,
                remote: !bucket,
                verified_local: None,
                verified_remote: None,
            })
            .await?;
        self.engine.show_backups().await?;
        metrics::counter!("startclaw_backups_total").increment(1);
        metrics::counter!("startclaw_backup_stored_bytes_total").increment(info.added_bytes);
        Ok(())
    }

    async fn take(
        &self,
        instance: &Instance,
        operation: &mut Operation,
    ) -> Result<SnapshotInfo, BackupError> {
        let taken = self.take_snapshot(instance, operation).await;
        if !self.inner.layout.has_bucket() {
            self.note_destination_error(&taken).await.map_err(inside)?;
        }
        taken
    }

    async fn take_snapshot(
        &self,
        instance: &Instance,
        operation: &mut Operation,
    ) -> Result<SnapshotInfo, BackupError> {
        let spec = self.engine.spec_of(instance).await.map_err(unavailable)?;
        let data = self.engine.host().volume_mount(&spec).await.map_err(unavailable)?;
        let data = data.ok_or_else(|| BackupError {
            kind: BackupErrorKind::Unavailable,
            message: format!("{} has no volume yet", instance.name),
        })?;
        self.engine.step(operation, StepName::Scan).await;
        let work = Work::Take { root: data.root, live: true, exclude: excluded(), check: true };
        let job = self.job(self.first_repository(instance.id.as_str()).await?, work);
        let mut session = self.inner.repositories.begin(&job).await?;
        loop {
            let Some(event) = self.engine.unless_stopped(session.next()).await else {
                return Err(stopped());
            };
            match event? {
                Event::Progress(now) => self.engine.show_progress(operation, crate::shown(now)),
                // Not interrupted by a stop of the engine: it is short, and the instance must not
                // stay frozen.
                Event::Ready => self.frozen_pass(session.as_mut(), instance, operation).await?,
                Event::Done(Report::Taken(info)) => return Ok(info),
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// The second pass, of the frozen instance.
    async fn frozen_pass(
        &self,
        session: &mut dyn Session,
        instance: &Instance,
        operation: &mut Operation,
    ) -> Result<(), BackupError> {
        self.engine.step(operation, StepName::Quiesce).await;
        let spec = self.engine.spec_of(instance).await.map_err(unavailable)?;
        let limit = self.engine.timing().pause_limit;
        let rested = self.request_quiesce(instance, &spec).await;
        // From here on the reconcile loop does not change the instance.
        let hold = self.engine.lock(&instance.id).await;
        self.engine.step(operation, StepName::Freeze).await;
        let begun = Instant::now();
        let frozen = self.freeze(instance, &spec).await;
        let mut exceeded = false;
        let read = match &frozen {
            Ok(_) => tokio::time::timeout(limit, read_all(session)).await.unwrap_or_else(|_| {
                exceeded = true;
                Err(BackupError {
                    kind: BackupErrorKind::Stalled,
                    message: format!(
                        "it had to freeze the instance for more than {} s; raise backup.longest_pause",
                        limit.as_secs()
                    ),
                })
            }),
            Err(e) => Err(e.clone()),
        };
        let was_frozen = matches!(frozen, Ok(true));
        let still = match frozen {
            Ok(false) => Ok(true),
            // Also after a freeze that failed: it may have taken effect.
            Ok(true) | Err(_) => self.unfreeze(&spec).await,
        };
        let paused = begun.elapsed();
        drop(hold);
        if let Some(id) = rested {
            self.request_resume(instance, &spec, &id).await;
        }
        if was_frozen {
            self.note_pause(instance, paused, exceeded).await;
        }
        metrics::histogram!("startclaw_backup_pause_seconds").record(paused.as_secs_f64());
        if let Some(step) = operation.steps.last_mut() {
            step.detail = Some(format!("frozen for {} ms", paused.as_millis()));
        }
        let held_still = read.and_then(|()| match still {
            Ok(true) => Ok(()),
            Ok(false) => Err(BackupError {
                kind: BackupErrorKind::Stalled,
                message: "the instance was unfrozen before everything was read".into(),
            }),
            Err(e) => Err(e),
        });
        match held_still {
            Ok(()) => {
                self.engine.step(operation, StepName::Commit).await;
                session.send(Command::Commit).await
            }
            Err(e) => {
                // An error is ignored: the worker ends when the session is dropped.
                let _ = session.send(Command::Abort).await;
                Err(e)
            }
        }
    }
}

/// Whether maintenance belongs to a backup.
fn is_nightly(operation: &Operation) -> bool {
    operation.actor == Actor::system()
}

/// Whether expired snapshots were deleted in this night.
pub(crate) fn expired(operation: &Operation) -> bool {
    operation.steps.iter().any(|step| step.name == StepName::Forget)
}

/// Starts the second pass, and waits until everything is read.
async fn read_all(session: &mut dyn Session) -> Result<(), BackupError> {
    session.send(Command::Go).await?;
    loop {
        match session.next().await? {
            Event::Progress(_) => {}
            Event::Read => return Ok(()),
            other => return Err(unexpected(&other)),
        }
    }
}

/// Paths that OpenClaw can recreate, and that are not backed up.
pub(crate) fn excluded() -> Vec<String> {
    startclaw_openclaw::EPHEMERAL.iter().map(|&name| name.to_owned()).collect()
}

pub(crate) fn unavailable(e: startclaw_host::HostError) -> BackupError {
    BackupError { kind: BackupErrorKind::Unavailable, message: e.message }
}

/// An error of the database.
pub(crate) fn inside(e: impl Into<EngineError>) -> BackupError {
    BackupError { kind: BackupErrorKind::Died, message: e.into().to_string() }
}

pub(crate) fn stopped() -> BackupError {
    BackupError { kind: BackupErrorKind::Died, message: "the daemon is stopping".into() }
}

/// How long unfreezing is retried before it is left to the reconcile loop.
pub(crate) const UNFREEZE_TIMEOUT: Duration = Duration::from_secs(5);
