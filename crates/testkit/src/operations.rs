//! Operations, and waits for their effects.

use futures::StreamExt;
use startclaw_engine::Engine;
use startclaw_model::{Actor, InstanceState, Operation, OperationState};

use crate::{LIMIT, name, request, until};

/// Waits until an operation is over.
pub async fn over(engine: &Engine, operation: &Operation) -> Operation {
    let wait = async {
        let mut states = std::pin::pin!(engine.watch(&operation.id).await.unwrap());
        let mut last = None;
        while let Some(state) = states.next().await {
            last = Some(state);
        }
        last.unwrap()
    };
    tokio::time::timeout(LIMIT, wait).await.expect("the operation is over in time")
}

/// Provisions an instance and waits until it is live.
pub async fn provisioned(engine: &Engine, text: &str) -> Operation {
    let asked = engine.provision(&Actor::system(), request(text), None).await.unwrap();
    succeeds(engine, &asked).await
}

/// Backs an instance up.
pub async fn backed_up(engine: &Engine, text: &str) -> Operation {
    let asked = engine.backup(&Actor::socket(0), &name(text)).await.unwrap();
    succeeds(engine, &asked).await
}

async fn succeeds(engine: &Engine, operation: &Operation) -> Operation {
    let done = over(engine, operation).await;
    assert_eq!(done.state, OperationState::Succeeded, "{done:?}");
    done
}

/// Waits until an instance is in this state.
pub async fn becomes(engine: &Engine, text: &str, state: InstanceState) {
    until(&format!("{text} is {}", state.as_str()), async || {
        engine.status(&name(text)).await.is_ok_and(|s| s.state == state)
    })
    .await;
}

/// The names of an operation's steps.
pub fn steps(operation: &Operation) -> Vec<&str> {
    operation.steps.iter().map(|s| s.name.as_str()).collect()
}
