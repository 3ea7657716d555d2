//! A restore until its volume is filled: then the reconcile loop switches the instance to it, or
//! rolls back if it does not start on it.

use std::fmt::Write as _;

use startclaw_backup::{BackupError, BackupErrorKind, Report, Repository, Work};
use startclaw_engine::EngineError;
use startclaw_host::{InstanceSpec, VolumeMount};
use startclaw_model::{
    Instance, InstanceId, Name, Operation, Presence, SnapshotId, StepName, Timestamp,
};
use startclaw_store::Copy;

use crate::{
    Backups,
    alerts::About,
    attempts::Attempts,
    bucket::is_away,
    finish,
    maintenance::CHECK,
    passes,
    space::Room,
    take::{inside, unavailable},
};

/// How often a restore is tried before it fails.
const TRIES: u32 = 5;

impl Backups {
    /// Fills the volume of a restore.
    pub(crate) async fn run_restore(&self, mut operation: Operation) -> Result<(), EngineError> {
        let (Some(snapshot), Some(source)) = (operation.snapshot.clone(), operation.source.clone())
        else {
            return Ok(());
        };
        let mut attempts = Attempts::default();
        while let Some(_room) = self
            .next_attempt(&mut attempts, &mut operation, &self.inner.jobs.rooms.restores)
            .await?
        {
            let Some((instance, _)) =
                self.engine.store().instance_and_key(&operation.instance).await?
            else {
                return Ok(());
            };
            let Some(generation) = instance.desired.volumes.filling else { return Ok(()) };
            let over = self.engine.operation(&operation.id).await?.state.is_over();
            if over || instance.desired.presence == Presence::Absent {
                // The removal also ends this operation.
                return Ok(());
            }
            let done = self
                .run_restore_once(&instance, generation, &source, &snapshot, &mut operation)
                .await;
            match done {
                Ok(()) => return self.switch_volume(&instance.id).await,
                Err(_) if self.engine.is_stopping() => return Ok(()),
                Err(e) if is_retryable(&instance, &e, &attempts) => attempts.failed(e),
                Err(e) => return self.abort_restore(&instance, &mut operation, e).await,
            }
        }
        Ok(())
    }

    async fn run_restore_once(
        &self,
        instance: &Instance,
        generation: u64,
        source: &InstanceId,
        snapshot: &SnapshotId,
        operation: &mut Operation,
    ) -> Result<(), BackupError> {
        let spec = InstanceSpec {
            volume: generation,
            ..self.engine.spec_of(instance).await.map_err(unavailable)?
        };
        let room = self.room_for(operation, source, snapshot).await?;
        if let Some((local, name)) = self.local_copy_of(source, snapshot).await {
            match self.restore_into_volume(&spec, local, snapshot, &room, operation).await {
                Err(e) if is_of_copy(&e) && !self.engine.is_stopping() => {
                    self.note_damaged_copy(source, &name, operation, &e).await?;
                }
                done => return done.map(drop),
            }
        }
        let offsite = self.offsite_repository(source.as_str()).await?;
        let done = self.restore_into_volume(&spec, offsite, snapshot, &room, operation).await;
        self.note_destination_error(&done).await.map_err(inside)?;
        done.map(drop)
    }

    /// The copy on this host is damaged: the one in the bucket is taken. All stored data are verified
    /// again, which resolves the alert.
    async fn note_damaged_copy(
        &self,
        id: &InstanceId,
        name: &Name,
        operation: &mut Operation,
        error: &BackupError,
    ) -> Result<(), BackupError> {
        tracing::error!(%name, error = %error.message, "a copy on this host is damaged");
        self.engine.store().forget_verified(id).await.map_err(inside)?;
        let about = About { kind: CHECK, id, name, copy: Copy::Local };
        self.set_alert(about, Some(&error.message)).await.map_err(inside)?;
        operation.fail_step(&format!("{}; trying the copy in the bucket", error.message));
        self.engine.save(operation).await.map_err(inside)?;
        Ok(())
    }

    /// Creates the spec's volume and restores a snapshot into it, for which there is room.
    pub(crate) async fn restore_into_volume(
        &self,
        spec: &InstanceSpec,
        repository: Repository,
        snapshot: &SnapshotId,
        room: &Room<'_>,
        operation: &mut Operation,
    ) -> Result<VolumeMount, BackupError> {
        self.engine.step(operation, StepName::Volume).await;
        let data = self.engine.host().renew_volume(spec).await.map_err(unavailable)?;
        self.engine.step(operation, StepName::Restore).await;
        let root = data.root.clone();
        let work = Work::Restore { snapshot: snapshot.0.clone(), root, uid: data.uid };
        let mut session = self.inner.repositories.begin(&self.job(repository, work)).await?;
        let done = finish(session.as_mut(), |now| {
            room.written(now.bytes);
            self.engine.show_progress(operation, crate::shown(now));
        });
        match self.engine.unless_stopped(done).await {
            Some(Ok(Report::Restored { .. })) => Ok(data),
            Some(Ok(other)) => Err(crate::unexpected_report(other)),
            Some(Err(e)) => Err(e),
            None => Err(crate::take::stopped()),
        }
    }

    /// The repository on this host, if it has a copy of this snapshot besides the one in the bucket,
    /// and the name of the instance.
    async fn local_copy_of(
        &self,
        source: &InstanceId,
        snapshot: &SnapshotId,
    ) -> Option<(Repository, Name)> {
        let known = self.engine.store().snapshots(source).await.unwrap_or_default();
        let local = known.into_iter().find(|s| s.id == *snapshot && s.local)?;
        Some((self.local_repository(source.as_str())?, local.name))
    }

    /// The volume is filled: the reconcile loop starts the instance on it.
    async fn switch_volume(&self, id: &InstanceId) -> Result<(), EngineError> {
        let until = Timestamp::now().plus(self.engine.keep_replaced());
        let Some((instance, _)) = self.engine.store().instance_and_key(id).await? else {
            return Ok(());
        };
        // A lost volume is not kept for a rollback.
        let lost = self.engine.lost_data(&instance).await.is_some();
        self.engine
            .store()
            .amend(id, |desired| {
                desired.volumes.filled(until);
                if lost {
                    desired.volumes.forget_replaced();
                }
                true
            })
            .await?;
        self.engine.wake(id);
        Ok(())
    }

    /// The volume cannot be filled. An existing instance continues on its volume; a new one, which
    /// has only this volume, is removed.
    async fn abort_restore(
        &self,
        instance: &Instance,
        operation: &mut Operation,
        error: BackupError,
    ) -> Result<(), EngineError> {
        self.engine
            .store()
            .amend(&instance.id, |desired| {
                if desired.volumes.awaits_restore() {
                    desired.presence = Presence::Absent;
                }
                desired.volumes.abort_restore();
                true
            })
            .await?;
        let mut why = error.message;
        if operation.source.as_ref() == Some(&instance.id)
            && instance.desired.volumes.awaits_restore()
        {
            let _ = write!(
                why,
                "; {name} has no other volume. To restore another backup, see: startclaw backups {name}",
                name = instance.name
            );
        }
        self.engine.finish(operation, Err(why)).await?;
        self.engine.wake(&instance.id);
        Ok(())
    }
}

/// Whether another copy of the snapshot may be readable.
fn is_of_copy(error: &BackupError) -> bool {
    error.kind != BackupErrorKind::Hostile
}

/// If the bucket is unavailable, the restore of an instance that still has its old volume gives up
/// after some attempts; that of an instance without a volume is retried until it succeeds.
fn is_retryable(instance: &Instance, error: &BackupError, attempts: &Attempts) -> bool {
    let away = passes(error) || is_away(error);
    attempts.retries(error, TRIES) || away && instance.desired.volumes.awaits_restore()
}
