//! Work that completes even if the caller is dropped: when a client disconnects, the future of its
//! request is dropped at any await, but what was committed must still take effect.

use startclaw_model::InstanceId;
use tracing::Instrument as _;

use crate::Engine;

impl Engine {
    /// Runs `work` in a separate task and waits for it. If the caller is dropped meanwhile, the
    /// work still completes; [`Engine::shutdown`] waits for it too.
    pub async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self.inner.calls.spawn(work.in_current_span()).await {
            Ok(done) => done,
            Err(e) => match e.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // It is cancelled only by the end of the runtime, which ends the caller too.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Wakes the reconcile loop for this instance when dropped. Created before a commit, so that an
    /// error or panic after the commit does not lose the request; an unneeded pass does no harm.
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
        self.engine.inner.job_service.wake();
    }
}
