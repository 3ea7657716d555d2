//! Who is backed up, restored or tested just now: one job for each instance at a time, only so many
//! side by side, and each begun again when a daemon dies over it.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use startclaw_backup::Progress;
use startclaw_model::{InstanceId, Operation, OperationKind, StepProgress};
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

use crate::{Engine, EngineError};

/// Between two looks for jobs that nobody told us of.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// The jobs in progress.
#[derive(Debug)]
pub(crate) struct Jobs {
    state: Mutex<State>,
    room: Semaphore,
    wake: Notify,
    pub(super) tasks: TaskTracker,
}

#[derive(Debug, Default)]
struct State {
    busy: HashSet<InstanceId>,
    /// Instances whose container is gone and whose data wait for what is done before they go.
    pre_deletes: HashSet<InstanceId>,
}

/// An instance that a job has; given back when dropped.
pub(super) struct Claim<'a> {
    jobs: &'a Jobs,
    id: InstanceId,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.jobs.state().busy.remove(&self.id);
        self.jobs.wake.notify_one();
    }
}

impl Jobs {
    /// With room for this many in parallel.
    pub fn new(room: usize) -> Self {
        Self {
            state: Mutex::default(),
            room: Semaphore::new(room.max(1)),
            wake: Notify::new(),
            tasks: TaskTracker::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There may be something to do.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// The data of this instance wait for the pre-delete step.
    pub fn request_pre_delete(&self, id: &InstanceId) {
        if self.state().pre_deletes.insert(id.clone()) {
            self.wake();
        }
    }

    pub(super) fn claim(&self, id: &InstanceId) -> Option<Claim<'_>> {
        self.state().busy.insert(id.clone()).then(|| Claim { jobs: self, id: id.clone() })
    }

    /// Whether a job has this instance.
    pub fn is_busy(&self, id: &InstanceId) -> bool {
        self.state().busy.contains(id)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state().busy.is_empty()
    }
}

/// One thing to do.
enum Task {
    Operation(Box<Operation>),
    PreDelete(InstanceId),
}

impl Engine {
    /// Begins the jobs that there are, until the engine stops.
    pub(crate) async fn run_jobs(self) {
        loop {
            if let Err(e) = self.begin_jobs().await {
                tracing::error!(error = ?e, "the database failed; looking for backups later");
            }
            tokio::select! {
                biased;
                () = self.inner.stop.cancelled() => break,
                () = self.inner.jobs.wake.notified() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
        }
        self.inner.jobs.tasks.close();
        self.inner.jobs.tasks.wait().await;
    }

    async fn begin_jobs(&self) -> Result<(), EngineError> {
        let jobs = &self.inner.jobs;
        for operation in self.store().open_jobs().await? {
            // A restore that only goes back to the volume before, or whose volume is filled
            // already, has nothing left to do here: the loop does the rest.
            let wanted = matches!(operation.kind, OperationKind::Backup | OperationKind::Drill)
                || self.awaits_restore(&operation.instance).await?;
            if wanted && !jobs.is_busy(&operation.instance) {
                self.spawn(operation.instance.clone(), Task::Operation(Box::new(operation)));
            }
        }
        let pre_deletes: Vec<_> = jobs.state().pre_deletes.iter().cloned().collect();
        for id in pre_deletes {
            if !jobs.is_busy(&id) {
                self.spawn(id.clone(), Task::PreDelete(id));
            }
        }
        Ok(())
    }

    async fn awaits_restore(&self, id: &InstanceId) -> Result<bool, EngineError> {
        let found = self.store().instance_and_key(id).await?;
        Ok(found.is_some_and(|(instance, _)| instance.desired.volumes.filling.is_some()))
    }

    fn spawn(&self, id: InstanceId, task: Task) {
        let engine = self.clone();
        self.inner.jobs.tasks.spawn(async move {
            let Some(_claim) = engine.inner.jobs.claim(&id) else { return };
            let Ok(_room) = engine.inner.jobs.room.acquire().await else { return };
            if engine.inner.stop.is_cancelled() {
                return;
            }
            let done = match task {
                Task::Operation(operation) => engine.carry_out(*operation).await,
                Task::PreDelete(id) => {
                    let done = engine.run_pre_delete(&id).await;
                    engine.inner.jobs.state().pre_deletes.remove(&id);
                    done
                }
            };
            if let Err(e) = done {
                tracing::error!(instance = %id, error = ?e, "internal error during a backup or restore; retrying");
                engine.pause(Duration::from_secs(1)).await;
            }
        });
    }

    async fn carry_out(&self, operation: Operation) -> Result<(), EngineError> {
        // It may be over since it was looked up.
        let operation = self.operation(&operation.id).await?;
        if operation.state.is_over() {
            return Ok(());
        }
        match operation.kind {
            OperationKind::Restore => self.run_restore(operation).await,
            OperationKind::Drill => self.run_restore_test(operation).await,
            _ => self.back_up(operation).await,
        }
    }

    /// Waits, but not beyond the engine's end: `false` then.
    pub(super) async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.inner.stop.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }

    /// Does `work`, but not beyond the engine's end: `None` then.
    pub(super) async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.inner.stop.cancelled() => None,
            done = work => Some(done),
        }
    }

    /// Shows how far the step at hand is to subscribers; it is not stored.
    pub(super) fn show_progress(&self, operation: &mut Operation, now: Progress) {
        if let Some(step) = operation.steps.last_mut() {
            step.progress = Some(StepProgress {
                files: now.files,
                bytes: now.bytes,
                total_bytes: now.total_bytes,
            });
            self.publish(operation);
        }
    }
}
