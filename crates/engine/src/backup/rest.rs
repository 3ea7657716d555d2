//! How an instance is brought to hold still, and to go on again.

use std::time::Duration;

use startclaw_backup::BackupError;
use startclaw_host::{ContainerState, HostError, Plan, Probe, Request, Step};
use startclaw_model::Instance;
use startclaw_openclaw::suspend::{self, AdminCall, Rest};
use tokio::time::Instant;

use super::take::{THAW, unavailable};
use crate::{Engine, decide::has_started, plan};

impl Engine {
    /// Asks a live instance to finish what it does and to begin nothing new, for a while at
    /// most; the id under which it rests. One that is not live, busy for too long, or does not
    /// understand is frozen all the same: that is no worse than a power cut, which it survives.
    pub(super) async fn ask_to_rest(&self, instance: &Instance, plan: &Plan) -> Option<String> {
        let timing = &self.inner.settings.timing;
        let live = self.inner.host.probe(plan).await.is_ok_and(|probe| has_started(&probe));
        if !live {
            return None;
        }
        let origin = plan::origin(&self.inner.settings, &instance.name);
        let operation = format!("backup-{:016x}", rand::random::<u64>());
        let request = request(suspend::prepare(&origin, &operation));
        let begun = Instant::now();
        loop {
            let why = match self.inner.host.post(plan, &request).await {
                Ok(Probe::Answer { status, body }) => match suspend::understand(status, &body) {
                    Rest::Ready(id) => return Some(id),
                    Rest::Busy(why) => why,
                    Rest::Unsupported(why) => {
                        tracing::info!(name = %instance.name, why, "it cannot be asked to rest");
                        return None;
                    }
                },
                Ok(_) => "it does not answer".to_owned(),
                Err(e) => e.message,
            };
            if begun.elapsed() >= timing.rest_limit || !self.pause(timing.rest_again).await {
                tracing::info!(name = %instance.name, why, "it is busy and backed up all the same");
                return None;
            }
        }
    }

    /// Tells an instance that rests to go on. One that does not hear it goes on by itself when
    /// its lease of two minutes is over.
    pub(super) async fn ask_to_go_on(&self, instance: &Instance, plan: &Plan, id: &str) {
        let origin = plan::origin(&self.inner.settings, &instance.name);
        let done = self.inner.host.post(plan, &request(suspend::resume(&origin, id))).await;
        if !matches!(done, Ok(Probe::Answer { status: 200, .. })) {
            tracing::warn!(name = %instance.name, ?done, "it was not told to go on");
        }
    }

    /// Freezes the container if it runs; says whether it did.
    pub(super) async fn freeze(
        &self,
        instance: &Instance,
        plan: &Plan,
    ) -> Result<bool, BackupError> {
        let current = self.store().instance_and_key(&instance.id).await;
        let moved = !matches!(&current, Ok(Some((now, _)))
            if now.desired.volumes.current == instance.desired.volumes.current);
        if moved {
            return Err(unavailable(HostError::unavailable(format!(
                "{} moved to another volume meanwhile",
                instance.name
            ))));
        }
        let observed = self.inner.host.observe(plan).await.map_err(unavailable)?;
        let runs = observed.container.is_some_and(|c| c.state == ContainerState::Running);
        if runs {
            // The watchdog waits a little longer than we do.
            let at_most = self.inner.settings.timing.pause_limit + Duration::from_secs(5);
            let pause = Step::PauseContainer { at_most };
            self.inner.host.apply(plan, &pause).await.map_err(unavailable)?;
        }
        Ok(runs)
    }

    /// Lets a frozen container go on. `false` when somebody did so before us.
    pub(super) async fn thaw(&self, plan: &Plan) -> Result<bool, BackupError> {
        let begun = Instant::now();
        loop {
            match self.inner.host.resume(plan).await {
                Ok(still) => return Ok(still),
                Err(e) if begun.elapsed() > THAW => return Err(unavailable(e)),
                Err(e) => {
                    tracing::warn!(name = %plan.name, error = %e, "a frozen instance cannot go on; trying again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

fn request(call: AdminCall) -> Request {
    Request { path: call.path, headers: call.headers, body: call.body }
}
