//! Progress of operations: steps are stored, and subscribers are notified.

use futures::{Stream, StreamExt, stream};
use startclaw_model::{EventKind, InstanceRef, Operation, OperationId};
use tokio::sync::broadcast;

use crate::{Engine, EngineError};

/// The number of changes that a slow subscriber may lag behind before it reads the database
/// instead.
const CHANNEL_CAPACITY: usize = 1024;

/// The channel for changes of operations.
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

    /// The newest operations first, at most `limit`, of the given instance, or of the one that has
    /// this name now, and not of earlier ones.
    pub async fn own_operations(
        &self,
        of: impl Into<InstanceRef<'_>>,
        limit: u32,
    ) -> Result<Vec<Operation>, EngineError> {
        Ok(self.store().own_operations(of, limit).await?)
    }

    /// One operation, if it is of the given instance, or of the one that has this name now.
    pub async fn own_operation(
        &self,
        of: impl Into<InstanceRef<'_>>,
        id: &OperationId,
    ) -> Result<Operation, EngineError> {
        let found = self.store().own_operation(of, id).await?;
        found.ok_or_else(|| EngineError::NoOperation(id.clone()))
    }

    /// Watches an operation: its current state and each change, until it is over.
    pub async fn watch(
        &self,
        id: &OperationId,
    ) -> Result<impl Stream<Item = Operation> + Send + 'static + use<>, EngineError> {
        // Subscribes before reading, so that no change is missed.
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

    /// Publishes the state of an operation to subscribers, without storing it.
    pub(crate) fn publish(&self, operation: &Operation) {
        // It is no error if there is no subscriber.
        let _ = self.inner.progress.0.send(operation.clone());
    }

    /// Ends an operation.
    pub(crate) async fn finish(
        &self,
        operation: &mut Operation,
        outcome: Result<(), String>,
    ) -> Result<(), EngineError> {
        operation.close(outcome);
        if self.store().save_operation(operation).await? {
            self.publish_finished(operation).await;
        }
        Ok(())
    }

    /// Publishes and records the end of an operation that is stored already.
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
