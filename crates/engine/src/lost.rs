//! Lost data: an instance that had data never starts on an empty volume.

use startclaw_host::InstanceSpec;
use startclaw_model::{
    Actor, Desired, EventKind, Instance, InstanceId, InstanceState, Presence, SnapshotChoice,
    Timestamp,
};

use crate::{
    Engine, EngineError, RestoreRequest,
    alerts::instance_key,
    decide::{Loss, loss},
    reconcile::{Outcome, Work},
};

impl Work<'_> {
    /// Stores that the volume holds data; `false` when that was stored before.
    pub(super) async fn mark_volume_used(&mut self) -> Result<bool, EngineError> {
        let Desired { presence, volumes, .. } = &self.instance.desired;
        if *presence == Presence::Absent || !volumes.unused {
            return Ok(false);
        }
        let id = &self.instance.id;
        self.engine.store().amend(id, |desired| desired.volumes.mark_used()).await?;
        Ok(true)
    }

    /// Its data are lost: it is not started until they are restored or reappear.
    pub(super) async fn data_lost(
        &mut self,
        loss: Loss,
        volume: &str,
    ) -> Result<Outcome, EngineError> {
        let Instance { id, name, .. } = &self.instance;
        let snapshots = self.engine.store().snapshots(id).await?;
        let newest = snapshots.into_iter().find(|snapshot| !snapshot.is_missing());
        let why = words(loss, volume);
        let advice = match &newest {
            Some(snapshot) => format!(
                "restore the newest backup, of {}, with: startclaw restore {name} latest",
                snapshot.taken_at
            ),
            None => format!(
                "there is no backup of it; recover the volume, or remove the instance with: \
                 startclaw deprovision {name} --no-backup"
            ),
        };
        let reason = format!("{why}; {advice}");
        if self.instance.desired.volumes.is_on_probation() {
            self.rollback(&why).await?;
            return Ok(Outcome::AtOnce);
        }
        // Both under the lock, and the alert first: a client that sees the failing state also finds
        // the alert.
        let comparing = self.engine.inner.alerts.comparing.lock().await;
        let news = self.engine.store().fire(&instance_key(name), &reason).await?;
        self.engine.inner.live.update(id, |entry| {
            entry.state = InstanceState::Failing;
            entry.host_error = Some(reason.clone());
        });
        drop(comparing);
        if news {
            self.engine.inner.alerts.wake();
            tracing::error!(%name, "{reason}");
            let about = Some((id, name));
            self.engine.record(EventKind::Failed, about, &Actor::system(), &reason).await;
        }
        for mut operation in std::mem::take(&mut self.open) {
            self.engine.finish(&mut operation, Err(reason.clone())).await?;
        }
        if newest.is_some() {
            self.restore_lost().await?;
        }
        Ok(Outcome::Again(self.engine.inner.settings.timing.sweep_every))
    }

    /// Restores the newest backup, if that is enabled and not in progress; after a failed restore,
    /// not again at once.
    async fn restore_lost(&mut self) -> Result<(), EngineError> {
        let settings = &self.engine.inner.settings;
        let now = Timestamp::now();
        let lately =
            self.state.restored_at.is_some_and(|at| now.since(at) < settings.timing.backoff_limit);
        let filling = self.instance.desired.volumes.filling.is_some();
        if !settings.instances.restore_lost_volume || lately || filling {
            return Ok(());
        }
        self.state.restored_at = Some(now);
        let request = RestoreRequest {
            name: self.instance.name.clone(),
            instance: Some(self.instance.id.clone()),
            snapshot: SnapshotChoice::Latest,
            as_name: None,
        };
        if let Err(e) = self.engine.restore(&Actor::system(), request, None).await {
            tracing::warn!(name = %self.instance.name, error = %e, "cannot restore lost data; retrying later");
        }
        Ok(())
    }
}

/// Describes a loss.
fn words(loss: Loss, volume: &str) -> String {
    match loss {
        Loss::Missing => format!("its data are gone: its volume {volume} is missing"),
        Loss::Empty => format!("its data are gone: its volume {volume} is empty"),
    }
}

impl Engine {
    /// Describes the loss of the instance's data; `None` when nothing is lost, or when the host
    /// does not answer.
    pub(crate) async fn lost_data(&self, instance: &Instance) -> Option<String> {
        let spec = self.spec_of(instance).await.ok()?;
        let observed = self.inner.host.observe(&spec).await.ok()?;
        let loss = loss(&instance.desired.volumes, &observed)?;
        Some(words(loss, &observed.volume_name))
    }

    /// Records the loss of the volume that is kept for `restore --undo`, once.
    pub(crate) async fn check_replaced(&self, id: &InstanceId) -> Result<(), EngineError> {
        let Some((instance, _)) = self.store().instance_and_key(id).await? else { return Ok(()) };
        let volumes = instance.desired.volumes;
        let Some(replaced) = volumes.replaced.filter(|_| volumes.filling.is_none()) else {
            return Ok(());
        };
        let Ok(spec) = self.spec_of(&instance).await else { return Ok(()) };
        let spec = InstanceSpec { volume: replaced.generation, ..spec };
        // An error is not taken for a loss.
        if !matches!(self.inner.host.volume_mount(&spec).await, Ok(None)) {
            return Ok(());
        }
        let mut lost = false;
        self.store()
            .amend(id, |desired| {
                let same = desired.volumes.replaced.is_some_and(|r| r == replaced);
                lost = same && desired.volumes.forget_replaced();
                lost
            })
            .await?;
        if lost {
            let what =
                "the volume from before the last restore is missing: that restore cannot be undone";
            let about = Some((&instance.id, &instance.name));
            self.record(EventKind::Failed, about, &Actor::system(), what).await;
        }
        Ok(())
    }
}
