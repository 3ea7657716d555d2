//! The reconcile loop: observe, decide, apply one step, observe again, until nothing is left to do.
//!
//! A crash at any point needs no recovery: the next pass observes the state.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use startclaw_host::{HostErrorKind, Observed, Plan, Probe, Step};
use startclaw_model::{
    Actor, Desired, EventKind, Health, Instance, InstanceId, InstanceState, Operation,
    OperationKind, Presence, TelegramAccess, Timestamp,
};
use tokio::time::Instant;

use crate::{
    Engine, EngineError,
    boot_limiter::RecentStarts,
    decide::{Decision, Inputs, Waiting, backoff, has_started, next_step},
    live, plan,
    progress::{begin_step, close},
    queue::Due,
    run::RunClock,
};

/// Probes of a booting instance between two full observations.
const QUICK_PROBES: u32 = 10;

/// State that a worker keeps of an instance between two passes; a new daemon starts without it.
#[derive(Debug, Default)]
pub(crate) struct WorkerState {
    /// The plan of a converged instance: only probed with it until something changes.
    pub(super) converged: Option<Plan>,
    /// The present run of its container.
    pub(super) run: RunClock,
    /// Why we stopped the container, for the report of its exit.
    pub(super) ended_for: Option<String>,
    /// Consecutive errors of the host.
    pub(super) host_errors: u32,
    /// The recent starts.
    starts: RecentStarts,
    /// When lost data were last restored automatically.
    pub(super) restored_at: Option<Timestamp>,
    /// The inputs of the last pass, and how often in a row.
    seen: Option<(Seen, u32)>,
}

/// The inputs of a decision: revision, health and observed state.
type Seen = (u64, Health, Observed);

/// This many equal observations in a row, each followed at once by another pass, mean that the
/// steps have no effect. Pulling an image causes two.
const SAME_LIMIT: u32 = 3;

/// The state of all workers. A worker takes an instance's entry while it works on it.
#[derive(Debug, Default)]
pub(crate) struct WorkerStates(Mutex<HashMap<InstanceId, WorkerState>>);

impl WorkerStates {
    fn take(&self, id: &InstanceId) -> WorkerState {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(id).unwrap_or_default()
    }

    fn put(&self, id: &InstanceId, state: WorkerState) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), state);
    }
}

/// One instance under work.
pub(crate) struct Work<'a> {
    pub(super) engine: &'a Engine,
    pub(super) instance: Instance,
    pub(super) wrapped_key: String,
    pub(super) plan: Plan,
    /// The operations that the desired state includes, oldest first.
    pub(super) open: Vec<Operation>,
    pub(super) state: &'a mut WorkerState,
    /// Why its configuration file cannot be read, if it cannot.
    pub(super) unreadable: Option<String>,
}

/// The outcome of a pass.
pub(crate) enum Outcome {
    /// Reconcile again after this time.
    Again(Duration),
    /// Reconcile again at once.
    AtOnce,
    /// It is gone.
    Gone,
}

impl Engine {
    /// A worker: takes instances from the queue until the engine stops.
    pub(crate) async fn work(self) {
        loop {
            let due = tokio::select! {
                biased;
                () = self.inner.stop.cancelled() => return,
                due = self.inner.queue.next() => due,
            };
            let work = std::panic::AssertUnwindSafe(self.reconcile(&due)).catch_unwind();
            let again = work.await.unwrap_or_else(|_| {
                tracing::error!(instance = %due.id, "a defect in StartClaw: the reconciliation of this instance panicked");
                Some(self.inner.settings.timing.backoff_limit)
            });
            self.inner.queue.done(&due.id, again.map(|wait| Instant::now() + wait));
        }
    }

    /// Reconciles one instance until it has to wait; returns for how long.
    async fn reconcile(&self, due: &Due) -> Option<Duration> {
        let id = &due.id;
        let mut state = self.inner.worker_states.take(id);
        if due.dirty {
            // Something changed since it converged: observe all of it.
            state.converged = None;
        }
        let again = loop {
            if self.inner.stop.is_cancelled() {
                break None;
            }
            match self.pass(id, &mut state).await {
                Ok(Outcome::AtOnce) => {}
                Ok(Outcome::Again(wait)) => break Some(wait),
                Ok(Outcome::Gone) => return None,
                Err(e) => {
                    tracing::error!(instance = %id, error = ?e, "the database or the vault failed; retrying");
                    break Some(
                        self.inner.settings.timing.host_retry_first.max(Duration::from_millis(50)),
                    );
                }
            }
        };
        self.inner.worker_states.put(id, state);
        again
    }

    /// One observation and at most one step.
    async fn pass(&self, id: &InstanceId, state: &mut WorkerState) -> Result<Outcome, EngineError> {
        if let Some(outcome) = self.probe_converged(state).await {
            return Ok(outcome);
        }
        // Operations before the instance: the desired state then includes all of them.
        let mut open = self.store().open_operations(id).await?;
        let Some((instance, wrapped_key)) = self.store().instance_and_key(id).await? else {
            self.inner.live.remove(id);
            self.close_orphans(open).await?;
            return Ok(Outcome::Gone);
        };
        open.retain(|operation| is_ours(operation, &instance));
        // At the start every slot was checked, and `provision` stays below the capacity.
        let Some(endpoints) = self.inner.host.endpoints(instance.slot) else {
            return Ok(Outcome::Gone);
        };
        self.inner.live.put(
            Arc::new(instance.clone()),
            endpoints,
            open.first().map(|o| o.id.clone()),
        );
        let plan = plan::plan(&self.inner.settings, &instance, &endpoints);
        let mut work =
            Work { engine: self, instance, wrapped_key, plan, open, state, unreadable: None };
        match self.inner.host.observe(&work.plan).await {
            Ok(observed) => {
                let seen = work.seen(&observed);
                let outcome = work.act(&endpoints, observed).await?;
                Ok(self.pace(seen, outcome, state))
            }
            Err(e) => work.host_failed(e).await,
        }
    }

    /// Slows down a loop whose inputs do not change.
    fn pace(&self, seen: Seen, outcome: Outcome, state: &mut WorkerState) -> Outcome {
        let Outcome::AtOnce = outcome else {
            state.seen = None;
            return outcome;
        };
        let times = match state.seen.take() {
            Some((before, times)) if before == seen => times.saturating_add(1),
            _ => 1,
        };
        state.seen = Some((seen, times));
        if times < SAME_LIMIT {
            return Outcome::AtOnce;
        }
        let timing = &self.inner.settings.timing;
        tracing::error!(times, "a defect in StartClaw: a step has no effect; trying more slowly");
        let wait = backoff(times - SAME_LIMIT + 1, timing.backoff_first, timing.backoff_limit);
        Outcome::Again(wait)
    }

    /// Ends the open operations of an instance that is gone.
    async fn close_orphans(&self, open: Vec<Operation>) -> Result<(), EngineError> {
        for mut operation in open {
            let outcome = outcome_of_removal(operation.kind);
            self.finish(&mut operation, outcome).await?;
        }
        Ok(())
    }

    /// The fast path for a converged instance: one probe. `None` when it needs a full observation.
    async fn probe_converged(&self, state: &mut WorkerState) -> Option<Outcome> {
        let plan = state.converged.as_ref()?;
        if let Ok(probe) = self.inner.host.probe(plan).await
            && has_started(&probe)
        {
            state.run.heard();
            return Some(Outcome::Again(self.inner.settings.timing.probe_every));
        }
        state.converged = None;
        None
    }
}

/// Whether an operation ends when the desired state is reached. Backups and drills end with their
/// job, and a restore belongs to its job until its volume is filled; but a removal ends them all.
fn is_ours(operation: &Operation, instance: &Instance) -> bool {
    let desired = &instance.desired;
    desired.presence == Presence::Absent
        || match operation.kind {
            OperationKind::Backup | OperationKind::Drill => false,
            OperationKind::Restore => desired.volumes.filling.is_none(),
            _ => true,
        }
}

/// The error of an operation whose instance is removed before it is over.
pub(crate) const REMOVED: &str = "the instance was deprovisioned meanwhile";

/// How an operation ends when its instance is gone.
fn outcome_of_removal(kind: OperationKind) -> Result<(), String> {
    match kind {
        OperationKind::Deprovision => Ok(()),
        _ => Err(REMOVED.to_owned()),
    }
}

impl Work<'_> {
    /// The inputs that `pace` compares, without values that always change.
    fn seen(&self, observed: &Observed) -> Seen {
        let mut observed = observed.clone();
        if let Some(container) = &mut observed.container {
            container.cpu_used = None;
        }
        (self.instance.revision, self.instance.health.clone(), observed)
    }

    async fn act(
        &mut self,
        endpoints: &startclaw_host::Endpoints,
        observed: Observed,
    ) -> Result<Outcome, EngineError> {
        let now = Timestamp::now();
        self.state.run.observe(observed.container.as_ref(), now);
        let setup = plan::setup(&self.engine.inner.settings, &self.instance, endpoints);
        let current = observed.config.as_deref();
        let wanted = startclaw_openclaw::configuration(current, &setup);
        // An unreadable file belongs to its owner: first let OpenClaw and its doctor handle it.
        self.unreadable = wanted.as_ref().err().map(ToString::to_string);
        let config =
            wanted.ok().filter(|wanted| current != Some(wanted.as_slice())).map(bytes::Bytes::from);
        if has_started(&observed.probe) || observed.probe == Probe::Blocked {
            self.state.run.heard();
        }
        let decision = next_step(&Inputs {
            presence: self.instance.desired.presence,
            volumes: &self.instance.desired.volumes,
            deletion_policy: self.instance.desired.deletion_policy,
            spec: &self.plan.spec,
            secrets_revision: self.plan.secrets_revision,
            config: config.as_ref(),
            unreadable: self.unreadable.is_some(),
            observed: &observed,
            health: &self.instance.health,
            boots_limited: self.state.starts.are_many(now),
            saw_run: observed.container.as_ref().is_some_and(|c| self.state.run.saw(c)),
            run_lasts: self.state.run.lasts(),
            silent_for: self.state.run.silent_for(),
            started_at: self.engine.inner.started_at,
            now,
            timing: &self.engine.inner.settings.timing,
        });
        let boots = matches!(
            decision,
            Decision::Do(Step::StartContainer) | Decision::Wait(_, Waiting::Boot)
        );
        if !boots {
            self.release_boot();
        }
        if self.waits_for_job(&decision) {
            return Ok(Outcome::Again(self.engine.inner.settings.timing.host_retry_first));
        }
        if self.begins_to_use_volume(&decision, &observed) {
            return self.mark_volume_used().await;
        }
        match decision {
            Decision::Do(step) => self.take(step).await,
            Decision::DataLost(loss) => self.data_lost(loss, &observed.volume_name).await,
            Decision::End(why) => {
                self.state.ended_for = Some(why);
                self.take(Step::StopContainer).await
            }
            Decision::CountFailure(failure) => self.count(failure).await,
            Decision::Wait(time, waiting) => self.wait(time, waiting).await,
            Decision::RunPreDelete => {
                // The pre-delete step reports its own steps.
                self.show(InstanceState::Removing);
                self.engine.inner.jobs.request_pre_delete(&self.instance.id);
                Ok(Outcome::Again(self.engine.inner.settings.timing.sweep_every))
            }
            Decision::Converged => self.converged().await,
            Decision::Gone => self.gone().await,
        }
    }

    /// Whether the removal of data must wait for a job: a restore in progress would create a volume
    /// again, which would be orphaned.
    fn waits_for_job(&self, decision: &Decision) -> bool {
        let last = matches!(
            decision,
            Decision::Gone | Decision::Do(Step::RemoveVolume | Step::RemoveOtherVolume(_))
        );
        last && self.instance.desired.presence == Presence::Absent
            && self.engine.inner.jobs.is_busy(&self.instance.id)
    }

    /// Applies one step.
    async fn take(&mut self, step: Step) -> Result<Outcome, EngineError> {
        if step == Step::StartContainer {
            if let Some(e) = self.engine.firewall_error() {
                return self.host_failed(e).await;
            }
            let failed = self.instance.health.failures > 0;
            if !self.engine.inner.boot_limiter.acquire(&self.instance.id, failed) {
                self.begin("queue").await?;
                self.show(InstanceState::Starting);
                // The end of another boot wakes the next instance; this is a fallback.
                return Ok(Outcome::Again(self.engine.inner.settings.timing.sweep_every));
            }
        }
        self.begin(step.name()).await?;
        self.record_loss(&step).await;
        self.show(InstanceState::Starting);
        if step == Step::Repair {
            // Before the repair: a crash in between must not cause a second one.
            self.instance.health.repaired = true;
            if !self.store_health().await? {
                return Ok(Outcome::AtOnce);
            }
        }
        if step == Step::QuarantineConfig {
            self.forget_open_bot().await?;
            self.note_quarantine().await;
        }
        if step == Step::WriteSecrets {
            self.plan.secrets = self.engine.secret_files(&self.instance, &self.wrapped_key).await?;
        }
        let begun = Instant::now();
        let done = self.engine.inner.host.apply(&self.plan, &step).await;
        self.plan.secrets.clear();
        metrics::histogram!("startclaw_step_seconds", "step" => step.name())
            .record(begun.elapsed().as_secs_f64());
        match done {
            Ok(()) => {
                self.state.host_errors = 0;
                if step == Step::StartContainer {
                    self.state.starts.note(Timestamp::now());
                    self.state.run.start();
                }
                Ok(Outcome::AtOnce)
            }
            Err(e) if e.kind == HostErrorKind::NoImage && step != Step::FetchImage => {
                self.begin(Step::FetchImage.name()).await?;
                match self.engine.inner.host.apply(&self.plan, &Step::FetchImage).await {
                    Ok(()) => Ok(Outcome::AtOnce),
                    Err(e) => self.host_failed(e).await,
                }
            }
            Err(e) => self.host_failed(e).await,
        }
    }

    /// The choice of an open bot applies to the first configuration. One that is written after a
    /// quarantine must not open the bot again, which its owner may have closed meanwhile. `false`
    /// when there is no such choice.
    async fn forget_open_bot(&self) -> Result<bool, EngineError> {
        if self.instance.desired.profile.telegram_access.is_pairing() {
            return Ok(false);
        }
        let close = |desired: &mut Desired| {
            desired.profile.telegram_access = TelegramAccess::Pairing;
            true
        };
        self.engine.store().amend(&self.instance.id, close).await?;
        Ok(true)
    }

    /// Releases this instance's boot or its place in the waiting line, and wakes the next one.
    fn release_boot(&self) {
        if let Some(next) = self.engine.inner.boot_limiter.release(&self.instance.id) {
            self.engine.inner.queue.push(&next);
        }
    }

    async fn wait(&mut self, time: Duration, waiting: Waiting) -> Result<Outcome, EngineError> {
        let timing = &self.engine.inner.settings.timing;
        match waiting {
            Waiting::Boot => {
                self.begin("boot").await?;
                self.show(InstanceState::Starting);
                // A boot that takes far too long must not block the others.
                if self.state.run.lasts() > timing.boot_share {
                    self.release_boot();
                }
                return Ok(self.until_started(time).await);
            }
            Waiting::Backoff => {
                let failing = self.is_failing();
                self.show(if failing { InstanceState::Failing } else { InstanceState::Starting });
                if failing {
                    self.fail_operations().await?;
                }
            }
            Waiting::Answer => {
                self.state.run.silent();
            }
            Waiting::Restore => self.show(InstanceState::Starting),
            Waiting::Host(fault) => {
                self.state.run.heard();
                self.show(InstanceState::Starting);
                self.engine.inner.live.update(&self.instance.id, |entry| {
                    entry.host_error = Some(fault.to_owned());
                });
            }
        }
        Ok(Outcome::Again(time))
    }

    /// Only probes the booting instance for a while: a full observation takes CPU time that the
    /// boot needs. Then the worker is released, for changes meanwhile and for other instances.
    async fn until_started(&self, every: Duration) -> Outcome {
        for _ in 0..QUICK_PROBES {
            tokio::time::sleep(every).await;
            // A probe of an instance that accepts connections but does not answer takes seconds.
            let probe = self.engine.inner.host.probe(&self.plan).await;
            let goes_on = probe.is_ok_and(|p| !has_started(&p) && p != Probe::Silent);
            if self.engine.inner.stop.is_cancelled() || !goes_on {
                break;
            }
        }
        Outcome::Again(Duration::ZERO)
    }

    /// Desired and observed state agree: operations succeed, and failures are reset after a while.
    async fn converged(&mut self) -> Result<Outcome, EngineError> {
        let timing = self.engine.inner.settings.timing.clone();
        let was_broken = self.instance.health.failures > 0;
        self.state.ended_for = None;
        self.state.host_errors = 0;
        let id = self.instance.id.clone();
        if self.instance.desired.volumes.is_on_probation() {
            self.engine
                .store()
                .amend(&id, |desired| {
                    desired.volumes.confirm();
                    true
                })
                .await?;
            return Ok(Outcome::AtOnce);
        }
        if self.forget_open_bot().await? {
            return Ok(Outcome::AtOnce);
        }
        let before = self.engine.inner.live.by_id(&id).map(|e| e.state);
        // Before the state: a client that sees it live also finds the event.
        if was_broken && before != Some(InstanceState::Live) {
            let about = Some((&self.instance.id, &self.instance.name));
            self.engine.record(EventKind::Recovered, about, &Actor::system(), "live again").await;
        }
        self.engine.inner.live.update(&id, |entry| {
            entry.state = InstanceState::Live;
            entry.host_error = None;
            entry.operation = None;
        });
        // After the state: a client that sees the operation succeed also finds the instance live.
        if let Some(operation) = self.open.first_mut() {
            begin_step(operation, "live");
        }
        for mut operation in std::mem::take(&mut self.open) {
            self.engine.finish(&mut operation, Ok(())).await?;
        }
        let health = &mut self.instance.health;
        let quiet = health
            .last_failure_at
            .is_none_or(|t| Timestamp::now().since(t) >= timing.failures_reset_after);
        if *health != Health::default() && quiet {
            *health = Health::default();
            self.store_health().await?;
        }
        // With failures that are not reset yet, the next pass is a full one.
        if self.instance.health == Health::default() {
            self.state.converged = Some(self.plan.clone());
        }
        Ok(Outcome::Again(timing.probe_every))
    }

    /// Nothing is left on the host: deletes the instance.
    async fn gone(&mut self) -> Result<Outcome, EngineError> {
        let mut over = std::mem::take(&mut self.open);
        for operation in &mut over {
            let outcome = outcome_of_removal(operation.kind);
            close(operation, outcome);
        }
        // In one transaction: no operation stays open without its instance, and when a client sees
        // it end, the name can be reused.
        self.engine.store().forget(&self.instance.id, &over).await?;
        // The mark for a disconnect was deleted with the instance.
        self.engine.sessions().forget(std::slice::from_ref(&self.instance.id));
        self.engine.inner.live.remove(&self.instance.id);
        for operation in &over {
            self.engine.publish_finished(operation).await;
        }
        Ok(Outcome::Gone)
    }

    /// Begins a step of the current operation, visible to clients.
    pub(super) async fn begin(&mut self, step: &str) -> Result<(), EngineError> {
        let Some(operation) = self.open.first_mut() else { return Ok(()) };
        if begin_step(operation, step) {
            self.engine.save(operation).await?;
        }
        Ok(())
    }

    pub(super) fn show(&self, state: InstanceState) {
        let state = match (state, self.instance.desired.presence) {
            (_, Presence::Absent) => InstanceState::Removing,
            // A failing instance stays failing during retries.
            (InstanceState::Starting, _) if self.is_failing() => InstanceState::Failing,
            (state, _) => state,
        };
        self.engine.inner.live.update(&self.instance.id, |entry: &mut live::Entry| {
            entry.state = state;
            entry.host_error = None;
        });
    }
}
