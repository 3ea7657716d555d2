//! Submission of requests: stores a request and acts on it. Both happen or neither, even if the
//! caller disconnects.

use std::sync::Arc;

use startclaw_model::{Actor, EventKind, InstanceId, Name, Operation, OperationId};
use startclaw_store::{Idempotency, StoreError, Submission};

use crate::{Engine, EngineError};

impl Engine {
    /// Stores a request with `store`, wakes the loop and records the event, even if the caller is
    /// dropped meanwhile.
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
                        // It is stored: the caller gets its answer, and the sweep will show it.
                        tracing::error!(error = ?e, "cannot show a new request yet");
                    }
                    let about = Some((&operation.instance, &name));
                    engine.record(EventKind::Requested, about, &operation.actor, &what).await;
                    Ok(operation)
                }
            }
        })
        .await
    }

    /// Stores a requested backup or drill, or returns the one in progress.
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

    /// Updates the live table from the database.
    pub(crate) async fn refresh(
        &self,
        id: &InstanceId,
        operation: Option<&OperationId>,
    ) -> Result<(), EngineError> {
        if let Some((instance, _)) = self.store().instance_and_key(id).await? {
            let endpoints =
                self.endpoints_of(&instance).await.map_err(EngineError::HostUnavailable)?;
            self.inner.live.put(Arc::new(instance), endpoints, operation.cloned());
        }
        Ok(())
    }

    /// The operation of the same earlier request. If it is not over, it is woken: the client may
    /// have repeated the request because nothing happened.
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
            self.inner.job_service.wake();
        }
    }

    /// The digest of a request covers its secrets, so an HMAC of it is stored: a weak secret could
    /// be guessed from a plain digest.
    pub(crate) fn keyed(&self, idempotency: Option<Idempotency>) -> Option<Idempotency> {
        idempotency.map(|given| Idempotency {
            request_hash: self.inner.vault.hmac(&given.request_hash),
            ..given
        })
    }
}
