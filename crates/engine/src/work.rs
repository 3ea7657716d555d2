//! One pass of the reconcile loop on one instance: acts on what was observed.

use std::time::Duration;

use async_trait::async_trait;
use startclaw_host::{
    Container, Convergence, Endpoints, Enforced, HostError, Observed, Probe, StepReporter, Target,
};
use startclaw_model::{
    Actor, Desired, EventKind, Health, InstanceState, Presence, StepName, TelegramAccess, Timestamp,
};
use tokio::time::Instant;

use crate::{
    EngineError,
    decide::{Decision, Inputs, Then, Waiting, has_started, next_step},
    live,
    reconcile::{Outcome, Seen, Work, outcome_of_removal},
    spec,
};

/// Probes of a booting instance between two full observations.
const QUICK_PROBES: u32 = 10;

#[async_trait]
impl StepReporter for Work<'_> {
    async fn begin(&mut self, step: StepName) {
        if let Err(e) = Self::begin(self, step).await {
            tracing::warn!(error = ?e, "a step could not be stored");
        }
        if step == StepName::Container {
            self.record_loss().await;
        }
        if step != StepName::Start {
            // The preparation may take minutes, for which no other boot waits.
            self.release_boot();
        }
        self.show(InstanceState::Starting);
        self.current = Some(step);
    }
}

/// Whether all limits were applied, which ends a boot.
fn has_booted(observed: &Observed) -> bool {
    observed.container.as_ref().is_some_and(|c| c.enforced == Enforced::All)
}

/// Whether the instance boots, or is about to.
fn needs_boot(decision: &Decision) -> bool {
    matches!(decision, Decision::Converge(_, Then::Start | Then::Wait(_, Waiting::Boot)))
}

impl Work<'_> {
    /// The inputs that `pace` compares, without values that always change.
    pub(super) fn seen(&self, observed: &Observed) -> Seen {
        let mut observed = observed.clone();
        if let Some(container) = &mut observed.container {
            container.cpu_used = None;
        }
        (self.instance.revision, self.instance.health.clone(), observed)
    }

    pub(super) async fn act(
        &mut self,
        endpoints: &Endpoints,
        observed: Observed,
    ) -> Result<Outcome, EngineError> {
        let now = Timestamp::now();
        self.state.run.observe(observed.container.as_ref(), now);
        let setup = spec::setup(&self.engine.inner.settings, &self.instance, endpoints);
        let current = observed.config.as_deref();
        let wanted = startclaw_openclaw::configuration(current, &setup);
        // An unreadable file belongs to its owner: first let OpenClaw and its doctor handle it.
        self.unreadable = wanted.as_ref().err().map(ToString::to_string);
        let config =
            wanted.ok().filter(|wanted| current != Some(wanted.as_slice())).map(bytes::Bytes::from);
        if has_started(&observed.probe) || observed.probe == Probe::Blocked {
            self.state.run.heard();
        }
        let job_busy = self.engine.inner.job_service.is_busy(&self.instance.id);
        let decision = next_step(&Inputs {
            presence: self.instance.desired.presence,
            volumes: &self.instance.desired.volumes,
            deletion_policy: self.instance.desired.deletion_policy,
            digest: &self.spec.digest,
            secrets_revision: self.spec.secrets_revision,
            unreadable: self.unreadable.is_some(),
            observed: &observed,
            health: &self.instance.health,
            job_busy,
            boots_limited: self.state.starts.are_many(now),
            saw_run: observed.container.as_ref().is_some_and(|c| self.state.run.saw(c)),
            run_lasts: self.state.run.lasts(),
            silent_for: self.state.run.silent_for(),
            started_at: self.engine.inner.started_at,
            now,
            timing: &self.engine.inner.settings.timing,
        });
        self.spec.config = config;
        if !needs_boot(&decision) {
            self.release_boot();
        }
        let started = observed.container.as_ref().is_some_and(|c| c.started_at.is_some());
        if started && self.mark_volume_used().await? {
            return Ok(Outcome::AtOnce);
        }
        match decision {
            Decision::Converge(target, then) => self.converge(target, then, &observed).await,
            Decision::DataLost(loss) => self.data_lost(loss, &observed.volume_name).await,
            Decision::End(why) => {
                self.state.ended_for = Some(why);
                self.converge(Target::Stopped, Then::Observe, &observed).await
            }
            Decision::CountFailure(failure) => self.count(failure).await,
            Decision::Repair => self.repair().await,
            Decision::QuarantineConfig => self.quarantine_config().await,
            Decision::Wait(time, waiting) => self.wait(time, waiting).await,
        }
    }

    /// Takes a step towards a target; if it is reached, goes on.
    async fn converge(
        &mut self,
        target: Target,
        then: Then,
        observed: &Observed,
    ) -> Result<Outcome, EngineError> {
        let done = self.step_towards(target, observed).await;
        if !matches!(done, Ok(Ok(Convergence::Done))) {
            self.release_boot();
        }
        match done? {
            Ok(Convergence::Step(_)) => Ok(Outcome::AtOnce),
            Ok(Convergence::Waiting(why)) => {
                let wait = self.engine.inner.settings.timing.probe_every;
                self.wait(wait, Waiting::Host(why)).await
            }
            Ok(Convergence::Done) => match then {
                Then::Observe => Ok(Outcome::AtOnce),
                Then::Wait(time, waiting) => self.wait(time, waiting).await,
                Then::Start => self.start(observed).await,
                Then::Live => self.converged().await,
                Then::RunPreDelete => {
                    // The pre-delete step reports its own steps.
                    self.show(InstanceState::Removing);
                    self.engine.inner.job_service.request_pre_delete(&self.instance.id);
                    Ok(Outcome::Again(self.engine.inner.settings.timing.sweep_every))
                }
                Then::Gone => self.gone().await,
            },
            Err(e) if then == Then::Live && has_booted(observed) => {
                // It answers. Limits that somebody changed cannot always be put back while it runs.
                tracing::warn!(name = %self.instance.name, error = %e, "cannot put its limits back");
                self.converged().await
            }
            Err(e) => self.host_failed(e).await,
        }
    }

    /// Takes at most one step towards a target, with the secrets that it may need.
    async fn step_towards(
        &mut self,
        target: Target,
        observed: &Observed,
    ) -> Result<Result<Convergence, HostError>, EngineError> {
        let mut spec = self.spec.clone();
        let present = self.instance.desired.presence == Presence::Present;
        let alive = observed.container.as_ref().is_some_and(Container::is_alive);
        let only_stops = target == Target::Stopped && alive;
        if present && !only_stops && observed.secrets != Some(spec.secrets_revision) {
            spec.secrets = self.engine.secret_files(&self.instance, &self.wrapped_key).await?;
        }
        let begun = Instant::now();
        let host = self.engine.inner.host.clone();
        self.current = None;
        let done = host.converge(&spec, target, observed, self).await;
        if let Some(step) = self.current.take() {
            metrics::histogram!("startclaw_step_seconds", "step" => step.as_str())
                .record(begun.elapsed().as_secs_f64());
        }
        if let Ok(Convergence::Step(_)) = done {
            self.state.host_errors = 0;
        }
        Ok(done)
    }

    /// Starts the prepared container, if the firewall is in place and few enough others boot.
    async fn start(&mut self, observed: &Observed) -> Result<Outcome, EngineError> {
        // Before the start: a crash in between leaves a volume that only contains our
        // configuration, and never one whose loss would go unnoticed.
        if self.mark_volume_used().await? {
            return Ok(Outcome::AtOnce);
        }
        if let Some(e) = self.engine.firewall_error() {
            self.release_boot();
            return self.host_failed(e).await;
        }
        let failed = self.instance.health.failures > 0;
        if !self.engine.inner.boot_limiter.acquire(&self.instance.id, failed) {
            self.begin(StepName::Queue).await?;
            self.show(InstanceState::Starting);
            // The end of another boot wakes the next instance; this is a fallback.
            return Ok(Outcome::Again(self.engine.inner.settings.timing.sweep_every));
        }
        match self.step_towards(Target::Running(Enforced::Nothing), observed).await? {
            Ok(Convergence::Step(StepName::Start)) => {
                self.state.starts.note(Timestamp::now());
                self.state.run.start();
                Ok(Outcome::AtOnce)
            }
            Ok(_) => Ok(Outcome::AtOnce),
            Err(e) => self.host_failed(e).await,
        }
    }

    async fn repair(&mut self) -> Result<Outcome, EngineError> {
        self.begin(StepName::Repair).await?;
        self.show(InstanceState::Starting);
        // Before the repair: a crash in between must not cause a second one.
        self.instance.health.repaired = true;
        if !self.store_health().await? {
            return Ok(Outcome::AtOnce);
        }
        let begun = Instant::now();
        let done = self.engine.inner.host.repair(&self.spec).await;
        metrics::histogram!("startclaw_step_seconds", "step" => StepName::Repair.as_str())
            .record(begun.elapsed().as_secs_f64());
        self.after(done).await
    }

    async fn quarantine_config(&mut self) -> Result<Outcome, EngineError> {
        self.begin(StepName::QuarantineConfig).await?;
        self.show(InstanceState::Starting);
        self.forget_open_bot().await?;
        self.note_quarantine().await;
        let done = self.engine.inner.host.quarantine_config(&self.spec).await;
        self.after(done).await
    }

    async fn after(&mut self, done: Result<(), HostError>) -> Result<Outcome, EngineError> {
        match done {
            Ok(()) => {
                self.state.host_errors = 0;
                Ok(Outcome::AtOnce)
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
                self.begin(StepName::Boot).await?;
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
            Waiting::Restore | Waiting::Job => self.show(InstanceState::Starting),
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
            let probe = self.engine.inner.host.probe(&self.spec).await;
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
            operation.begin_step(StepName::Live);
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
            self.state.converged = Some(self.spec.clone());
        }
        Ok(Outcome::Again(timing.probe_every))
    }

    /// Nothing is left on the host: deletes the instance.
    async fn gone(&mut self) -> Result<Outcome, EngineError> {
        let mut over = std::mem::take(&mut self.open);
        for operation in &mut over {
            let outcome = outcome_of_removal(operation.kind);
            operation.close(outcome);
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
    pub(super) async fn begin(&mut self, step: StepName) -> Result<(), EngineError> {
        let Some(operation) = self.open.first_mut() else { return Ok(()) };
        if operation.begin_step(step) {
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
