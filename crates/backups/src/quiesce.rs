//! Quiesces and freezes an instance, and resumes it.

use std::time::Duration;

use startclaw_backup::BackupError;
use startclaw_engine::has_started;
use startclaw_host::{Convergence, HostError, InstanceSpec, NoReport, Probe, Target};
use startclaw_model::{BackupPause, Instance, Timestamp};
use startclaw_openclaw::suspend::{self, Quiesce};
use tokio::time::Instant;

use crate::{
    Backups,
    take::{UNFREEZE_TIMEOUT, unavailable},
};

impl Backups {
    /// Asks a live instance to complete its work and to begin nothing new, for a limited time;
    /// returns the id of the suspension. An instance that is not live, busy for too long, or does
    /// not support it is frozen anyway: that is no worse than a power failure, which it survives.
    pub(crate) async fn request_quiesce(
        &self,
        instance: &Instance,
        spec: &InstanceSpec,
    ) -> Option<String> {
        let timing = &self.engine.timing();
        let live = self.engine.host().probe(spec).await.is_ok_and(|probe| has_started(&probe));
        if !live {
            return None;
        }
        let origin = self.engine.origin(&instance.name);
        let operation = format!("backup-{:016x}", rand::random::<u64>());
        let request = suspend::prepare(&origin, &operation);
        let begun = Instant::now();
        loop {
            let why = match self.engine.call(spec, request.clone()).await {
                Ok(Probe::Answer { status, body }) => match suspend::understand(status, &body) {
                    Quiesce::Ready(id) => return Some(id),
                    Quiesce::Busy(why) => why,
                    Quiesce::Unsupported(why) => {
                        tracing::info!(name = %instance.name, why, "it cannot be quiesced");
                        return None;
                    }
                },
                Ok(_) => "it does not answer".to_owned(),
                Err(e) => e.message,
            };
            if begun.elapsed() >= timing.quiesce_limit
                || !self.engine.pause(timing.quiesce_again).await
            {
                tracing::info!(name = %instance.name, why, "it is busy; backing up anyway");
                return None;
            }
        }
    }

    /// Resumes a quiesced instance. If that fails, it resumes automatically when its lease of two
    /// minutes expires.
    pub(crate) async fn request_resume(&self, instance: &Instance, spec: &InstanceSpec, id: &str) {
        let origin = self.engine.origin(&instance.name);
        let done = self.engine.call(spec, suspend::resume(&origin, id)).await;
        if !matches!(done, Ok(Probe::Answer { status: 200, .. })) {
            tracing::warn!(name = %instance.name, ?done, "cannot resume an instance");
        }
    }

    /// Freezes the container if it runs; returns whether it did.
    pub(crate) async fn freeze(
        &self,
        instance: &Instance,
        spec: &InstanceSpec,
    ) -> Result<bool, BackupError> {
        let current = self.engine.store().instance_and_key(&instance.id).await;
        let moved = !matches!(&current, Ok(Some((now, _)))
            if now.desired.volumes.current == instance.desired.volumes.current);
        if moved {
            return Err(unavailable(HostError::unavailable(format!(
                "{} moved to another volume meanwhile",
                instance.name
            ))));
        }
        let host = &self.engine.host();
        let observed = host.observe(spec).await.map_err(unavailable)?;
        // The watchdog waits slightly longer than we do.
        let at_most = self.engine.timing().pause_limit + Duration::from_secs(5);
        let target = Target::Suspended { at_most: Some(at_most) };
        let done = host.converge(spec, target, &observed, &mut NoReport).await;
        Ok(done.map_err(unavailable)? != Convergence::Done)
    }

    /// Stores how long an instance was frozen, for its status. An error of the database only loses
    /// that.
    pub(crate) async fn note_pause(&self, instance: &Instance, took: Duration, exceeded: bool) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let pause = BackupPause { at: Timestamp::now(), millis, exceeded };
        if let Err(e) = self.engine.store().note_pause(&instance.id, pause).await {
            tracing::warn!(name = %instance.name, error = ?e, "cannot store the length of a pause");
        }
        if let Err(e) = self.engine.show_backups().await {
            tracing::warn!(name = %instance.name, error = ?e, "cannot show the length of a pause");
        }
    }

    /// Unfreezes a container. `false` when it was not frozen any more.
    pub(crate) async fn unfreeze(&self, spec: &InstanceSpec) -> Result<bool, BackupError> {
        let begun = Instant::now();
        loop {
            match self.engine.host().unfreeze(spec).await {
                Ok(still) => return Ok(still),
                Err(e) if begun.elapsed() > UNFREEZE_TIMEOUT => return Err(unavailable(e)),
                Err(e) => {
                    tracing::warn!(name = %spec.name, error = %e, "cannot unfreeze an instance; retrying");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}
