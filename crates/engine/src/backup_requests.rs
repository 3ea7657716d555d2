//! Requests of backups and restores. A [`JobService`](crate::JobService) carries them out.

use startclaw_model::{
    Actor, DeletionPolicy, Instance, InstanceId, InstanceRef, Name, NoChoice, Operation,
    OperationKind, Presence, SecretName, Snapshot, SnapshotChoice, Timestamp,
};
use startclaw_store::{Archive, Idempotency, NewInstance, SealedSecret, StoreError};

use crate::{Engine, EngineError, JobContext};

/// A request of a restore.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// The instance of the snapshot: an existing one, or a deprovisioned one.
    pub name: Name,
    /// If set, only the instance with this id, and none that has the name after it.
    pub instance: Option<InstanceId>,
    pub snapshot: SnapshotChoice,
    /// Restore to a new instance of this name, instead of in place.
    pub as_name: Option<Name>,
}

/// The instance of the snapshots.
enum Source {
    Living(Instance, String),
    Gone(Archive),
}

impl Source {
    fn id(&self) -> &InstanceId {
        match self {
            Self::Living(instance, _) => &instance.id,
            Self::Gone(archive) => &archive.id,
        }
    }
}

impl Engine {
    /// Requests a backup. If one is in progress, returns that one.
    pub async fn backup(
        &self,
        actor: &Actor,
        of: impl Into<InstanceRef<'_>>,
    ) -> Result<Operation, EngineError> {
        let of = of.into();
        let instance = self.store().instance(of).await.map_err(|e| EngineError::of(of.name, e))?;
        if instance.desired.volumes.awaits_restore() {
            return Err(EngineError::Conflict(
                "the instance is being restored and has nothing to back up yet".into(),
            ));
        }
        let operation =
            Operation::new(OperationKind::Backup, instance.id, instance.name, actor.clone());
        self.submit_job(operation).await
    }

    /// The snapshots of the instance of this name, or of the last removed one; newest first.
    pub async fn backups(
        &self,
        of: impl Into<InstanceRef<'_>>,
    ) -> Result<Vec<Snapshot>, EngineError> {
        let source = self.source(of.into()).await?;
        Ok(self.store().snapshots(source.id()).await?)
    }

    /// The same, and why each is kept or deleted.
    pub async fn backups_with_reasons(
        &self,
        of: impl Into<InstanceRef<'_>>,
    ) -> Result<Vec<(Snapshot, String)>, EngineError> {
        let snapshots = self.backups(of).await?;
        let context = JobContext::new(self);
        let reasons = self.inner.job_service.retention(&context, &snapshots).await?;
        Ok(snapshots.into_iter().zip(reasons).collect())
    }

    /// The backups go to the destination in the settings from now on, whatever held them before.
    /// Returns its address.
    pub async fn accept_backup_destination(&self, actor: &Actor) -> Result<String, EngineError> {
        let (engine, actor) = (self.clone(), actor.clone());
        self.detached(async move {
            let context = JobContext::new(&engine);
            engine.inner.job_service.accept_destination(&context, &actor).await
        })
        .await
    }

    /// Compares all repositories with the database. Returns how many backups are known then, and how
    /// many of them are missing.
    pub async fn rescan_backups(&self) -> Result<(u64, u64), EngineError> {
        let engine = self.clone();
        self.detached(
            async move { engine.inner.job_service.rescan(&JobContext::new(&engine)).await },
        )
        .await
    }

    /// Requests a restore of a snapshot: in place, to a new instance, or of a deprovisioned
    /// instance.
    pub async fn restore(
        &self,
        actor: &Actor,
        request: RestoreRequest,
        idempotency: Option<Idempotency>,
    ) -> Result<Operation, EngineError> {
        let RestoreRequest { name, instance, snapshot, as_name } = request;
        if let Some(before) = self.repeated(actor, &name, idempotency.clone()).await? {
            return Ok(before);
        }
        let source = self.source(InstanceRef { name: &name, id: instance.as_ref() }).await?;
        let snapshots = self.store().snapshots(source.id()).await?;
        let chosen =
            snapshot.choose(&snapshots).map_err(|why| no_snapshot(&name, &snapshots, why))?;
        self.check_space(chosen).await?;
        let idempotency = self.keyed(idempotency);
        match (source, as_name) {
            (Source::Living(instance, _), None) => {
                self.restore_in_place(actor, &instance, chosen, idempotency).await
            }
            (source, as_name) => {
                self.restore_as(actor, source, as_name.unwrap_or(name), chosen, idempotency).await
            }
        }
    }

    /// Requests a drill of this instance, or of a chosen one. If one of the same instance is in
    /// progress, returns that one.
    pub async fn drill(
        &self,
        actor: &Actor,
        of: Option<InstanceRef<'_>>,
    ) -> Result<Operation, EngineError> {
        let stored = self.store().first_stored().await?;
        let instance = match of {
            Some(of) => {
                let found = self.store().instance(of).await;
                found.map_err(|e| EngineError::of(of.name, e))?
            }
            None => self.candidate().await?.ok_or_else(|| {
                EngineError::Conflict(
                    "no instance has a backup that can be tested; make one with: startclaw backup NAME"
                        .into(),
                )
            })?,
        };
        if !stored.contains_key(&instance.id) {
            return Err(EngineError::Conflict(format!(
                "there is no backup of {0} where backups are kept; make one with: startclaw backup {0}",
                instance.name
            )));
        }
        let kind = OperationKind::Drill;
        let operation =
            Operation::new(kind, instance.id.clone(), instance.name.clone(), actor.clone());
        self.submit_job(operation).await
    }

    async fn candidate(&self) -> Result<Option<Instance>, EngineError> {
        self.inner.job_service.choose_for_drill(&JobContext::new(self)).await
    }

    /// Requests a switch back to the volume that a restore replaced.
    pub async fn undo_restore(
        &self,
        actor: &Actor,
        of: impl Into<InstanceRef<'_>>,
        idempotency: Option<Idempotency>,
    ) -> Result<Operation, EngineError> {
        let of = of.into();
        let until = Timestamp::now().plus(self.inner.settings.keep_replaced);
        let instance = self.store().instance(of).await.map_err(|e| EngineError::of(of.name, e))?;
        self.check_replaced(&instance.id).await?;
        // A lost volume is not kept for another undo.
        let lost = self.lost_data(&instance).await.is_some();
        let change = move |desired: &mut startclaw_model::Desired| {
            if desired.volumes.filling.is_some() || desired.volumes.is_on_probation() {
                return Err(StoreError::Conflict("a restore is under way; wait until it is over"));
            }
            if desired.volumes.undo(until) {
                if lost {
                    desired.volumes.forget_replaced();
                }
                Ok(())
            } else {
                Err(StoreError::Conflict(
                    "there is nothing to undo: no restore replaced a volume lately, or that volume is missing",
                ))
            }
        };
        let (of, kind) = (InstanceRef::from(&instance), OperationKind::Restore);
        self.change(actor, of, kind, change, Vec::new(), Vec::new(), idempotency).await
    }

    /// Changes the deletion policy of an instance that is being removed; returns its id.
    pub(crate) async fn set_deletion_policy(
        &self,
        of: InstanceRef<'_>,
        policy: DeletionPolicy,
    ) -> Result<InstanceId, EngineError> {
        let instance = self.store().instance(of).await.map_err(|e| EngineError::of(of.name, e))?;
        self.store()
            .amend(&instance.id, |desired| {
                let open =
                    desired.presence == Presence::Absent && !desired.deletion_policy.is_none();
                let other = open
                    && desired.deletion_policy != policy
                    && policy != DeletionPolicy::FinalBackup;
                if other {
                    desired.deletion_policy = policy;
                }
                other
            })
            .await?;
        self.inner.queue.push(&instance.id);
        Ok(instance.id)
    }

    async fn source(&self, of: InstanceRef<'_>) -> Result<Source, EngineError> {
        let unknown = || EngineError::NoInstance(of.name.clone());
        match self.store().instance(of).await {
            Ok(instance) => {
                let found = self.store().instance_and_key(&instance.id).await?;
                let (instance, key) = found.ok_or_else(unknown)?;
                Ok(Source::Living(instance, key))
            }
            Err(StoreError::NoInstance) => {
                let archive = self.store().archive(of.name).await?;
                let archive = archive.filter(|archive| of.means(&archive.id));
                archive.map(Source::Gone).ok_or_else(unknown)
            }
            Err(e) => Err(e.into()),
        }
    }

    async fn restore_in_place(
        &self,
        actor: &Actor,
        instance: &Instance,
        snapshot: &Snapshot,
        idempotency: Option<Idempotency>,
    ) -> Result<Operation, EngineError> {
        let name = &instance.name;
        let mut operation = Operation::new(
            OperationKind::Restore,
            instance.id.clone(),
            name.clone(),
            actor.clone(),
        );
        operation.snapshot = Some(snapshot.id.clone());
        operation.source = Some(instance.id.clone());
        let change = |desired: &mut startclaw_model::Desired| {
            if desired.volumes.filling.is_some() || desired.volumes.is_on_probation() {
                return Err(StoreError::Conflict("a restore is under way; wait until it is over"));
            }
            desired.volumes.begin();
            Ok(())
        };
        let what = format!("requested restore of {}", snapshot.id.short());
        self.submit(operation, what, async move |engine, operation| {
            engine.store().change(&operation, change, &[], &[], idempotency.as_ref()).await
        })
        .await
    }

    async fn restore_as(
        &self,
        actor: &Actor,
        source: Source,
        name: Name,
        snapshot: &Snapshot,
        idempotency: Option<Idempotency>,
    ) -> Result<Operation, EngineError> {
        let from = source.id().clone();
        let new = NewInstance {
            quota: self.quota_for(actor),
            ..self.successor(source, name.clone()).await?
        };
        let mut operation =
            Operation::new(OperationKind::Restore, new.id.clone(), name.clone(), actor.clone());
        operation.snapshot = Some(snapshot.id.clone());
        operation.source = Some(from);
        let capacity = self.inner.host.capacity().await.map_err(EngineError::HostUnavailable)?;
        let what = format!("requested restore of {} as {name}", snapshot.id.short());
        self.submit(operation, what, async move |engine, operation| {
            engine.store().provision(new, &operation, capacity, idempotency.as_ref()).await
        })
        .await
    }

    /// The new instance of a restore. A deprovisioned one is restored with its id, key and secrets;
    /// a copy gets its own key and the same secrets, but not the Telegram bot: two instances with
    /// the same bot would receive each other's messages.
    async fn successor(&self, source: Source, name: Name) -> Result<NewInstance, EngineError> {
        let (id, own_name, owner, account, mut desired, key, secrets) = match source {
            Source::Gone(a) => {
                (a.id, a.name, a.owner, a.account, a.desired, a.wrapped_key, a.secrets)
            }
            Source::Living(i, key) => {
                let secrets = self.store().secrets(&i.id).await?;
                (i.id, i.name, i.owner, i.account, i.desired, key, secrets)
            }
        };
        desired.presence = Presence::Present;
        desired.deletion_policy = DeletionPolicy::None;
        desired.volumes = startclaw_model::Volumes::to_be_filled();
        desired.epoch += 1;
        if own_name == name {
            return Ok(NewInstance {
                id,
                name,
                owner,
                account,
                quota: None,
                desired,
                wrapped_key: key,
                secrets,
            });
        }
        desired.profile.telegram = false;
        let fresh = InstanceId::new();
        let wrapped_key = self.inner.vault.new_data_key(&fresh)?;
        let mut copied = Vec::new();
        for old in secrets.into_iter().filter(|s| s.name != SecretName::telegram_bot_token()) {
            let secret = if old.name == SecretName::telegram_webhook_secret() {
                crate::access::random_secret()
            } else {
                self.inner.vault.open(&key, &id, &old.name, &old.sealed)?
            };
            let sealed = self.inner.vault.seal(&wrapped_key, &fresh, &old.name, &secret)?;
            copied.push(SealedSecret { sealed, ..old });
        }
        Ok(NewInstance {
            id: fresh,
            name,
            owner,
            account,
            quota: None,
            desired,
            wrapped_key,
            secrets: copied,
        })
    }
}

/// The error that names the existing snapshots.
fn no_snapshot(name: &Name, there: &[Snapshot], why: NoChoice) -> EngineError {
    let message = match (there.first(), there.last()) {
        _ if why == NoChoice::Ambiguous => {
            "several backups have an id that begins so; give more digits of it".to_owned()
        }
        _ if why == NoChoice::Missing => format!(
            "this backup of {name} is missing where it was stored, and StartClaw did not delete it; if it is back, run: startclaw backups rescan"
        ),
        (Some(newest), Some(oldest)) => format!(
            "there is no such backup of {name}; it has {}, from {} to {}: see startclaw backups {name}",
            there.len(),
            oldest.taken_at,
            newest.taken_at
        ),
        _ => format!("there is no backup of {name}"),
    };
    EngineError::invalid("snapshot", message)
}
