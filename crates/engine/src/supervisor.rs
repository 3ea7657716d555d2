//! Supervises background tasks. If one ends, by a panic or a bug, all are stopped: a daemon without
//! one of its loops seems healthy but does only part of its work, while a daemon that exits is
//! restarted.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
};

use futures::FutureExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Spawns tasks that run until `stop` is cancelled, and cancels it if one ends before.
#[derive(Debug, Clone)]
pub struct Supervisor {
    tasks: TaskTracker,
    stop: CancellationToken,
    ended: Arc<OnceLock<&'static str>>,
}

impl Supervisor {
    /// A supervisor of the tasks in `tasks`, which end when `stop` is cancelled.
    pub fn new(tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { tasks, stop, ended: Arc::default() }
    }

    /// Spawns a task that must end only after `stop`.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let supervisor = self.clone();
        self.tasks.spawn(async move {
            let outcome = AssertUnwindSafe(task).catch_unwind().await;
            if outcome.is_ok() && supervisor.stop.is_cancelled() {
                return;
            }
            let how = if outcome.is_ok() { "ended" } else { "panicked" };
            tracing::error!(task = name, "a background task {how}; stopping");
            metrics::counter!("startclaw_tasks_ended_total", "task" => name).increment(1);
            // The first one is the cause.
            let _ = supervisor.ended.set(name);
            supervisor.stop.cancel();
        });
    }

    /// The task that ended before `stop`, if any.
    pub fn ended(&self) -> Option<&'static str> {
        self.ended.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supervisor() -> (Supervisor, TaskTracker, CancellationToken) {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        (Supervisor::new(tasks.clone(), stop.clone()), tasks, stop)
    }

    async fn all_end(tasks: &TaskTracker) {
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test]
    async fn a_task_that_panics_stops_the_others() {
        let (supervisor, tasks, stop) = supervisor();
        supervisor.spawn("other", stop.clone().cancelled_owned());
        supervisor.spawn("nightly", async { panic!("a defect") });
        all_end(&tasks).await;
        assert_eq!(supervisor.ended(), Some("nightly"));
    }

    #[tokio::test]
    async fn a_task_that_returns_early_stops_the_others() {
        let (supervisor, tasks, stop) = supervisor();
        supervisor.spawn("other", stop.clone().cancelled_owned());
        supervisor.spawn("listen", async {});
        all_end(&tasks).await;
        assert_eq!(supervisor.ended(), Some("listen"));
    }

    #[tokio::test]
    async fn a_stop_is_no_failure() {
        let (supervisor, tasks, stop) = supervisor();
        supervisor.spawn("other", stop.clone().cancelled_owned());
        stop.cancel();
        all_end(&tasks).await;
        assert_eq!(supervisor.ended(), None);
    }
}
