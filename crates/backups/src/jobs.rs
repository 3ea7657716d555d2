//! Jobs: backups, restores and restore tests. One job per instance at a time, a limited number in
//! parallel, and each is started again if the daemon crashed.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use startclaw_engine::EngineError;
use startclaw_model::{InstanceId, Operation, OperationKind};
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

use crate::Backups;

/// The interval of checks for jobs without a wake-up.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// How many jobs of each kind run in parallel: one kind never waits for another.
#[derive(Debug)]
pub(crate) struct Rooms {
    pub backups: Semaphore,
    pub restores: Semaphore,
    pub uploads: Semaphore,
    pub drills: Semaphore,
}

/// The jobs in progress.
#[derive(Debug)]
pub(crate) struct Jobs {
    state: Mutex<State>,
    pub(crate) rooms: Rooms,
    wake: Notify,
    pub(crate) tasks: TaskTracker,
}

#[derive(Debug, Default)]
struct State {
    busy: HashSet<InstanceId>,
    /// Instances whose container is gone and whose data wait for the pre-delete step.
    pre_deletes: HashSet<InstanceId>,
}

/// A job's claim of an instance, released when dropped.
pub(crate) struct Claim<'a> {
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
    /// Allows `room` jobs of each kind in parallel, and one restore test.
    pub fn new(room: usize) -> Self {
        let room = room.max(1);
        Self {
            state: Mutex::default(),
            rooms: Rooms {
                backups: Semaphore::new(room),
                restores: Semaphore::new(room),
                uploads: Semaphore::new(room),
                drills: Semaphore::new(1),
            },
            wake: Notify::new(),
            tasks: TaskTracker::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the job loop.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Requests the pre-delete step of this instance.
    pub fn request_pre_delete(&self, id: &InstanceId) {
        if self.state().pre_deletes.insert(id.clone()) {
            self.wake();
        }
    }

    pub(crate) fn claim(&self, id: &InstanceId) -> Option<Claim<'_>> {
        self.state().busy.insert(id.clone()).then(|| Claim { jobs: self, id: id.clone() })
    }

    /// Whether a job has this instance.
    pub fn is_busy(&self, id: &InstanceId) -> bool {
        self.state().busy.contains(id)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.state().busy.is_empty()
    }
}

/// A job.
enum Task {
    Operation(Box<Operation>),
    PreDelete(InstanceId),
}

impl Backups {
    /// Starts pending jobs until the engine stops.
    pub(crate) async fn run_jobs(self) {
        loop {
            if let Err(e) = self.begin_jobs().await {
                tracing::error!(error = ?e, "the database failed; checking for jobs later");
            }
            tokio::select! {
                biased;
                () = self.engine.stopped() => break,
                () = self.inner.jobs.wake.notified() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
        }
        self.inner.jobs.tasks.close();
        self.inner.jobs.tasks.wait().await;
    }

    async fn begin_jobs(&self) -> Result<(), EngineError> {
        let jobs = &self.inner.jobs;
        for operation in self.engine.store().open_jobs().await? {
            // A restore that only undoes another one, or whose volume is filled already, has no
            // job: the reconcile loop completes it.
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
        let found = self.engine.store().instance_and_key(id).await?;
        Ok(found.is_some_and(|(instance, _)| instance.desired.volumes.filling.is_some()))
    }

    fn spawn(&self, id: InstanceId, task: Task) {
        let service = self.clone();
        self.inner.jobs.tasks.spawn(async move {
            let Some(_claim) = service.inner.jobs.claim(&id) else { return };
            if service.engine.is_stopping() {
                return;
            }
            let done = match task {
                Task::Operation(operation) => service.carry_out(*operation).await,
                Task::PreDelete(id) => {
                    let done = service.run_pre_delete(&id).await;
                    service.inner.jobs.state().pre_deletes.remove(&id);
                    done
                }
            };
            if let Err(e) = done {
                tracing::error!(instance = %id, error = ?e, "internal error during a backup or restore; retrying");
                service.engine.pause(Duration::from_secs(1)).await;
            }
        });
    }

    async fn carry_out(&self, operation: Operation) -> Result<(), EngineError> {
        // It may have ended since it was read.
        let operation = self.engine.operation(&operation.id).await?;
        if operation.state.is_over() {
            return Ok(());
        }
        match operation.kind {
            OperationKind::Restore => self.run_restore(operation).await,
            OperationKind::Drill => self.run_restore_test(operation).await,
            _ => self.back_up(operation).await,
        }
    }
}
