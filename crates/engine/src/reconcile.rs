//! The loop: look, decide, do one step, look again, until nothing is left to do.
//!
//! A crash anywhere in here needs no recovery: the next look sees what is there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use startclaw_host::{HostErrorKind, Observed, Plan, Probe, Step};
use startclaw_model::{
    Actor, EventKind, Health, Instance, InstanceId, InstanceState, Operation, OperationKind,
    Presence, Timestamp,
};
use tokio::time::Instant;

use crate::{
    Engine, EngineError,
    boots::RecentStarts,
    decide::{Decision, Look, Waiting, backoff, has_started, next_step},
    live, plan,
    progress::{begin_step, close},
    queue::Due,
};

/// Probes of a booting instance between two whole looks.
const QUICK_LOOKS: u32 = 10;

/// What a worker keeps of an instance between two looks; a new daemon starts without it.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The plan of a settled instance: it is probed with it alone until something comes up.
    pub(super) settled: Option<Plan>,
    /// Since when a booted container does not answer.
    pub(super) silent_since: Option<Timestamp>,
    /// Why we ended the container, for the report of its end.
    pub(super) ended_for: Option<String>,
    /// Troubles with the host in a row.
    pub(super) troubles: u32,
    /// When it was started lately.
    starts: RecentStarts,
    /// When lost data were last restored automatically.
    pub(super) restored_at: Option<Timestamp>,
    /// What the last pass saw, and how often in a row.
    seen: Option<(Seen, u32)>,
}

/// What a decision follows from: the revision, what healing remembers, and what is there.
type Seen = (u64, Health, Observed);

/// The same observation so often in a row, each followed at once by another pass, means that what
/// is done has no effect. Fetching an image makes it twice.
const SAME_LIMIT: u32 = 3;

/// The memories of all workers. A worker takes an instance's out while it works on it.
#[derive(Debug, Default)]
pub(crate) struct Memories(Mutex<HashMap<InstanceId, Memory>>);

impl Memories {
    fn take(&self, id: &InstanceId) -> Memory {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(id).unwrap_or_default()
    }

    fn put(&self, id: &InstanceId, memory: Memory) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), memory);
    }
}

/// One instance under work.
pub(crate) struct Work<'a> {
    pub(super) engine: &'a Engine,
    pub(super) instance: Instance,
    pub(super) wrapped_key: String,
    pub(super) plan: Plan,
    /// The operations that what is wanted includes, oldest first.
    pub(super) open: Vec<Operation>,
    pub(super) memory: &'a mut Memory,
    /// Why its configuration file cannot be read, if it cannot.
    pub(super) unreadable: Option<String>,
}

/// What a pass came to.
pub(crate) enum Outcome {
    /// Look again after this time.
    Again(Duration),
    /// Look at once.
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
            let work = std::panic::AssertUnwindSafe(self.look_after(&due)).catch_unwind();
            let again = work.await.unwrap_or_else(|_| {
                tracing::error!(instance = %due.id, "a defect in StartClaw: the look at this instance panicked");
                Some(self.inner.settings.timing.backoff_limit)
            });
            self.inner.queue.done(&due.id, again.map(|wait| Instant::now() + wait));
        }
    }

    /// Looks after one instance until it has to wait; says for how long.
    async fn look_after(&self, due: &Due) -> Option<Duration> {
        let id = &due.id;
        let mut memory = self.inner.memories.take(id);
        if due.news {
            // What came up is not in what was settled: look at all of it.
            memory.settled = None;
        }
        let again = loop {
            if self.inner.stop.is_cancelled() {
                break None;
            }
            match self.pass(id, &mut memory).await {
                Ok(Outcome::AtOnce) => {}
                Ok(Outcome::Again(wait)) => break Some(wait),
                Ok(Outcome::Gone) => return None,
                Err(e) => {
                    tracing::error!(instance = %id, error = ?e, "the database or the vault failed; trying again");
                    break Some(
                        self.inner.settings.timing.trouble_first.max(Duration::from_millis(50)),
                    );
                }
            }
        };
        self.inner.memories.put(id, memory);
        again
    }

    /// One look and at most one step.
    async fn pass(&self, id: &InstanceId, memory: &mut Memory) -> Result<Outcome, EngineError> {
        if let Some(outcome) = self.probe_settled(memory).await {
            return Ok(outcome);
        }
        // Operations before the instance: what is wanted then includes all of them.
        let mut open = self.store().open_operations(id).await?;
        let Some((instance, wrapped_key)) = self.store().instance_and_key(id).await? else {
            self.inner.live.remove(id);
            self.close_orphans(open).await?;
            return Ok(Outcome::Gone);
        };
        open.retain(|operation| is_ours(operation, &instance));
        // The start has made sure that every slot has a place, and `provision` stays below the capacity.
        let Some(place) = self.inner.host.place(instance.slot) else { return Ok(Outcome::Gone) };
        self.inner.live.put(Arc::new(instance.clone()), place, open.first().map(|o| o.id.clone()));
        let plan = plan::plan(&self.inner.settings, &instance, &place);
        let mut work =
            Work { engine: self, instance, wrapped_key, plan, open, memory, unreadable: None };
        match self.inner.host.observe(&work.plan).await {
            Ok(observed) => {
                let seen = work.seen(&observed);
                let outcome = work.act(&place, observed).await?;
                Ok(self.pace(seen, outcome, memory))
            }
            Err(e) => work.trouble(e).await,
        }
    }

    /// Slows a loop down that sees the same again and again.
    fn pace(&self, seen: Seen, outcome: Outcome, memory: &mut Memory) -> Outcome {
        let Outcome::AtOnce = outcome else {
            memory.seen = None;
            return outcome;
        };
        let times = match memory.seen.take() {
            Some((before, times)) if before == seen => times.saturating_add(1),
            _ => 1,
        };
        memory.seen = Some((seen, times));
        if times < SAME_LIMIT {
            return Outcome::AtOnce;
        }
        let timing = &self.inner.settings.timing;
        tracing::error!(times, "a defect in StartClaw: a step has no effect; trying more slowly");
        let wait = backoff(times - SAME_LIMIT + 1, timing.backoff_first, timing.backoff_limit);
        Outcome::Again(wait)
    }

    /// Operations of an instance that is gone: nothing can be done for them any more.
    async fn close_orphans(&self, open: Vec<Operation>) -> Result<(), EngineError> {
        for mut operation in open {
            let outcome = outcome_of_removal(operation.kind);
            self.finish(&mut operation, outcome).await?;
        }
        Ok(())
    }

    /// The quick way for an instance that was settled and of which nothing else is wanted:
    /// one probe. `None` when it needs a whole look.
    async fn probe_settled(&self, memory: &mut Memory) -> Option<Outcome> {
        let plan = memory.settled.as_ref()?;
        if let Ok(probe) = self.inner.host.probe(plan).await
            && has_started(&probe)
        {
            memory.silent_since = None;
            return Some(Outcome::Again(self.inner.settings.timing.probe_every));
        }
        memory.settled = None;
        None
    }
}

/// Whether an operation is over when what is wanted is there. A backup or drill is over when it is
/// made, and a restore is not ours before its volume is filled; but a removal ends them all.
fn is_ours(operation: &Operation, instance: &Instance) -> bool {
    let desired = &instance.desired;
    desired.presence == Presence::Absent
        || match operation.kind {
            OperationKind::Backup | OperationKind::Drill => false,
            OperationKind::Restore => desired.volumes.filling.is_none(),
            _ => true,
        }
}

/// Why an operation fails whose instance is removed before it is over.
pub(crate) const REMOVED: &str = "the instance was deprovisioned meanwhile";

/// How an operation ends when its instance is gone.
fn outcome_of_removal(kind: OperationKind) -> Result<(), String> {
    match kind {
        OperationKind::Deprovision => Ok(()),
        _ => Err(REMOVED.to_owned()),
    }
}

impl Work<'_> {
    /// What `pace` compares: without what changes by itself.
    fn seen(&self, observed: &Observed) -> Seen {
        let mut observed = observed.clone();
        if let Some(container) = &mut observed.container {
            container.cpu_used = None;
        }
        (self.instance.revision, self.instance.health.clone(), observed)
    }

    async fn act(
        &mut self,
        place: &startclaw_host::Place,
        observed: Observed,
    ) -> Result<Outcome, EngineError> {
        let now = Timestamp::now();
        let setup = plan::setup(&self.engine.inner.settings, &self.instance, place);
        let current = observed.config.as_deref();
        let wanted = startclaw_openclaw::configuration(current, &setup);
        // An unreadable file is its owner's: OpenClaw and its doctor get to see it first.
        self.unreadable = wanted.as_ref().err().map(ToString::to_string);
        let config =
            wanted.ok().filter(|wanted| current != Some(wanted.as_slice())).map(bytes::Bytes::from);
        if has_started(&observed.probe) || observed.probe == Probe::Blocked {
            self.memory.silent_since = None;
        }
        let decision = next_step(&Look {
            presence: self.instance.desired.presence,
            volumes: &self.instance.desired.volumes,
            farewell: self.instance.desired.farewell,
            spec: &self.plan.spec,
            secrets_revision: self.plan.secrets_revision,
            config: config.as_ref(),
            unreadable: self.unreadable.is_some(),
            observed: &observed,
            health: &self.instance.health,
            boots_limited: self.memory.starts.are_many(now),
            silent_since: self.memory.silent_since,
            born: self.engine.inner.born,
            now,
            timing: &self.engine.inner.settings.timing,
        });
        let boots = matches!(
            decision,
            Decision::Do(Step::StartContainer) | Decision::Wait(_, Waiting::Boot)
        );
        if !boots {
            self.leave_boot();
        }
        if self.waits_for_job(&decision) {
            return Ok(Outcome::Again(self.engine.inner.settings.timing.trouble_first));
        }
        if self.begins_to_use_volume(&decision, &observed) {
            return self.mark_volume_used().await;
        }
        match decision {
            Decision::Do(step) => self.take(step).await,
            Decision::DataLost(loss) => self.data_lost(loss, &observed.volume_name).await,
            Decision::End(why) => {
                self.memory.ended_for = Some(why);
                self.take(Step::StopContainer).await
            }
            Decision::CountFailure(failure) => self.count(failure).await,
            Decision::Wait(time, waiting) => {
                let begun = observed.container.and_then(|c| c.started_at);
                self.wait(time, waiting, begun).await
            }
            Decision::BidFarewell => {
                // Its steps are the farewell's own to tell.
                self.show(InstanceState::Removing);
                self.engine.inner.jobs.say_farewell(&self.instance.id);
                Ok(Outcome::Again(self.engine.inner.settings.timing.sweep_every))
            }
            Decision::Settled => self.settled().await,
            Decision::Gone => self.gone().await,
        }
    }

    /// Whether the data of a removed instance have to wait for a job: a restore under way would
    /// make a volume again that nothing knows.
    fn waits_for_job(&self, decision: &Decision) -> bool {
        let last = matches!(
            decision,
            Decision::Gone | Decision::Do(Step::RemoveVolume | Step::RemoveOtherVolume(_))
        );
        last && self.instance.desired.presence == Presence::Absent
            && self.engine.inner.jobs.is_busy(&self.instance.id)
    }

    /// Takes one step.
    async fn take(&mut self, step: Step) -> Result<Outcome, EngineError> {
        if step == Step::StartContainer {
            if let Some(e) = self.engine.no_walls() {
                return self.trouble(e).await;
            }
            let failed = self.instance.health.failures > 0;
            if !self.engine.inner.boots.enter(&self.instance.id, failed) {
                self.begin("queue").await?;
                self.show(InstanceState::Starting);
                // Whoever leaves wakes the next; this is for the case that nobody does.
                return Ok(Outcome::Again(self.engine.inner.settings.timing.sweep_every));
            }
        }
        self.begin(step.name()).await?;
        self.note_loss(&step).await;
        self.show(InstanceState::Starting);
        if step == Step::Repair {
            // Before, not after: a crash in between must not make it twice.
            self.instance.health.repaired = true;
            if !self.store_health().await? {
                return Ok(Outcome::AtOnce);
            }
        }
        if step == Step::SetConfigAside {
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
                self.memory.troubles = 0;
                if step == Step::StartContainer {
                    self.memory.starts.note(Timestamp::now());
                }
                Ok(Outcome::AtOnce)
            }
            Err(e) if e.kind == HostErrorKind::NoImage && step != Step::FetchImage => {
                self.begin(Step::FetchImage.name()).await?;
                match self.engine.inner.host.apply(&self.plan, &Step::FetchImage).await {
                    Ok(()) => Ok(Outcome::AtOnce),
                    Err(e) => self.trouble(e).await,
                }
            }
            Err(e) => self.trouble(e).await,
        }
    }

    /// Lets the next instance boot, if this one had the right to or waited for it.
    fn leave_boot(&self) {
        if let Some(next) = self.engine.inner.boots.leave(&self.instance.id) {
            self.engine.inner.queue.push(&next);
        }
    }

    async fn wait(
        &mut self,
        time: Duration,
        waiting: Waiting,
        begun: Option<Timestamp>,
    ) -> Result<Outcome, EngineError> {
        let timing = &self.engine.inner.settings.timing;
        match waiting {
            Waiting::Boot => {
                self.begin("boot").await?;
                self.show(InstanceState::Starting);
                // One that takes far longer than a boot does must not keep the others waiting.
                if begun.is_some_and(|t| Timestamp::now().since(t) > timing.boot_share) {
                    self.leave_boot();
                }
                return Ok(self.until_started(time).await);
            }
            Waiting::Backoff => {
                let failing = self.is_failing();
                self.show(if failing { InstanceState::Failing } else { InstanceState::Starting });
                if failing {
                    self.give_up().await?;
                }
            }
            Waiting::Answer => {
                self.memory.silent_since.get_or_insert_with(Timestamp::now);
            }
            Waiting::Restore => self.show(InstanceState::Starting),
            Waiting::Host(fault) => {
                self.memory.silent_since = None;
                self.show(InstanceState::Starting);
                self.engine.inner.live.update(&self.instance.id, |entry| {
                    entry.trouble = Some(fault.to_owned());
                });
            }
        }
        Ok(Outcome::Again(time))
    }

    /// Asks only the booting instance itself for a while: a whole look takes CPU time that the
    /// boot is short of. Then the worker is given back, for what came up meanwhile and for the
    /// other instances.
    async fn until_started(&self, every: Duration) -> Outcome {
        for _ in 0..QUICK_LOOKS {
            tokio::time::sleep(every).await;
            // One that takes connections and says nothing costs seconds each time.
            let probe = self.engine.inner.host.probe(&self.plan).await;
            let goes_on = probe.is_ok_and(|p| !has_started(&p) && p != Probe::Silent);
            if self.engine.inner.stop.is_cancelled() || !goes_on {
                break;
            }
        }
        Outcome::Again(Duration::ZERO)
    }

    /// Everything is as it is to be: operations are over, failures forgiven after a while.
    async fn settled(&mut self) -> Result<Outcome, EngineError> {
        let timing = self.engine.inner.settings.timing.clone();
        let was_broken = self.instance.health.failures > 0;
        self.memory.ended_for = None;
        self.memory.troubles = 0;
        let id = self.instance.id.clone();
        if self.instance.desired.volumes.is_on_trial() {
            self.engine
                .store()
                .amend(&id, |desired| {
                    desired.volumes.prove();
                    true
                })
                .await?;
            return Ok(Outcome::AtOnce);
        }
        let before = self.engine.inner.live.by_id(&id).map(|e| e.state);
        // Before the state: who sees it live again finds the event.
        if was_broken && before != Some(InstanceState::Live) {
            let about = Some((&self.instance.id, &self.instance.name));
            self.engine
                .record(EventKind::Healed, about, &Actor::system(), "it is live again")
                .await;
        }
        self.engine.inner.live.update(&id, |entry| {
            entry.state = InstanceState::Live;
            entry.trouble = None;
            entry.operation = None;
        });
        // After the state: who hears that an operation succeeded finds the instance live.
        if let Some(operation) = self.open.first_mut() {
            begin_step(operation, "live");
        }
        for mut operation in std::mem::take(&mut self.open) {
            self.engine.finish(&mut operation, Ok(())).await?;
        }
        let health = &mut self.instance.health;
        let quiet = health
            .last_failure_at
            .is_none_or(|t| Timestamp::now().since(t) >= timing.forgiven_after);
        if *health != Health::default() && quiet {
            *health = Health::default();
            self.store_health().await?;
        }
        // Failures that are not forgiven yet are looked at again, the long way.
        if self.instance.health == Health::default() {
            self.memory.settled = Some(self.plan.clone());
        }
        Ok(Outcome::Again(timing.probe_every))
    }

    /// Nothing is left on the host: forget it.
    async fn gone(&mut self) -> Result<Outcome, EngineError> {
        let mut over = std::mem::take(&mut self.open);
        for operation in &mut over {
            let outcome = outcome_of_removal(operation.kind);
            close(operation, outcome);
        }
        // In one transaction: no operation stays open without its instance, and whoever sees
        // it over can use the name again.
        self.engine.store().forget(&self.instance.id, &over).await?;
        // The mark of what is to be cut went with the instance.
        self.engine.sessions().forget(std::slice::from_ref(&self.instance.id));
        self.engine.inner.live.remove(&self.instance.id);
        for operation in &over {
            self.engine.tell_finished(operation).await;
        }
        Ok(Outcome::Gone)
    }

    /// Shows a step to whoever waits for the operation at hand.
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
            // An instance that fails for long stays failing while it is tried again.
            (InstanceState::Starting, _) if self.is_failing() => InstanceState::Failing,
            (state, _) => state,
        };
        self.engine.inner.live.update(&self.instance.id, |entry: &mut live::Entry| {
            entry.state = state;
            entry.trouble = None;
        });
    }
}
