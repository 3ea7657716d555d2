//! The interface between the engine and the service that carries out backups, restores and restore
//! tests: the engine stores the requests and leaves a busy instance alone; the service does the
//! work, and uses the engine's parts through a [`JobContext`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use startclaw_host::{Endpoints, Host, HostError, InstanceSpec, InventoryItem, Probe, Workload};
use startclaw_model::{
    Actor, Check, EventKind, Instance, InstanceId, Name, Operation, OperationId, Snapshot,
    StepName, StepProgress,
};
use startclaw_openclaw::{AdminCall, Setup};
use startclaw_store::Store;
use startclaw_vault::Vault;

use crate::{
    Engine, EngineError, InstanceLock, LiveEntry, Supervisor, Timing, spec, telegram::request,
};

/// Carries out the jobs of instances, and keeps the repositories of their backups.
#[async_trait]
pub trait JobService: Send + Sync + 'static {
    /// Starts its tasks, which end when the engine stops.
    fn start(&self, context: &JobContext, tasks: &Supervisor);

    /// Whether a job has this instance: its container and volumes are not removed then.
    fn is_busy(&self, id: &InstanceId) -> bool;

    /// Requests the pre-delete step of an instance whose container is gone.
    fn request_pre_delete(&self, id: &InstanceId);

    /// A job was stored.
    fn wake(&self);

    /// An instance whose newest backup is to be tested next; `None` when there is none with a
    /// backup.
    async fn choose_for_drill(&self, context: &JobContext)
    -> Result<Option<Instance>, EngineError>;

    /// Deletes the backups whose deletion was requested; what cannot be deleted now is retried.
    async fn purge_archives(&self, context: &JobContext) -> Result<(), EngineError>;

    /// Removes what a job left on the host; `false` when the found item is not of a job.
    async fn remove_stray(&self, context: &JobContext, found: &InventoryItem) -> bool;

    /// The backups go to the destination in the settings from now on, whatever held them before.
    /// Returns its address.
    async fn accept_destination(
        &self,
        context: &JobContext,
        actor: &Actor,
    ) -> Result<String, EngineError>;

    /// Compares all repositories with the database. Returns how many snapshots are known then, and
    /// how many of them are missing.
    async fn rescan(&self, context: &JobContext) -> Result<(u64, u64), EngineError>;

    /// Why each of an instance's snapshots is kept or deleted.
    async fn retention(
        &self,
        context: &JobContext,
        snapshots: &[Snapshot],
    ) -> Result<Vec<String>, EngineError>;

    /// Runs its diagnostic checks.
    async fn diagnose(&self, context: &JobContext) -> Vec<Check>;
}

/// No service: requests are stored and wait.
#[derive(Debug, Clone, Copy)]
pub struct NoJobs;

#[async_trait]
impl JobService for NoJobs {
    fn start(&self, _: &JobContext, _: &Supervisor) {}

    fn is_busy(&self, _: &InstanceId) -> bool {
        false
    }

    fn request_pre_delete(&self, _: &InstanceId) {}

    fn wake(&self) {}

    async fn choose_for_drill(&self, _: &JobContext) -> Result<Option<Instance>, EngineError> {
        Ok(None)
    }

    async fn purge_archives(&self, _: &JobContext) -> Result<(), EngineError> {
        Ok(())
    }

    async fn remove_stray(&self, _: &JobContext, _: &InventoryItem) -> bool {
        false
    }

    async fn accept_destination(&self, _: &JobContext, _: &Actor) -> Result<String, EngineError> {
        Err(EngineError::Conflict("there are no backups".into()))
    }

    async fn rescan(&self, _: &JobContext) -> Result<(u64, u64), EngineError> {
        Ok((0, 0))
    }

    async fn retention(
        &self,
        _: &JobContext,
        snapshots: &[Snapshot],
    ) -> Result<Vec<String>, EngineError> {
        Ok(vec![String::new(); snapshots.len()])
    }

    async fn diagnose(&self, _: &JobContext) -> Vec<Check> {
        Vec::new()
    }
}

/// The parts of the engine that jobs use. Cheap to clone.
#[derive(Clone)]
pub struct JobContext(Engine);

impl JobContext {
    pub(crate) fn new(engine: &Engine) -> Self {
        Self(engine.clone())
    }

    /// The engine, for its verbs.
    pub fn verbs(&self) -> &Engine {
        &self.0
    }

    /// The database.
    pub fn store(&self) -> &Store {
        self.0.store()
    }

    /// The master key.
    pub fn vault(&self) -> &Vault {
        &self.0.inner.vault
    }

    /// Where instances run.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.0.inner.host
    }

    /// How long things take.
    pub fn timing(&self) -> &Timing {
        &self.0.inner.settings.timing
    }

    /// How long a volume that a restore replaced is kept.
    pub fn keep_replaced(&self) -> Duration {
        self.0.inner.settings.keep_replaced
    }

    /// The current state of all instances.
    pub fn instances(&self) -> Vec<LiveEntry> {
        self.0.inner.live.all()
    }

    /// The current state of one instance.
    pub fn instance(&self, id: &InstanceId) -> Option<LiveEntry> {
        self.0.inner.live.by_id(id)
    }

    /// Shows which backups each instance has now.
    pub async fn show_backups(&self) -> Result<(), EngineError> {
        self.0.show_backups().await
    }

    /// Has an instance reconciled at once.
    pub fn wake(&self, id: &InstanceId) {
        self.0.inner.queue.push(id);
    }

    /// Keeps the reconcile loop from an instance until the lock is dropped.
    pub async fn lock(&self, id: &InstanceId) -> InstanceLock<'_> {
        self.0.inner.queue.lock(id).await
    }

    /// The spec of an instance, from its current desired state.
    pub async fn spec_of(&self, instance: &Instance) -> Result<InstanceSpec, HostError> {
        self.0.spec_of(instance).await
    }

    /// The addresses of an instance.
    pub async fn endpoints_of(&self, instance: &Instance) -> Result<Endpoints, HostError> {
        self.0.endpoints_of(instance).await
    }

    /// The input of an instance's configuration.
    pub fn setup(&self, instance: &Instance, endpoints: &Endpoints) -> Setup {
        spec::setup(&self.0.inner.settings, instance, endpoints)
    }

    /// What runs in every container.
    pub fn workload(&self) -> Workload {
        spec::workload()
    }

    /// The public address of an instance.
    pub fn origin(&self, name: &Name) -> String {
        spec::origin(&self.0.inner.settings, name)
    }

    /// Calls a method of an instance.
    pub async fn call(&self, spec: &InstanceSpec, call: AdminCall) -> Result<Probe, HostError> {
        self.0.inner.host.call(spec, &request(call)).await
    }

    /// Describes the loss of an instance's data; `None` when nothing is lost, or when the host does
    /// not answer.
    pub async fn lost_data(&self, instance: &Instance) -> Option<String> {
        self.0.lost_data(instance).await
    }

    /// Sends the notifications of alerts that changed.
    pub fn alerts_changed(&self) {
        self.0.inner.alerts.wake();
    }

    /// Stores an event; an error is only logged.
    pub async fn record(
        &self,
        kind: EventKind,
        about: Option<(&InstanceId, &Name)>,
        actor: &Actor,
        detail: &str,
    ) {
        self.0.record(kind, about, actor, detail).await;
    }

    /// One operation.
    pub async fn operation(&self, id: &OperationId) -> Result<Operation, EngineError> {
        self.0.operation(id).await
    }

    /// Stores an operation's progress and notifies subscribers. `false` when it is over already.
    pub async fn save(&self, operation: &Operation) -> Result<bool, EngineError> {
        self.0.save(operation).await
    }

    /// Begins a step; an error of the database does not fail the job.
    pub async fn step(&self, operation: &mut Operation, name: StepName) {
        if operation.begin_step(name)
            && let Err(e) = self.save(operation).await
        {
            tracing::warn!(error = ?e, "a step could not be stored");
        }
    }

    /// Publishes the progress of the current step to subscribers; it is not stored.
    pub fn show_progress(&self, operation: &mut Operation, now: StepProgress) {
        if let Some(step) = operation.steps.last_mut() {
            step.progress = Some(now);
            self.0.publish(operation);
        }
    }

    /// Ends an operation.
    pub async fn finish(
        &self,
        operation: &mut Operation,
        outcome: Result<(), String>,
    ) -> Result<(), EngineError> {
        self.0.finish(operation, outcome).await
    }

    /// Whether the engine stops.
    pub fn is_stopping(&self) -> bool {
        self.0.inner.stop.is_cancelled()
    }

    /// Returns when the engine stops.
    pub async fn stopped(&self) {
        self.0.inner.stop.cancelled().await;
    }

    /// Waits; returns `false` early when the engine stops.
    pub async fn pause(&self, time: Duration) -> bool {
        self.unless_stopped(tokio::time::sleep(time)).await.is_some()
    }

    /// Runs `work`; returns `None` early when the engine stops.
    pub async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.stopped() => None,
            done = work => Some(done),
        }
    }
}
