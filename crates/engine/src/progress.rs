//! Operations as they go: steps are written down, and subscribers are notified.

use futures::{Stream, StreamExt, stream};
use startclaw_model::{
    EventKind, Operation, OperationId, OperationState, OperationStep, StepState, Timestamp,
};
use tokio::sync::broadcast;

use crate::{Engine, EngineError};

/// Changes that a slow watcher may fall behind before it reads the database instead.
const CHANNEL_CAPACITY: usize = 1024;

/// Where changes of operations are told.
pub(crate) struct Progress(broadcast::Sender<Operation>);

impl Default for Progress {
    fn default() -> Self {
        Self(broadcast::channel(CHANNEL_CAPACITY).0)
    }
}

impl Engine {
    /// One operation.
    pub async fn operation(&self, id: &OperationId) -> Result<Operation, EngineError> {
        let found = self.store().operation(id).await?;
        found.ok_or_else(|| EngineError::NoOperation(id.clone()))
    }

    /// The newest operations first, at most `limit`, of one name or of all.
    pub async fn operations(
        &self,
        name: Option<&startclaw_model::Name>,
        limit: u32,
    ) -> Result<Vec<Operation>, EngineError> {
        Ok(self.store().operations(name, limit).await?)
    }

    /// The newest operations first, at most `limit`, of the instance that has this name now,
    /// and not of those that had it before.
    pub async fn own_operations(
        &self,
        name: &startclaw_model::Name,
        limit: u32,
    ) -> Result<Vec<Operation>, EngineError> {
        Ok(self.store().own_operations(name, limit).await?)
    }

    /// One operation, if it is of the instance that has this name now.
    pub async fn own_operation(
        &self,
        name: &startclaw_model::Name,
        id: &OperationId,
    ) -> Result<Operation, EngineError> {
        let found = self.store().own_operation(name, id).await?;
        found.ok_or_else(|| EngineError::NoOperation(id.clone()))
    }

    /// An operation as it is now and at each change, until it is over.
    pub async fn watch(
        &self,
        id: &OperationId,
    ) -> Result<impl Stream<Item = Operation> + Send + 'static + use<>, EngineError> {
        // Listening before reading: no change can fall between the two.
        let news = self.inner.progress.0.subscribe();
        let first = self.operation(id).await?;
        let watcher = Watcher { engine: self.clone(), id: id.clone(), news, next: Some(first) };
        Ok(stream::unfold(Some(watcher), |watcher| async move {
            let mut watcher = watcher?;
            let now = watcher.next().await?;
            let rest = (!now.state.is_over()).then_some(watcher);
            Some((now, rest))
        })
        .boxed())
    }

    /// Stores an operation's progress and notifies subscribers. `false` when it is over already.
    pub(crate) async fn save(&self, operation: &Operation) -> Result<bool, EngineError> {
        let open = self.store().save_operation(operation).await?;
        if open {
            self.publish(operation);
        }
        Ok(open)
    }

    /// Notifies subscribers how an operation is, without storing it.
    pub(crate) fn publish(&self, operation: &Operation) {
        // Nobody watching is fine.
        let _ = self.inner.progress.0.send(operation.clone());
    }

    /// Ends an operation.
    pub(crate) async fn finish(
        &self,
        operation: &mut Operation,
        outcome: Result<(), String>,
    ) -> Result<(), EngineError> {
        close(operation, outcome);
        if self.store().save_operation(operation).await? {
            self.publish_finished(operation).await;
        }
        Ok(())
    }

    /// Tells everybody that an operation, stored as such, is over.
    pub(crate) async fn publish_finished(&self, operation: &Operation) {
        self.publish(operation);
        let took = operation.finished_at.unwrap_or_default().since(operation.created_at);
        let kind = operation.kind.as_str();
        metrics::histogram!("startclaw_operation_seconds",
            "kind" => kind, "state" => operation.state.as_str())
        .record(took.as_secs_f64());
        let detail = match &operation.error {
            None => format!("{kind} succeeded in {:.1} s", took.as_secs_f64()),
            Some(e) => format!("{kind} failed: {e}"),
        };
        tracing::info!(name = %operation.name, operation = %operation.id, "{detail}");
        let about = Some((&operation.instance, &operation.name));
        self.record(EventKind::Finished, about, &operation.actor, &detail).await;
    }
}

/// Makes an operation one that is over.
pub(crate) fn close(operation: &mut Operation, outcome: Result<(), String>) {
    let now = Timestamp::now();
    close_step(operation, if outcome.is_ok() { StepState::Done } else { StepState::Failed });
    operation.started_at.get_or_insert(now);
    operation.finished_at = Some(now);
    operation.state =
        if outcome.is_ok() { OperationState::Succeeded } else { OperationState::Failed };
    operation.error = outcome.err();
}

/// Begins a step, which ends the one before. A step that goes on under the same name, such as
/// waiting for the boot, is begun once.
pub(crate) fn begin_step(operation: &mut Operation, name: &str) -> bool {
    if operation.steps.last().is_some_and(|s| s.name == name && s.state == StepState::Running) {
        return false;
    }
    close_step(operation, StepState::Done);
    let now = Timestamp::now();
    operation.state = OperationState::Running;
    operation.started_at.get_or_insert(now);
    operation.steps.push(OperationStep {
        name: name.to_owned(),
        state: StepState::Running,
        started_at: now,
        finished_at: None,
        detail: None,
        progress: None,
    });
    true
}

/// Notes that the step at hand failed, and why; it will be tried again.
pub(crate) fn fail_step(operation: &mut Operation, why: &str) {
    if let Some(step) = operation.steps.last_mut()
        && step.state == StepState::Running
    {
        step.detail = Some(why.to_owned());
    }
    close_step(operation, StepState::Failed);
}

fn close_step(operation: &mut Operation, state: StepState) {
    if let Some(step) = operation.steps.last_mut()
        && step.state == StepState::Running
    {
        step.state = state;
        step.progress = None;
        step.finished_at = Some(Timestamp::now());
    }
}

struct Watcher {
    engine: Engine,
    id: OperationId,
    news: broadcast::Receiver<Operation>,
    next: Option<Operation>,
}

impl Watcher {
    async fn next(&mut self) -> Option<Operation> {
        if let Some(first) = self.next.take() {
            return Some(first);
        }
        loop {
            match self.news.recv().await {
                Ok(operation) if operation.id == self.id => return Some(operation),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    return self.engine.operation(&self.id).await.ok();
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
