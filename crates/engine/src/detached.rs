//! Work that runs to its end also when the caller is dropped: a client that hangs up has its
//! request's future dropped at any await, and what was committed must still have its effects.

use startclaw_model::InstanceId;
use tracing::Instrument as _;

use crate::Engine;

impl Engine {
    /// Runs `work` in a task of its own and waits for it. When the caller is dropped meanwhile,
    /// the work still completes; [`Engine::shutdown`] waits for it too.
    pub async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self.inner.calls.spawn(work.in_current_span()).await {
            Ok(done) => done,
            Err(e) => match e.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only the end of the runtime cancels it, which ends the caller too.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Wakes the loop for this instance when dropped. Made before a commit, so that an error or
    /// panic behind the commit does not lose the request: a pass too many does no harm.
    pub(crate) fn wake_on_drop(&self, id: &InstanceId) -> WakeOnDrop {
        WakeOnDrop { engine: self.clone(), id: id.clone() }
    }
}

/// See [`Engine::wake_on_drop`].
pub(crate) struct WakeOnDrop {
    engine: Engine,
    id: InstanceId,
}

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.engine.inner.queue.push(&self.id);
        self.engine.inner.jobs.wake();
    }
}
