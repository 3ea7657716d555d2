//! Failures: counted once, retried with backoff, reported, and finally reset.

use futures::StreamExt;
use startclaw_host::{HostError, HostErrorKind, LogRequest, excerpt};
use startclaw_model::{
    Actor, EventKind, Instance, InstanceState, MAX_LOG_LINES, Presence, StepName, Timestamp,
};

use crate::{
    EngineError,
    decide::{Failure, backoff, has_started},
    reconcile::{Outcome, Work},
};

impl Work<'_> {
    pub(super) fn is_failing(&self) -> bool {
        self.instance.health.failures >= self.engine.inner.settings.timing.failing_after
    }

    /// Fails the operations of an instance that does not start; retries continue.
    pub(super) async fn fail_operations(&mut self) -> Result<(), EngineError> {
        if self.instance.desired.presence == Presence::Absent {
            // A removal is over only when everything is removed.
            return Ok(());
        }
        let why = self.instance.health.reason.clone().unwrap_or_else(|| "it does not start".into());
        if self.instance.desired.volumes.is_on_probation() {
            return self.rollback(&why).await;
        }
        for mut operation in std::mem::take(&mut self.open) {
            self.engine.finish(&mut operation, Err(why.clone())).await?;
        }
        self.engine.inner.live.update(&self.instance.id, |e| e.operation = None);
        Ok(())
    }

    /// It does not start on the restored volume: switches back to the previous one, which was not
    /// changed.
    pub(super) async fn rollback(&mut self, why: &str) -> Result<(), EngineError> {
        let id = self.instance.id.clone();
        self.engine.store().amend(&id, |desired| desired.volumes.rollback()).await?;
        let error = format!(
            "{} did not start on the restored volume ({why}), and continues on the previous one",
            self.instance.name
        );
        for mut operation in std::mem::take(&mut self.open) {
            self.engine.finish(&mut operation, Err(error.clone())).await?;
        }
        let about = Some((&self.instance.id, &self.instance.name));
        self.engine.record(EventKind::Failed, about, &Actor::system(), &error).await;
        self.engine.inner.live.update(&id, |e| e.operation = None);
        self.engine.inner.queue.push(&id);
        Ok(())
    }

    /// Counts a container that exited unexpectedly, once.
    pub(super) async fn count(&mut self, failure: Failure) -> Result<Outcome, EngineError> {
        let ended = startclaw_openclaw::exit_reason(failure.code, failure.oom_killed);
        let mut reason = self.state.ended_for.take().unwrap_or(ended);
        if let Some(why) = &self.unreadable {
            reason = format!("{reason}; {why}");
        }
        let last_log = self.last_log().await;
        self.instance.health.failed_run = failure.run;
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
        let another_reason = health.reason.as_ref() != Some(&reason);
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
            operation.fail_step(&reason);
            self.engine.save(operation).await?;
        }
        // An event for the first failure of its kind, and for the one that makes it failing; the
        // others would say nothing new.
        if another_reason || failures == timing.failing_after {
            let about = Some((&self.instance.id, &self.instance.name));
            self.engine.record(EventKind::Failed, about, &Actor::system(), &reason).await;
        }
        Ok(())
    }

    async fn last_log(&self) -> Vec<String> {
        let request = LogRequest { tail: MAX_LOG_LINES, follow: false };
        match self.engine.inner.host.logs(&self.instance.id, request).await {
            Ok(lines) => {
                let lines = lines.filter_map(async |line| line.ok().map(excerpt));
                lines.take(MAX_LOG_LINES).collect().await
            }
            Err(_) => Vec::new(),
        }
    }

    /// The host failed. A temporary error is retried and does not count; a permanent one is a
    /// failure, like a container that does not start.
    pub(super) async fn host_failed(&mut self, e: HostError) -> Result<Outcome, EngineError> {
        let timing = &self.engine.inner.settings.timing;
        self.state.host_errors = self.state.host_errors.saturating_add(1);
        if e.kind == HostErrorKind::Unavailable {
            if self.state.host_errors == 1 {
                tracing::warn!(name = %self.instance.name, error = %e, "the host failed; retrying");
                if self.open.first().is_some_and(|o| o.steps.is_empty()) {
                    self.begin(StepName::Host).await?;
                }
                if let Some(operation) = self.open.first_mut()
                    && let Some(step) = operation.steps.last_mut()
                {
                    step.detail = Some(e.message.clone());
                    self.engine.save(operation).await?;
                }
            }
            self.show_host_error(e.message).await;
            let wait =
                backoff(self.state.host_errors, timing.host_retry_first, timing.backoff_limit / 10);
            return Ok(Outcome::Again(wait));
        }
        let last_log = self.last_log().await;
        self.note_failure(Timestamp::now(), e.message, last_log).await?;
        Ok(Outcome::AtOnce)
    }

    /// The host does not answer: shows the state by a probe of the instance itself.
    async fn show_host_error(&self, error: String) {
        let probe = self.engine.inner.host.probe(&self.spec).await;
        let answers = probe.is_ok_and(|probe| has_started(&probe));
        self.engine.inner.live.update(&self.instance.id, |entry| {
            entry.host_error = Some(error);
            entry.state = match entry.state {
                InstanceState::Unknown if answers => InstanceState::Live,
                InstanceState::Live if !answers => InstanceState::Starting,
                state => state,
            };
        });
    }

    /// Records the loss of a container: it must be created although there is no open operation.
    pub(super) async fn record_loss(&self) {
        let was_live = self
            .engine
            .inner
            .live
            .by_id(&self.instance.id)
            .is_some_and(|e| e.state == InstanceState::Live);
        if self.open.is_empty() && was_live {
            let about = Some((&self.instance.id, &self.instance.name));
            let what = "its container was missing or out of date and is created again";
            self.engine.record(EventKind::Failed, about, &Actor::system(), what).await;
        }
    }

    /// Records that the configuration file is quarantined, and why.
    pub(super) async fn note_quarantine(&self) {
        let about = Some((&self.instance.id, &self.instance.name));
        let why = self.unreadable.as_deref().unwrap_or("its configuration is not readable");
        let what = format!("{why}; the file is kept beside a new one");
        self.engine.record(EventKind::Failed, about, &Actor::system(), &what).await;
    }

    /// Stores the health, unless the desired state has changed meanwhile, which has reset the
    /// health. Returns `false` then; the next pass reads the new state.
    pub(super) async fn store_health(&mut self) -> Result<bool, EngineError> {
        let Instance { id, health, revision, .. } = &self.instance;
        let stored = self.engine.store().set_health(id, health, *revision).await?;
        if stored {
            self.engine.inner.live.set_health(id, health);
        }
        Ok(stored)
    }
}
