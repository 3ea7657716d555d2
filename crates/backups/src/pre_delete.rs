//! The pre-delete step of an instance that is removed: a final backup, or the deletion of all
//! backups.

use startclaw_backup::{BackupError, Command, Event, Report, SnapshotInfo, Work};
use startclaw_engine::EngineError;
use startclaw_model::{
    DeletionPolicy, Instance, InstanceId, Operation, OperationKind, Presence, SnapshotId, StepName,
};

use crate::{
    Backups,
    take::{excluded, inside, unavailable},
};

impl Backups {
    /// Runs the pre-delete step, after the container is gone and before the volume is removed.
    pub(crate) async fn run_pre_delete(&self, id: &InstanceId) -> Result<(), EngineError> {
        // First: the policy may be changed while this waits.
        let Some(room) = self.enter(&self.inner.jobs.rooms.backups).await else { return Ok(()) };
        let Some((instance, _)) = self.engine.store().instance_and_key(id).await? else {
            return Ok(());
        };
        if instance.desired.presence != Presence::Absent {
            return Ok(());
        }
        let open = self.engine.store().open_operations(id).await?;
        let mut operation = open.into_iter().find(|o| o.kind == OperationKind::Deprovision);
        let done = match instance.desired.deletion_policy {
            DeletionPolicy::None => Ok(()),
            DeletionPolicy::FinalBackup => {
                self.take_final_backup(&instance, operation.as_mut()).await
            }
            DeletionPolicy::Purge => self.purge_backups(&instance, operation.as_mut()).await,
        };
        // The pause after an error must not keep other jobs out.
        drop(room);
        match done {
            Ok(()) => {
                let asked = instance.desired.deletion_policy;
                self.engine
                    .store()
                    .amend(id, |desired| {
                        // The policy may have been changed meanwhile.
                        let same = desired.deletion_policy == asked;
                        if same {
                            desired.deletion_policy = DeletionPolicy::None;
                        }
                        same
                    })
                    .await?;
                self.inner.control_plane.note_change();
                self.engine.wake(id);
            }
            Err(_) if self.engine.is_stopping() => {}
            Err(e) => {
                tracing::warn!(name = %instance.name, error = %e.message, "the pre-delete step failed; retrying");
                if let Some(operation) = &mut operation {
                    let advice = format!(
                        "{}; trying again. To remove it without: startclaw deprovision {} --no-backup",
                        e.message, instance.name
                    );
                    operation.fail_step(&advice);
                    self.engine.save(operation).await?;
                }
                self.engine.pause(self.engine.timing().backup_again).await;
            }
        }
        Ok(())
    }

    /// Takes the final backup, of a volume that is not in use.
    async fn take_final_backup(
        &self,
        instance: &Instance,
        mut operation: Option<&mut Operation>,
    ) -> Result<(), BackupError> {
        if let Some(operation) = operation.as_deref_mut() {
            self.engine.step(operation, StepName::FinalBackup).await;
        }
        let spec = self.engine.spec_of(instance).await.map_err(unavailable)?;
        let data = self.engine.host().volume_mount(&spec).await.map_err(unavailable)?;
        // An instance whose volume was never created, or never filled, has no data.
        let Some(data) = data.filter(|_| !instance.desired.volumes.awaits_restore()) else {
            return Ok(());
        };
        // Lost data are not backed up: an empty snapshot would be the newest one.
        if self.engine.lost_data(instance).await.is_some() {
            return Ok(());
        }
        let work = Work::Take { root: data.root, live: false, exclude: excluded(), check: true };
        let job = self.job(self.first_repository(instance.id.as_str()).await?, work);
        let mut session = self.inner.repositories.begin(&job).await?;
        let info: SnapshotInfo = loop {
            let Some(event) = self.engine.unless_stopped(session.next()).await else {
                return Err(crate::take::stopped());
            };
            match event? {
                Event::Progress(now) => {
                    if let Some(operation) = operation.as_deref_mut() {
                        self.engine.show_progress(operation, crate::shown(now));
                    }
                }
                Event::Read => session.send(Command::Commit).await?,
                Event::Done(Report::Taken(info)) => break info,
                other => return Err(crate::unexpected(&other)),
            }
        };
        drop(session);
        self.note_snapshot(instance, &info).await.map_err(inside)?;
        if let Some(operation) = operation {
            operation.snapshot = Some(SnapshotId(info.id));
            self.engine.save(operation).await.map_err(inside)?;
            // If the bucket is unavailable, it is uploaded later from the copy on this host.
            self.upload_pending_of(&instance.id, &instance.name, Some(operation))
                .await
                .map_err(inside)?;
        }
        Ok(())
    }

    /// Deletes all backups.
    async fn purge_backups(
        &self,
        instance: &Instance,
        operation: Option<&mut Operation>,
    ) -> Result<(), BackupError> {
        if let Some(operation) = operation {
            self.engine.step(operation, StepName::PurgeBackups).await;
        }
        let id = instance.id.as_str();
        self.erase_repositories(id).await?;
        self.engine.store().drop_snapshots(&instance.id).await.map_err(inside)?;
        Ok(())
    }
}
