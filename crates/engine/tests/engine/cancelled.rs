//! A caller that is dropped at any await of any verb: what was stored is carried out.

use std::{pin::pin, task::Context, time::Duration};

use startclaw_engine::{Engine, EngineError, RestoreRequest};
use startclaw_model::{
    Actor, DeletionPolicy, InstanceState, Operation, OperationState, Secret, SecretName,
    SnapshotChoice,
};
use startclaw_store::Idempotency;
use startclaw_testkit::*;

/// More polls than any verb needs.
const POLLS: u32 = 60;

/// Polls a future `n` times, lets other tasks run in between, and drops it.
async fn dropped_after<T>(n: u32, future: impl Future<Output = T>) {
    let mut future = pin!(future);
    let mut context = Context::from_waker(std::task::Waker::noop());
    for _ in 0..n {
        if future.as_mut().poll(&mut context).is_ready() {
            return;
        }
        // The database's thread answers a little later than a yield.
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

async fn all_over(engine: &Engine, what: &str) {
    until(&format!("every operation is over: {what}"), async || {
        engine.operations(None, 1000).await.unwrap().iter().all(|o| o.state.is_over())
    })
    .await;
}

async fn ask(engine: &Engine, verb: usize) -> Result<Operation, EngineError> {
    let (who, alice) = (Actor::system(), name("alice"));
    match verb {
        0 => engine.restart(&who, &alice, None).await,
        1 => {
            let secret = Secret::new("a value");
            engine.set_secret(&who, &alice, SecretName::parse("OTHER").unwrap(), secret, None).await
        }
        2 => engine.remove_secret(&who, &alice, &SecretName::parse("OTHER").unwrap(), None).await,
        3 => engine.backup(&who, &alice).await,
        4 => {
            let snapshot = SnapshotChoice::Latest;
            let request = RestoreRequest { name: alice, instance: None, snapshot, as_name: None };
            engine.restore(&who, request, None).await
        }
        5 => engine.undo_restore(&who, &alice, None).await,
        _ => engine.drill(&who, Some((&alice).into())).await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_caller_is_dropped_is_carried_out() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    let first = engine.backup(&Actor::system(), &name("alice")).await.unwrap();
    over(&engine, &first).await;
    for verb in 0..=6 {
        for n in 0..POLLS {
            dropped_after(n, ask(&engine, verb)).await;
            all_over(&engine, &format!("verb {verb} after {n} polls")).await;
        }
    }
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provision_whose_caller_is_dropped_is_seen_and_comes_up() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    for n in 0..POLLS {
        let text = format!("n{n}");
        dropped_after(n, engine.provision(&Actor::system(), request(&text), None)).await;
    }
    all_over(&engine, "provision").await;
    let asked = engine.operations(None, 1000).await.unwrap();
    assert!(!asked.is_empty());
    for operation in &asked {
        assert_eq!(operation.state, OperationState::Succeeded, "{operation:?}");
        assert!(engine.status(&operation.name).await.is_ok(), "{} is seen", operation.name);
    }
    for n in 0..POLLS {
        let name = name(&format!("n{n}"));
        let who = Actor::system();
        dropped_after(n, engine.deprovision(&who, &name, DeletionPolicy::None, None)).await;
    }
    all_over(&engine, "deprovision").await;
    engine.shutdown().await;
}

/// The state that a daemon of another version leaves, or one that crashed between commit and
/// wake-up.
#[tokio::test]
async fn the_sweep_finds_what_nobody_woke_the_loop_for() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    let store = platform.database().await;
    let alice = store.instance(&name("alice")).await.unwrap();
    let kind = startclaw_model::OperationKind::Restart;
    let asked = Operation::new(kind, alice.id.clone(), alice.name.clone(), Actor::system());
    let change = |d: &mut startclaw_model::Desired| {
        d.epoch += 1;
        Ok(())
    };
    let key = Idempotency { key: "k".into(), request_hash: "h".into() };
    store.change(&asked, change, &[], &[], Some(&key)).await.unwrap();
    assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);
    becomes(&engine, "alice", InstanceState::Live).await;
    engine.shutdown().await;
}
