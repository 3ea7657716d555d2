//! Attempts of a job, with pauses between them.

use startclaw_backup::BackupError;
use startclaw_engine::{EngineError, backoff};
use startclaw_model::Operation;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{Backups, passes};

/// The attempts of one job.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
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

impl Backups {
    /// Waits for the next attempt; `None` when the engine stops or the operation is over.
    ///
    /// An attempt holds one of the places for jobs until the permit is dropped. The pause before it
    /// holds none, so that jobs that wait for an unavailable bucket do not keep others out.
    pub(crate) async fn next_attempt<'a>(
        &self,
        attempts: &mut Attempts,
        operation: &mut Operation,
        room: &'a Semaphore,
    ) -> Result<Option<SemaphorePermit<'a>>, EngineError> {
        if let Some(why) = attempts.failed.take() {
            tracing::warn!(name = %operation.name, error = why, "{} failed; retrying", operation.kind.as_str());
            operation.fail_step(&why);
            if !self.engine.save(operation).await? {
                return Ok(None);
            }
            let timing = &self.engine.timing();
            let wait = backoff(attempts.number, timing.backup_again, timing.backoff_limit);
            if !self.engine.pause(wait).await {
                return Ok(None);
            }
        }
        attempts.number += 1;
        Ok(self.enter(room).await)
    }

    /// Waits for a place in a room for jobs; `None` when the engine stops.
    pub(crate) async fn enter<'a>(&self, room: &'a Semaphore) -> Option<SemaphorePermit<'a>> {
        self.engine.unless_stopped(room.acquire()).await.and_then(Result::ok)
    }
}
