//! Verbs: each stores the desired state and an operation in one transaction, and wakes the
//! reconcile loop. The caller waits for nothing else.

use futures::stream::BoxStream;
use startclaw_host::{ImageState, LogRequest};
use startclaw_model::{
    AccountId, Actor, Check, DeletionPolicy, Desired, Email, Event, EventKind, InstanceId,
    InstanceRef, Limits, Name, Operation, OperationKind, Owner, Presence, Profile, Secret,
    SecretName, Timestamp, Volumes,
};
use startclaw_store::{Allowance, Idempotency, NameRate, NewInstance, SealedSecret, StoreError};

use crate::{
    Engine, EngineError, HostError, InstanceStatus, JobContext, ProvisionRequest, Route,
    live::Entry,
    request::{check_secret, check_telegram_token},
    spec,
};

/// A secret without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretInfo {
    pub name: SecretName,
    /// When it was set.
    pub updated_at: Timestamp,
}

impl Engine {
    /// Requests a new instance.
    pub async fn provision(
        &self,
        actor: &Actor,
        request: ProvisionRequest,
        idempotency: Option<Idempotency>,
    ) -> Result<Operation, EngineError> {
        let idempotency = self.keyed(idempotency);
        request.check()?;
        if let Some(version) = &request.version {
            self.check_image(version).await?;
        }
        if let Some(limits) = &request.limits {
            self.check_cpus(limits).await?;
        }
        let defaults = &self.inner.settings.instances;
        let id = InstanceId::new();
        let wrapped_key = self.inner.vault.new_data_key(&id)?;
        let desired = Desired {
            presence: Presence::Present,
            epoch: 1,
            secrets_revision: 1,
            profile: Profile {
                version: request.version.unwrap_or_else(|| defaults.version.clone()),
                provider: request.provider,
                api_key: request.api_key.is_some(),
                telegram: request.telegram_bot_token.is_some(),
                telegram_access: request.telegram_access,
                limits: request.limits.unwrap_or(defaults.limits),
            },
            volumes: Volumes::empty(),
            deletion_policy: DeletionPolicy::None,
        };
        let mut secrets = Vec::new();
        let given = [
            (SecretName::model_api_key(), request.api_key),
            (SecretName::telegram_bot_token(), request.telegram_bot_token),
            (SecretName::telegram_webhook_secret(), Some(crate::access::random_secret())),
        ];
        for (name, secret) in given {
            if let Some(secret) = secret {
                secrets.push(self.seal(&wrapped_key, &id, name, &secret)?);
            }
        }
        let name = request.name;
        let account = match request.account {
            None => self.account_of(&request.owner).await?,
            given => given,
        };
        let operation =
            Operation::new(OperationKind::Provision, id.clone(), name.clone(), actor.clone());
        let new = NewInstance {
            id,
            name: name.clone(),
            owner: request.owner,
            account,
            quota: self.quota_for(actor),
            desired,
            wrapped_key,
            secrets,
        };
        let capacity = self.inner.host.capacity().await.map_err(EngineError::HostUnavailable)?;
        self.submit(operation, "requested provision".into(), async move |engine, operation| {
            engine.store().provision(new, &operation, capacity, idempotency.as_ref()).await
        })
        .await
    }

    /// Requests a new container.
    pub async fn restart(
        &self,
        actor: &Actor,
        of: impl Into<InstanceRef<'_>>,
        idempotency: Option<Idempotency>,
    ) -> Result<Operation, EngineError> {
        let change = |d: &mut Desired| {
            d.epoch += 1;
            Ok(())
        };
        let kind = OperationKind::Restart;
        self.change(actor, of.into(), kind, change, Vec::new(), Vec::new(), idempotency).await
    }

    /// Requests the removal of an instance and its data, after the pre-delete step of `policy`. If
    /// the removal is in progress, returns its operation; a policy without a final backup, or with
    /// a purge, then replaces the earlier one.
    pub async fn deprovision(
        &self,
        actor: &Actor,
        of: impl Into<InstanceRef<'_>>,
        policy: DeletionPolicy,
        idempotency: Option<Idempotency>,
    ) -> Result<Operation, EngineError> {
        let of = of.into();
        let change = move |d: &mut Desired| {
            d.presence = Presence::Absent;
            d.deletion_policy = policy;
            Ok(())
        };
        let kind = OperationKind::Deprovision;
        let changed =
            self.change(actor, of, kind, change, Vec::new(), Vec::new(), idempotency).await;
        self.enforce_access().await;
        match changed {
            Err(EngineError::Removing(_)) => {
                let id = self.set_deletion_policy(of, policy).await?;
                let exactly = InstanceRef { id: Some(&id), ..of };
                let newest = self.store().own_operations(exactly, 20).await?;
                newest
                    .into_iter()
                    .find(|o| o.kind == OperationKind::Deprovision)
                    .ok_or_else(|| EngineError::NoInstance(of.name.clone()))
            }
            other => other,
        }
    }

    /// Sets a secret, which replaces the container so that OpenClaw reads it. Setting
    /// `TELEGRAM_BOT_TOKEN` connects Telegram.
    pub async fn set_secret(
        &self,
        actor: &Actor,
        of: impl Into<InstanceRef<'_>>,
        secret_name: SecretName,
        secret: Secret,
        idempotency: Option<Idempotency>,
    ) -> Result<Operation, EngineError> {
        let of = of.into();
        check_secret("value", &secret)?;
        if secret_name == SecretName::telegram_bot_token() {
            check_telegram_token("value", &secret)?;
        }
        let instance = self.store().instance(of).await.map_err(|e| EngineError::of(of.name, e))?;
        if secret_name == SecretName::model_api_key() && instance.desired.profile.provider.is_none()
        {
            return Err(EngineError::invalid(
                "secret",
                "this instance was provisioned without a provider that the key could be for; \
                 set provider and key up in its Control UI, or use another name",
            ));
        }
        let Some((_, wrapped_key)) = self.store().instance_and_key(&instance.id).await? else {
            return Err(EngineError::NoInstance(of.name.clone()));
        };
        let sealed = self.seal(&wrapped_key, &instance.id, secret_name.clone(), &secret)?;
        let change = move |d: &mut Desired| {
            set_secret_flag(d, &secret_name, true);
            Ok(())
        };
        let kind = OperationKind::SetSecrets;
        // It is sealed with the key of this instance.
        let of = InstanceRef::from(&instance);
        self.change(actor, of, kind, change, vec![sealed], Vec::new(), idempotency).await
    }

    /// Removes a secret. Removing `TELEGRAM_BOT_TOKEN` disconnects Telegram.
    pub async fn remove_secret(
        &self,
        actor: &Actor,
        of: impl Into<InstanceRef<'_>>,
        secret_name: &SecretName,
        idempotency: Option<Idempotency>,
    ) -> Result<Operation, EngineError> {
        let of = of.into();
        if let Some(before) = self.repeated(actor, of.name, idempotency.clone()).await? {
            return Ok(before);
        }
        if *secret_name == SecretName::telegram_webhook_secret() {
            return Err(EngineError::invalid(
                "secret",
                "StartClaw made this secret itself and needs it; it cannot be removed",
            ));
        }
        let instance = self.store().instance(of).await.map_err(|e| EngineError::of(of.name, e))?;
        let of = InstanceRef::from(&instance);
        if !self.secrets(of).await?.iter().any(|s| s.name == *secret_name) {
            return Err(EngineError::NoSecret(of.name.clone()));
        }
        let removed = vec![secret_name.clone()];
        let secret_name = secret_name.clone();
        let change = move |d: &mut Desired| {
            set_secret_flag(d, &secret_name, false);
            Ok(())
        };
        let kind = OperationKind::SetSecrets;
        self.change(actor, of, kind, change, Vec::new(), removed, idempotency).await
    }

    /// The secrets of an instance, without their values.
    pub async fn secrets(
        &self,
        of: impl Into<InstanceRef<'_>>,
    ) -> Result<Vec<SecretInfo>, EngineError> {
        let of = of.into();
        let instance = self.store().instance(of).await.map_err(|e| EngineError::of(of.name, e))?;
        let sealed = self.store().secrets(&instance.id).await?;
        Ok(sealed
            .into_iter()
            .map(|s| SecretInfo { name: s.name, updated_at: s.updated_at })
            .collect())
    }

    /// The status of one instance.
    pub async fn status(
        &self,
        of: impl Into<InstanceRef<'_>>,
    ) -> Result<InstanceStatus, EngineError> {
        Ok(self.shown(&self.entry(of.into())?))
    }

    /// The meant instance in the live table.
    pub(crate) fn entry(&self, of: InstanceRef<'_>) -> Result<Entry, EngineError> {
        let found = self.inner.live.get(of.name).filter(|entry| of.means(&entry.instance.id));
        found.ok_or_else(|| EngineError::NoInstance(of.name.clone()))
    }

    /// The status of all instances, by name.
    pub async fn status_all(&self) -> Result<Vec<InstanceStatus>, EngineError> {
        Ok(self.inner.live.all().iter().map(|e| self.shown(e)).collect())
    }

    /// The route of requests for `label`, the first label of an address. From memory.
    pub fn route(&self, label: &str) -> Option<Route> {
        let entry = self.inner.live.get(&Name::parse(label).ok()?)?;
        Some(Route {
            state: entry.shown_state(),
            reason: entry.reason(),
            telegram: entry.instance.desired.profile.telegram,
            endpoints: entry.endpoints,
            id: entry.instance.id.clone(),
            name: entry.instance.name.clone(),
        })
    }

    /// The log of an instance's container.
    pub async fn logs(
        &self,
        of: impl Into<InstanceRef<'_>>,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<String, HostError>>, EngineError> {
        let entry = self.entry(of.into())?;
        let lines = self.inner.host.logs(&entry.instance.id, request).await;
        lines.map_err(EngineError::HostUnavailable)
    }

    /// The newest events first, at most `limit`, of one name or of all.
    pub async fn events(&self, name: Option<&Name>, limit: u32) -> Result<Vec<Event>, EngineError> {
        Ok(self.store().events(name, limit).await?)
    }

    /// The newest events first, at most `limit`, of the given instance, or of the one that has this
    /// name now, and not of earlier ones.
    pub async fn own_events(
        &self,
        of: impl Into<InstanceRef<'_>>,
        limit: u32,
    ) -> Result<Vec<Event>, EngineError> {
        Ok(self.store().own_events(of, limit).await?)
    }

    /// Runs the diagnostic checks of the host, the database, backups and bots.
    pub async fn diagnose(&self) -> Vec<Check> {
        let defaults = &self.inner.settings.instances;
        let mut found = self
            .inner
            .host
            .admin()
            .diagnose(&format!("{}:{}", defaults.image, defaults.version))
            .await;
        found.push(match self.store().ping().await {
            Ok(()) => Check::ok("database", "answers"),
            Err(e) => Check::error(
                "database",
                e.to_string(),
                "check the disk that holds the data folder, then restart the daemon",
            ),
        });
        found.extend(self.inner.job_service.diagnose(&JobContext::new(self)).await);
        found.push(self.check_telegram().await);
        found
    }

    /// Whether the engine works: the database answers and the loops run.
    pub async fn ping(&self) -> Result<(), EngineError> {
        if let Some(task) = self.ended() {
            let why = format!("the background task \"{task}\" has ended");
            return Err(EngineError::inside(std::io::Error::other(why)));
        }
        if self.inner.stop.is_cancelled() {
            return Err(EngineError::inside(std::io::Error::other("the engine is stopping")));
        }
        Ok(self.store().ping().await?)
    }

    /// Rejects a version whose image is neither on the host nor in a registry. An error of the host
    /// is no reason to reject it.
    async fn check_image(&self, version: &str) -> Result<(), EngineError> {
        let image = format!("{}:{version}", self.inner.settings.instances.image);
        match self.inner.host.admin().image(&image).await {
            Ok(ImageState::Unknown) => Err(EngineError::invalid(
                "version",
                format!(
                    "the image {image} is not on this machine, and its name contains no registry to pull it from"
                ),
            )),
            Ok(ImageState::Here | ImageState::Fetchable) | Err(_) => Ok(()),
        }
    }

    /// Rejects more CPUs than the host has: Docker refuses them too, but only when the container is
    /// created. A host that does not measure its CPUs is no reason to reject them.
    async fn check_cpus(&self, limits: &Limits) -> Result<(), EngineError> {
        let cpus = match self.inner.host.admin().machine().await {
            Ok(Some(machine)) if machine.cpus > 0 => machine.cpus,
            _ => return Ok(()),
        };
        if limits.cpus > f64::from(cpus) {
            return Err(EngineError::invalid(
                "limits.cpus",
                format!("cpus must not exceed {cpus}, the CPUs of this host"),
            ));
        }
        Ok(())
    }

    /// Transfers an instance to an account; `false` when that is gone or pending deletion. All
    /// access of the previous owner ends; the new owner also becomes the identity in OpenClaw, for
    /// which the container is replaced.
    pub async fn transfer(
        &self,
        of: impl Into<InstanceRef<'_>>,
        account: &AccountId,
    ) -> Result<bool, EngineError> {
        let of = of.into();
        let instance = self.store().instance(of).await.map_err(|e| EngineError::of(of.name, e))?;
        let (engine, to, id) = (self.clone(), account.clone(), instance.id);
        self.detached(async move {
            let Some(done) = engine.store().transfer(&id, &to).await? else { return Ok(false) };
            // First, because pages and routes check ownership against what is shown; but an error
            // must not keep the access of the previous owner.
            let shown = engine.refresh(&id, None).await;
            if done.changed {
                engine.inner.queue.push(&id);
                engine.enforce_access().await;
            }
            shown.map(|()| true)
        })
        .await
    }

    /// Records an event that is not about an instance.
    pub async fn note(&self, kind: EventKind, actor: &Actor, detail: &str) {
        self.record(kind, None, actor, detail).await;
    }

    /// An HMAC of `text` with the master key.
    pub fn hmac(&self, text: &str) -> String {
        self.inner.vault.hmac(text)
    }

    /// The account of an owner that an admin or a program names by its address. Only a confirmed
    /// address counts: an unconfirmed one may belong to another person.
    async fn account_of(&self, owner: &Owner) -> Result<Option<AccountId>, EngineError> {
        let Ok(email) = Email::parse(owner.as_str()) else { return Ok(None) };
        let found = self.store().account_and_password(&email).await?;
        let sure = found.filter(|(account, _)| account.confirmed_at.is_some());
        Ok(sure.map(|(account, _)| account.id))
    }

    /// The limits of a new instance: only requests of an account itself are limited.
    pub(crate) fn quota_for(&self, actor: &Actor) -> Option<Allowance> {
        let instances = &self.inner.settings.instances;
        let names =
            NameRate { account: instances.names_per_account, all: instances.names_per_week };
        actor.is_account().then_some(Allowance { quota: self.inner.settings.quota, names })
    }

    fn seal(
        &self,
        wrapped_key: &str,
        id: &InstanceId,
        name: SecretName,
        secret: &Secret,
    ) -> Result<SealedSecret, EngineError> {
        let sealed = self.inner.vault.seal(wrapped_key, id, &name, secret)?;
        Ok(SealedSecret { name, sealed, updated_at: Timestamp::now() })
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one transaction")]
    pub(crate) async fn change(
        &self,
        actor: &Actor,
        of: InstanceRef<'_>,
        kind: OperationKind,
        change: impl FnOnce(&mut Desired) -> Result<(), StoreError> + Send + 'static,
        secrets: Vec<SealedSecret>,
        removed: Vec<SecretName>,
        idempotency: Option<Idempotency>,
    ) -> Result<Operation, EngineError> {
        // Before reading the instance: when a removal is repeated, it does not exist any more.
        if let Some(before) = self.repeated(actor, of.name, idempotency.clone()).await? {
            return Ok(before);
        }
        let idempotency = self.keyed(idempotency);
        let instance = self.store().instance(of).await.map_err(|e| EngineError::of(of.name, e))?;
        // From here on its id counts: the change is refused if it is gone by then.
        let operation = Operation::new(kind, instance.id, instance.name, actor.clone());
        let what = format!("requested {}", kind.as_str());
        self.submit(operation, what, async move |engine, operation| {
            let key = idempotency.as_ref();
            engine.store().change(&operation, change, &secrets, &removed, key).await
        })
        .await
    }

    fn shown(&self, entry: &Entry) -> InstanceStatus {
        let instance = &entry.instance;
        let failing = entry.state != startclaw_model::InstanceState::Live;
        let health = &instance.health;
        let pause_limit = self.inner.settings.timing.pause_limit;
        InstanceStatus {
            id: instance.id.clone(),
            name: instance.name.clone(),
            owner: instance.owner.clone(),
            account: instance.account.clone(),
            state: entry.shown_state(),
            reason: entry.reason(),
            last_log: if failing { health.last_log.clone() } else { Vec::new() },
            retry_at: if failing { health.retry_at } else { None },
            since: entry.since,
            failures: health.failures,
            url: spec::origin(&self.inner.settings, &instance.name),
            port: entry.endpoints.gateway.port(),
            profile: instance.desired.profile.clone(),
            operation: entry.operation.clone(),
            undo_until: instance.desired.volumes.undo_until(),
            last_backup: entry.last_backup,
            verified_backup: entry.verified_backup,
            last_pause: entry.last_pause,
            pause_warning: entry.last_pause.and_then(|pause| pause.warning(pause_limit)),
            created_at: instance.created_at,
        }
    }
}

/// Updates the desired state after a secret was set or removed.
fn set_secret_flag(desired: &mut Desired, name: &SecretName, set: bool) {
    desired.secrets_revision += 1;
    if *name == SecretName::telegram_bot_token() {
        desired.profile.telegram = set;
    }
    if *name == SecretName::model_api_key() {
        desired.profile.api_key = set;
    }
}
