//! A call to the host that hangs for one instance: the others are looked after, and it is told.

use std::time::Duration;

use startclaw_engine::Engine;
use startclaw_host::HostEvent;
use startclaw_model::{Actor, CheckStatus, DeletionPolicy, InstanceState, OperationState};
use startclaw_simulated::Hang;
use startclaw_testkit::*;

fn hang(platform: &TestPlatform, text: &str, call: &'static str, limit: Duration) {
    platform.host.state().hangs.push(Hang { name: text.to_owned(), call, limit });
}

/// What doctor says of calls that hang.
async fn check(engine: &Engine) -> Option<String> {
    let checks = engine.diagnose().await;
    let hangs = checks.into_iter().find(|check| check.name == "docker calls")?;
    assert_eq!(hangs.status, CheckStatus::Error);
    Some(hangs.detail)
}

async fn alert(engine: &Engine) -> Option<String> {
    let alerts = engine.alerts().await.unwrap();
    alerts.into_iter().find(|alert| alert.key == "docker").map(|alert| alert.detail)
}

async fn told(engine: &Engine, what: &str) {
    until("doctor tells it", async || check(engine).await.is_some_and(|d| d.contains(what))).await;
    until("an alert tells it", async || alert(engine).await.is_some_and(|d| d.contains(what)))
        .await;
}

/// All that the engine does for an instance.
async fn is_looked_after(platform: &TestPlatform, engine: &Engine, text: &str) {
    let id = provisioned(engine, text).await.instance;
    let starts = platform.host.state().instance(&id).starts;
    platform.host.state().end(&id, 1, false);
    platform.host.announce(HostEvent::Instance(id.clone()));
    until("it is started again", async || platform.host.state().instance(&id).starts > starts)
        .await;
    becomes(engine, text, InstanceState::Live).await;
    platform.host.state().instance(&id).network = false;
    until("it has a network", async || platform.host.state().instance(&id).network).await;
    becomes(engine, text, InstanceState::Live).await;
    let who = Actor::system();
    let backup = engine.backup(&who, &name(text)).await.unwrap();
    assert_eq!(over(engine, &backup).await.state, OperationState::Succeeded);
    let removal = engine.deprovision(&who, &name(text), DeletionPolicy::None, None).await.unwrap();
    assert_eq!(over(engine, &removal).await.state, OperationState::Succeeded);
}

#[tokio::test]
async fn a_call_that_never_returns_holds_its_own_instance_only() {
    for call in ["observe", "volume", "network", "container", "start", "apply-limits"] {
        let platform = TestPlatform::new();
        let engine = platform.start().await;
        hang(&platform, "alice", call, Duration::MAX);
        let who = Actor::system();
        let asked = engine.provision(&who, request("alice"), None).await.unwrap();
        told(&engine, &format!("{call} alice")).await;
        is_looked_after(&platform, &engine, "bob").await;
        let open = engine.operation(&asked.id).await.unwrap();
        assert!(!open.state.is_over(), "{call}: {open:?}");
        // Whoever asks for more of it is answered.
        engine.restart(&who, &name("alice"), None).await.unwrap();
        assert_eq!(engine.status_all().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_hangs_is_told_as_long_as_it_does_and_no_instance_is_restarted_for_it() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    hang(&platform, "alice", "observe", Duration::from_millis(20));
    let reason = async || engine.status(&name("alice")).await.unwrap().reason;
    platform.host.announce(HostEvent::Instance(id.clone()));
    until("status tells it", async || {
        reason().await.is_some_and(|r| r.contains("observe alice hangs"))
    })
    .await;
    told(&engine, "observe alice").await;
    is_looked_after(&platform, &engine, "bob").await;

    platform.host.state().hangs.clear();
    until("status tells no more", async || reason().await.is_none()).await;
    becomes(&engine, "alice", InstanceState::Live).await;
    until("the alert is resolved", async || alert(&engine).await.is_none()).await;
    assert_eq!(check(&engine).await, None);
    assert_eq!(engine.status(&name("alice")).await.unwrap().failures, 0);
    assert_eq!(platform.host.state().instance(&id).starts, 1);
    engine.shutdown().await;
}

#[tokio::test]
async fn a_step_that_hangs_and_then_works_is_done_and_the_request_succeeds() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    hang(&platform, "alice", "start", Duration::from_millis(20));
    let asked = engine.provision(&Actor::system(), request("alice"), None).await.unwrap();
    told(&engine, "start alice").await;
    is_looked_after(&platform, &engine, "bob").await;
    let status = engine.status(&name("alice")).await.unwrap();
    assert_eq!((status.failures, status.state), (0, InstanceState::Starting));
    platform.host.state().hangs.clear();
    assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);
    becomes(&engine, "alice", InstanceState::Live).await;
    engine.shutdown().await;
}

#[tokio::test]
async fn an_alert_of_the_host_stays_while_it_is_unknown_whether_its_fault_lasts() {
    let machine = TestPlatform::new();
    let engine = machine.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    hang(&machine, "alice", "observe", Duration::from_millis(1));
    machine.host.announce(HostEvent::Instance(id));
    told(&engine, "observe alice").await;
    machine.host.state().unknown_faults.push(startclaw_host::HostFault::DOCKER);
    machine.host.state().hangs.clear();
    until("nothing hangs", async || check(&engine).await.is_none()).await;
    let before = machine.host.state().fault_checks;
    until("faults were looked for", async || machine.host.state().fault_checks >= before + 2).await;
    assert!(alert(&engine).await.is_some());
    machine.host.state().unknown_faults.clear();
    until("the alert is resolved", async || alert(&engine).await.is_none()).await;
}
