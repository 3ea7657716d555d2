//! The reconcile loop: observe, decide, apply one step, observe again, until nothing is left to do.
//!
//! A crash at any point needs no recovery: the next pass observes the state.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use startclaw_host::{InstanceSpec, Observed};
use startclaw_model::{
    Health, Instance, InstanceId, Operation, OperationKind, Presence, StepName, Timestamp,
};
use tokio::time::Instant;

use crate::{
    Engine, EngineError,
    boot_limiter::RecentStarts,
    decide::{backoff, has_started},
    queue::Due,
    run::RunClock,
    spec,
};

/// State that a worker keeps of an instance between two passes; a new daemon starts without it.
#[derive(Debug, Default)]
pub(crate) struct WorkerState {
    /// The spec of a converged instance: only probed with it until something changes.
    pub(super) converged: Option<InstanceSpec>,
    /// The present run of its container.
    pub(super) run: RunClock,
    /// Why we stopped the container, for the report of its exit.
    pub(super) ended_for: Option<String>,
    /// Consecutive errors of the host.
    pub(super) host_errors: u32,
    /// The recent starts.
    pub(super) starts: RecentStarts,
    /// When lost data were last restored automatically.
    pub(super) restored_at: Option<Timestamp>,
    /// The inputs of the last pass, and how often in a row.
    seen: Option<(Seen, u32)>,
}

/// The inputs of a decision: revision, health and observed state.
pub(super) type Seen = (u64, Health, Observed);

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
    pub(super) spec: InstanceSpec,
    /// The operations that the desired state includes, oldest first.
    pub(super) open: Vec<Operation>,
    pub(super) state: &'a mut WorkerState,
    /// Why its configuration file cannot be read, if it cannot.
    pub(super) unreadable: Option<String>,
    /// The step that the host takes.
    pub(super) current: Option<StepName>,
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
        // At one moment: an older state of an operation would overwrite what a job stored in it.
        let (found, mut open) = self.store().instance_and_operations(id).await?;
        let Some((instance, wrapped_key)) = found else {
            self.inner.live.remove(id);
            self.close_orphans(open).await?;
            return Ok(Outcome::Gone);
        };
        open.retain(|operation| is_ours(operation, &instance));
        let endpoints = match self.endpoints_of(&instance).await {
            Ok(endpoints) => endpoints,
            Err(e) => {
                self.inner.live.update(id, |entry| entry.host_error = Some(e.message));
                return Ok(Outcome::Again(self.inner.settings.timing.host_retry_first));
            }
        };
        self.inner.live.put(
            Arc::new(instance.clone()),
            endpoints,
            open.first().map(|o| o.id.clone()),
        );
        let spec = spec::spec(&self.inner.settings, &instance, &endpoints);
        let mut work = Work {
            engine: self,
            instance,
            wrapped_key,
            spec,
            open,
            state,
            unreadable: None,
            current: None,
        };
        match self.inner.host.observe(&work.spec).await {
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
        let spec = state.converged.as_ref()?;
        if let Ok(probe) = self.inner.host.probe(spec).await
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
pub const REMOVED: &str = "the instance was deprovisioned meanwhile";

/// How an operation ends when its instance is gone.
pub(super) fn outcome_of_removal(kind: OperationKind) -> Result<(), String> {
    match kind {
        OperationKind::Deprovision => Ok(()),
        _ => Err(REMOVED.to_owned()),
    }
}
