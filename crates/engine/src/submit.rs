//! How a request becomes durable and is then acted on: both happen, or neither, whatever becomes
//! of the caller.

use std::sync::Arc;

use startclaw_model::{Actor, EventKind, InstanceId, Name, Operation, OperationId};
use startclaw_store::{Idempotency, StoreError, Submission};

use crate::{Engine, EngineError};

impl Engine {
    /// Stores a request by `store`, wakes the loop and records the event, also when the caller
    /// is dropped meanwhile.
    pub(crate) async fn submit<F>(
        &self,
        operation: Operation,
        what: String,
        store: impl FnOnce(Self, Operation) -> F + Send + 'static,
    ) -> Result<Operation, EngineError>
    where
        F: Future<Output = Result<Submission, StoreError>> + Send,
    {
        let engine = self.clone();
        self.detached(async move {
            let name = operation.name.clone();
            let _wake = engine.wake_on_drop(&operation.instance);
            let placed = store(engine.clone(), operation).await;
            match placed.map_err(|e| EngineError::of(&name, e))? {
                Submission::Replayed(before) => {
                    engine.wake_again(&before);
                    Ok(before)
                }
                Submission::Accepted(operation) => {
                    let shown = engine.refresh(&operation.instance, Some(&operation.id)).await;
                    if let Err(e) = shown {
                        // It is stored: the caller has its answer, and the sweep shows it.
                        tracing::error!(error = ?e, "a new request is not shown yet");
                    }
                    let about = Some((&operation.instance, &name));
                    engine.record(EventKind::Requested, about, &operation.actor, &what).await;
                    Ok(operation)
                }
            }
        })
        .await
    }

    /// Stores a backup or drill that is to be made, or answers the one in progress.
    pub(crate) async fn submit_job(&self, operation: Operation) -> Result<Operation, EngineError> {
        let engine = self.clone();
        self.detached(async move {
            let _wake = engine.wake_on_drop(&operation.instance);
            let placed = engine.store().place_job(&operation).await;
            let (placed, fresh) = placed.map_err(|e| EngineError::of(&operation.name, e))?;
            if fresh {
                let what = format!("requested {}", placed.kind.as_str());
                let about = Some((&placed.instance, &placed.name));
                engine.record(EventKind::Requested, about, &placed.actor, &what).await;
            }
            Ok(placed)
        })
        .await
    }

    /// Takes what the database holds of an instance into the live table.
    pub(crate) async fn refresh(
        &self,
        id: &InstanceId,
        operation: Option<&OperationId>,
    ) -> Result<(), EngineError> {
        if let Some((instance, _)) = self.store().instance_and_key(id).await?
            && let Some(place) = self.inner.host.endpoints(instance.slot)
        {
            self.inner.live.put(Arc::new(instance), place, operation.cloned());
        }
        Ok(())
    }

    /// The operation that the same request led to before. One that is not over is woken: the
    /// client may repeat the request because nothing happens.
    pub(crate) async fn repeated(
        &self,
        actor: &Actor,
        name: &Name,
        idempotency: Option<Idempotency>,
    ) -> Result<Option<Operation>, EngineError> {
        let keyed = self.keyed(idempotency);
        let before = self.store().replayed(actor, keyed.as_ref()).await;
        let before = before.map_err(|e| EngineError::of(name, e))?;
        if let Some(before) = &before {
            self.wake_again(before);
        }
        Ok(before)
    }

    fn wake_again(&self, operation: &Operation) {
        if !operation.state.is_over() {
            self.inner.queue.push(&operation.instance);
            self.inner.jobs.wake();
        }
    }

    /// A request's digest covers its secrets, so it is keyed before it is stored: a weak secret
    /// could be guessed from a plain one.
    pub(crate) fn keyed(&self, idempotency: Option<Idempotency>) -> Option<Idempotency> {
        idempotency.map(|given| Idempotency {
            request_hash: self.inner.vault.hmac(&given.request_hash),
            ..given
        })
    }
}
