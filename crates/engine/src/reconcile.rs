//! The loop: look, decide, do one step, look again, until nothing is left to do.
//!
//! A crash anywhere in here needs no recovery: the next look sees what is there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use startclaw_host::{HostError, HostErrorKind, LogRequest, Observed, Plan, Step};
use startclaw_model::{
    Actor, EventKind, Health, Instance, InstanceId, InstanceState, MAX_LOG_LINES, Operation,
    OperationKind, Presence, Timestamp,
};
use tokio::time::Instant;

use crate::{
    Engine, EngineError,
    decide::{Decision, Failure, Look, Waiting, backoff, has_started, next_step},
    live, plan,
    progress::{begin_step, close, fail_step},
    queue::Due,
};

/// What a worker keeps of an instance between two looks; a new daemon starts without it.
#[derive(Debug, Default)]
struct Memory {
    /// The plan of a settled instance: it is probed with it alone until something comes up.
    settled: Option<Plan>,
    /// Since when a booted container does not answer.
    silent_since: Option<Timestamp>,
    /// Why we ended the container, for the report of its end.
    ended_for: Option<String>,
    /// Troubles with the host in a row.
    troubles: u32,
}

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
struct Work<'a> {
    engine: &'a Engine,
    instance: Instance,
    wrapped_key: String,
    plan: Plan,
    /// The operations that what is wanted includes, oldest first.
    open: Vec<Operation>,
    memory: &'a mut Memory,
}

/// What a pass came to.
enum Outcome {
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
        let open = self.store().open_operations(id).await?;
        let Some((instance, wrapped_key)) = self.store().instance_and_key(id).await? else {
            self.inner.live.remove(id);
            return Ok(Outcome::Gone);
        };
        // The start has made sure that every slot has a place, and `provision` stays below the capacity.
        let Some(place) = self.inner.host.place(instance.slot) else { return Ok(Outcome::Gone) };
        self.inner.live.put(Arc::new(instance.clone()), place, open.first().map(|o| o.id.clone()));
        let plan = plan::plan(&self.inner.settings, &instance, &place);
        let mut work = Work { engine: self, instance, wrapped_key, plan, open, memory };
        match self.inner.host.observe(&work.plan).await {
            Ok(observed) => work.act(&place, observed).await,
            Err(e) => work.trouble(e).await,
        }
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

impl Work<'_> {
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
        let unreadable = wanted.is_err();
        let config =
            wanted.ok().filter(|wanted| current != Some(wanted.as_slice())).map(bytes::Bytes::from);
        if has_started(&observed.probe) {
            self.memory.silent_since = None;
        }
        let decision = next_step(&Look {
            presence: self.instance.desired.presence,
            spec: &self.plan.spec,
            secrets_revision: self.plan.secrets_revision,
            config: config.as_ref(),
            unreadable,
            observed: &observed,
            health: &self.instance.health,
            silent_since: self.memory.silent_since,
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
        match decision {
            Decision::Do(step) => self.take(step).await,
            Decision::End(why) => {
                self.memory.ended_for = Some(why);
                self.take(Step::StopContainer).await
            }
            Decision::CountFailure(failure) => self.count(failure).await,
            Decision::Wait(time, waiting) => {
                let begun = observed.container.and_then(|c| c.started_at);
                self.wait(time, waiting, begun).await
            }
            Decision::Settled => self.settled().await,
            Decision::Gone => self.gone().await,
        }
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

    /// A container that has to be made although nobody asked for anything was taken away.
    async fn note_loss(&self, step: &Step) {
        let was_live = self
            .engine
            .inner
            .live
            .by_id(&self.instance.id)
            .is_some_and(|e| e.state == InstanceState::Live);
        if *step == Step::CreateContainer && self.open.is_empty() && was_live {
            let name = Some(&self.instance.name);
            let what = "its container was gone or out of date and is made again";
            self.engine.record(EventKind::Broke, name, &Actor::system(), what).await;
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
        match waiting {
            Waiting::Boot => {
                self.begin("boot").await?;
                self.show(InstanceState::Starting);
                // One that takes far longer than a boot does must not keep the others waiting.
                if begun.is_some_and(|t| {
                    Timestamp::now().since(t) > self.engine.inner.settings.timing.boot_share
                }) {
                    self.leave_boot();
                }
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
        }
        Ok(Outcome::Again(time))
    }

    fn is_failing(&self) -> bool {
        self.instance.health.failures >= self.engine.inner.settings.timing.failing_after
    }

    /// The operations that wait for an instance that does not come up are over; the trying goes on.
    async fn give_up(&mut self) -> Result<(), EngineError> {
        if self.instance.desired.presence == Presence::Absent {
            // A removal is over when all is gone, not before.
            return Ok(());
        }
        let why =
            self.instance.health.reason.clone().unwrap_or_else(|| "it does not come up".into());
        for mut operation in std::mem::take(&mut self.open) {
            self.engine.finish(&mut operation, Err(why.clone())).await?;
        }
        self.engine.inner.live.update(&self.instance.id, |e| e.operation = None);
        Ok(())
    }

    /// Counts a container that ended by itself, once.
    async fn count(&mut self, failure: Failure) -> Result<Outcome, EngineError> {
        let ending = startclaw_openclaw::ending(failure.code, failure.oom_killed);
        let reason = self.memory.ended_for.take().unwrap_or(ending.reason);
        let last_log = self.last_log().await;
        self.note_failure(failure.at, reason, last_log).await?;
        Ok(Outcome::AtOnce)
    }

    async fn note_failure(
        &mut self,
        at: Timestamp,
        reason: String,
        last_log: Vec<String>,
    ) -> Result<(), EngineError> {
        let timing = &self.engine.inner.settings.timing;
        let health = &mut self.instance.health;
        health.failures = health.failures.saturating_add(1);
        health.last_failure_at = Some(at);
        let wait = backoff(health.failures, timing.backoff_first, timing.backoff_limit);
        health.retry_at = Some(Timestamp::now().plus(wait));
        health.reason = Some(reason.clone());
        health.last_log = last_log;
        let failures = health.failures;
        if !self.store_health().await? {
            return Ok(());
        }
        tracing::warn!(name = %self.instance.name, failures, "{reason}");
        metrics::counter!("startclaw_failures_total").increment(1);
        if let Some(operation) = self.open.first_mut() {
            fail_step(operation, &reason);
            self.engine.save(operation).await?;
        }
        // The first and the one that makes it failing; the others say nothing new.
        if failures == 1 || failures == timing.failing_after {
            let name = Some(&self.instance.name);
            self.engine.record(EventKind::Broke, name, &Actor::system(), &reason).await;
        }
        Ok(())
    }

    async fn last_log(&self) -> Vec<String> {
        let request = LogRequest { tail: MAX_LOG_LINES, follow: false };
        match self.engine.inner.host.logs(&self.instance.id, request).await {
            Ok(lines) => {
                lines.filter_map(async |line| line.ok()).take(MAX_LOG_LINES).collect().await
            }
            Err(_) => Vec::new(),
        }
    }

    /// The host failed. Trouble that may pass is waited out and counts for nothing; trouble
    /// that stays is a failure like a container that does not come up.
    async fn trouble(&mut self, e: HostError) -> Result<Outcome, EngineError> {
        let timing = &self.engine.inner.settings.timing;
        self.memory.troubles = self.memory.troubles.saturating_add(1);
        if e.kind == HostErrorKind::Unavailable {
            if self.memory.troubles == 1 {
                tracing::warn!(name = %self.instance.name, error = %e, "the host failed; trying again");
                if self.open.first().is_some_and(|o| o.steps.is_empty()) {
                    self.begin("host").await?;
                }
                if let Some(operation) = self.open.first_mut()
                    && let Some(step) = operation.steps.last_mut()
                {
                    step.detail = Some(e.message.clone());
                    self.engine.save(operation).await?;
                }
            }
            self.show_trouble(e.message).await;
            let wait =
                backoff(self.memory.troubles, timing.trouble_first, timing.backoff_limit / 10);
            return Ok(Outcome::Again(wait));
        }
        self.note_failure(Timestamp::now(), e.message, Vec::new()).await?;
        Ok(Outcome::AtOnce)
    }

    /// The host cannot be asked, but the instance can: what it says itself is what is shown.
    async fn show_trouble(&self, trouble: String) {
        let probe = self.engine.inner.host.probe(&self.plan).await;
        let answers = probe.is_ok_and(|probe| has_started(&probe));
        self.engine.inner.live.update(&self.instance.id, |entry| {
            entry.trouble = Some(trouble);
            entry.state = match entry.state {
                InstanceState::Unknown if answers => InstanceState::Live,
                InstanceState::Live if !answers => InstanceState::Starting,
                state => state,
            };
        });
    }

    /// Everything is as it is to be: operations are over, failures forgiven after a while.
    async fn settled(&mut self) -> Result<Outcome, EngineError> {
        let timing = self.engine.inner.settings.timing.clone();
        let was_broken = self.instance.health.failures > 0;
        self.memory.ended_for = None;
        self.memory.troubles = 0;
        let id = self.instance.id.clone();
        let before = self.engine.inner.live.by_id(&id).map(|e| e.state);
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
        if was_broken && before != Some(InstanceState::Live) {
            let name = Some(&self.instance.name);
            self.engine.record(EventKind::Healed, name, &Actor::system(), "it is live again").await;
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
            close(
                operation,
                match operation.kind {
                    OperationKind::Deprovision => Ok(()),
                    _ => Err("the instance was deprovisioned meanwhile".to_owned()),
                },
            );
        }
        // In one transaction: no operation stays open without its instance, and whoever sees
        // it over can use the name again.
        self.engine.store().forget(&self.instance.id, &over).await?;
        self.engine.inner.live.remove(&self.instance.id);
        for operation in &over {
            self.engine.tell_finished(operation).await;
        }
        Ok(Outcome::Gone)
    }

    /// Shows a step to whoever waits for the operation at hand.
    async fn begin(&mut self, step: &str) -> Result<(), EngineError> {
        let Some(operation) = self.open.first_mut() else { return Ok(()) };
        if begin_step(operation, step) {
            self.engine.save(operation).await?;
        }
        Ok(())
    }

    fn show(&self, state: InstanceState) {
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

    /// Stores what healing remembers, unless something else is wanted of the instance by now:
    /// that began with a clean slate. `false` then; the next look sees it.
    async fn store_health(&mut self) -> Result<bool, EngineError> {
        let Instance { id, health, desired, .. } = &self.instance;
        let stored = self.engine.store().set_health(id, health, desired).await?;
        if stored {
            self.engine.inner.live.set_health(id, health);
        }
        Ok(stored)
    }
}
