//! Attempts of a job, with pauses between them.

use startclaw_backup::BackupError;
use startclaw_model::Operation;
use tokio::sync::SemaphorePermit;

use super::passes;
use crate::{Engine, EngineError, decide::backoff, progress::fail_step};

/// The attempts of one job.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    number: u32,
    /// Why the last one failed.
    failed: Option<String>,
}

impl Attempts {
    /// Whether a job that is tried `tries` times is tried again after this error.
    pub fn retries(&self, error: &BackupError, tries: u32) -> bool {
        passes(error) && self.number < tries
    }

    /// Notes that this attempt failed and another one follows.
    pub fn failed(&mut self, error: BackupError) {
        self.failed = Some(error.message);
    }
}

impl Engine {
    /// Waits for the next attempt; `None` when the engine stops or the operation is over.
    ///
    /// An attempt holds one of the places for jobs until the permit is dropped. The pause before it
    /// holds none, so that jobs that wait for an unavailable bucket do not keep others out.
    pub(super) async fn next_attempt(
        &self,
        attempts: &mut Attempts,
        operation: &mut Operation,
    ) -> Result<Option<SemaphorePermit<'_>>, EngineError> {
        if let Some(why) = attempts.failed.take() {
            tracing::warn!(name = %operation.name, error = why, "{} failed; retrying", operation.kind.as_str());
            fail_step(operation, &why);
            if !self.save(operation).await? {
                return Ok(None);
            }
            let timing = &self.inner.settings.timing;
            let wait = backoff(attempts.number, timing.backup_again, timing.backoff_limit);
            if !self.pause(wait).await {
                return Ok(None);
            }
        }
        attempts.number += 1;
        Ok(self.job_room().await)
    }

    /// Waits for one of the places for jobs; `None` when the engine stops.
    pub(super) async fn job_room(&self) -> Option<SemaphorePermit<'_>> {
        let room = self.unless_stopped(self.inner.jobs.room.acquire()).await;
        room.and_then(Result::ok)
    }
}
