//! Failures are repaired without a request.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use startclaw_host::{ContainerState, Enforced, HostEvent, objects::Step};
use startclaw_model::{Actor, InstanceState, OperationState, Timestamp};
use startclaw_simulated::{Behaviour, Fault, Faults};
use startclaw_testkit::*;

#[tokio::test]
async fn a_container_that_crashes_comes_back() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    for (code, oom) in [(1, false), (137, true)] {
        let starts = platform.host.state().instance(&id).starts;
        platform.host.state().end(&id, code, oom);
        platform.host.announce(HostEvent::Instance(id.clone()));
        until("it is started again", async || platform.host.state().instance(&id).starts > starts)
            .await;
        becomes(&engine, "alice", InstanceState::Live).await;
    }
    let events = engine.events(Some(&name("alice")), 50).await.unwrap();
    assert!(events.iter().any(|e| e.kind.as_str() == "failed"), "{events:?}");
    assert!(events.iter().any(|e| e.kind.as_str() == "recovered"), "{events:?}");
}

#[tokio::test]
async fn a_container_or_network_that_somebody_removed_is_made_again_without_a_word_from_the_host() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    platform.host.state().instance(&id).container = None;
    until("it has a container", async || {
        let thing = platform.host.state().instance(&id).clone();
        thing
            .container
            .is_some_and(|c| c.state == ContainerState::Running && c.enforced == Enforced::All)
    })
    .await;
    platform.host.state().instance(&id).network = false;
    until("it has a network", async || platform.host.state().instance(&id).network).await;
    becomes(&engine, "alice", InstanceState::Live).await;
    let status = engine.status(&name("alice")).await.unwrap();
    assert_eq!(status.failures, 0, "that we stopped it is no failure of it: {status:?}");
}

#[tokio::test]
async fn limits_that_somebody_changed_are_put_back_and_an_instance_stays_live_if_they_cannot_be() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    let change = || {
        if let Some(container) = &mut platform.host.state().instance(&id).container {
            container.limits_changed = true;
        }
        platform.host.announce(HostEvent::Instance(id.clone()));
    };
    let changed = || {
        let mut state = platform.host.state();
        state.instance(&id).container.as_ref().is_some_and(|c| c.limits_changed)
    };
    change();
    until("they are put back", async || !changed()).await;

    let tried = Arc::new(AtomicU32::new(0));
    let count = tried.clone();
    platform.host.set_faults(Faults::by(move |_, step| match step {
        Some(Step::ApplyLimits) => {
            count.fetch_add(1, Ordering::SeqCst);
            Fault::FailBefore
        }
        _ => Fault::None,
    }));
    change();
    until("it was tried", async || tried.load(Ordering::SeqCst) > 0).await;
    becomes(&engine, "alice", InstanceState::Live).await;
    assert!(changed());
    let status = engine.status(&name("alice")).await.unwrap();
    assert_eq!(status.failures, 0, "{status:?}");
}

#[tokio::test]
async fn a_container_that_hangs_is_replaced_and_the_reason_said() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    platform.host.state().instance(&id).behaviour = Behaviour::Hangs;
    until("it was started again", async || platform.host.state().instance(&id).starts > 1).await;
    platform.host.state().instance(&id).behaviour = Behaviour::Healthy;
    becomes(&engine, "alice", InstanceState::Live).await;
    let events = engine.events(Some(&name("alice")), 50).await.unwrap();
    assert!(events.iter().any(|e| e.detail.contains("did not answer")), "{events:?}");
}

/// A tenant that never answers must not use the host without limits.
#[tokio::test]
async fn a_boot_that_never_ends_has_no_more_cpu_than_a_boot_needs() {
    let mut platform = TestPlatform::new();
    platform.settings.timing.boot_limit = LIMIT * 10;
    platform.host.state().next_behaviour = Behaviour::Hangs;
    let engine = platform.start().await;
    let id = engine.provision(&Actor::system(), request("alice"), None).await.unwrap().instance;
    let enforced = || platform.host.state().instance(&id).container.clone().map(|c| c.enforced);
    until("its CPU is limited", async || enforced() == Some(Enforced::Cpu)).await;
    platform.host.state().instance(&id).behaviour = Behaviour::Healthy;
    becomes(&engine, "alice", InstanceState::Live).await;
    assert_eq!(enforced(), Some(Enforced::All));
}

#[tokio::test]
async fn one_that_is_started_again_and_again_boots_under_its_cpu_limit() {
    let mut platform = TestPlatform::new();
    platform.settings.timing.boot_cpu = LIMIT;
    platform.settings.timing.boot_limit = LIMIT * 10;
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    for _ in 0..6 {
        let asked = engine.restart(&Actor::system(), &name("alice"), None).await.unwrap();
        assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);
    }
    platform.host.state().instance(&id).behaviour = Behaviour::Hangs;
    engine.restart(&Actor::system(), &name("alice"), None).await.unwrap();
    let enforced = || platform.host.state().instance(&id).container.clone().map(|c| c.enforced);
    until("its CPU is limited", async || enforced() == Some(Enforced::Cpu)).await;
}

#[tokio::test]
async fn one_that_cannot_come_back_is_failing_with_reason_and_log_and_is_tried_on() {
    let platform = TestPlatform::new();
    platform.host.state().next_behaviour = Behaviour::Exits(1);
    let engine = platform.start().await;
    let asked = engine.provision(&Actor::system(), request("alice"), None).await.unwrap();
    let done = over(&engine, &asked).await;
    assert_eq!(done.state, OperationState::Failed);
    assert!(done.error.unwrap().contains("exit code 1"));
    becomes(&engine, "alice", InstanceState::Failing).await;
    let status = engine.status(&name("alice")).await.unwrap();
    assert!(status.reason.unwrap().contains("exit code 1"));
    assert!(!status.last_log.is_empty());
    let fired = async || engine.alerts().await.unwrap().iter().any(|t| t.key == "instance/alice");
    until("an alert fires", &fired).await;
    platform.host.state().instance(&done.instance).behaviour = Behaviour::Healthy;
    becomes(&engine, "alice", InstanceState::Live).await;
    until("the alert is resolved", async || !fired().await).await;
}

#[tokio::test]
async fn a_damaged_state_gets_one_repair() {
    let platform = TestPlatform::new();
    platform.host.state().next_behaviour = Behaviour::NeedsRepair;
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    assert_eq!(platform.host.state().instance(&id).repairs, 1);
    platform.host.state().next_behaviour = Behaviour::Exits(78);
    let asked = engine.provision(&Actor::system(), request("bob"), None).await.unwrap();
    let done = over(&engine, &asked).await;
    assert_eq!(done.state, OperationState::Failed);
    becomes(&engine, "bob", InstanceState::Failing).await;
    assert_eq!(platform.host.state().instance(&done.instance).repairs, 1);
}

#[tokio::test]
async fn a_configuration_that_nobody_can_read_is_made_anew() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    {
        let mut world = platform.host.state();
        world.instance(&id).volumes.insert(0, Some("{ not json".into()));
        world.instance(&id).behaviour = Behaviour::Exits(78);
        world.end(&id, 78, false);
    }
    until("a readable configuration is there", async || {
        let config = platform.host.state().instance(&id).config();
        config.is_some_and(|c| c.starts_with(b"{\n"))
    })
    .await;
    assert_eq!(platform.host.state().instance(&id).repairs, 1, "the doctor came first");
    platform.host.state().instance(&id).behaviour = Behaviour::Healthy;
    becomes(&engine, "alice", InstanceState::Live).await;
}

#[tokio::test]
async fn failures_are_forgiven_after_a_while() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    platform.host.state().end(&id, 1, false);
    until("the failure is counted", async || {
        engine.status(&name("alice")).await.unwrap().failures == 1
    })
    .await;
    until("the failure is forgiven", async || {
        engine.status(&name("alice")).await.unwrap().failures == 0
    })
    .await;
}

#[tokio::test]
async fn a_host_that_is_away_loses_nothing_and_fails_nobody() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    platform.host.set_faults(Faults::by(|_, _| Fault::FailBefore));
    let asked = engine.provision(&Actor::system(), request("bob"), None).await.unwrap();
    until("status says so", async || {
        let status = engine.status(&name("bob")).await.unwrap();
        status.reason.is_some_and(|r| r.contains("simulated"))
    })
    .await;
    let calls = platform.host.calls();
    until("it is tried again and again", async || platform.host.calls() > calls + 10).await;
    platform.host.set_faults(Faults::none());
    assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);
    becomes(&engine, "alice", InstanceState::Live).await;
    assert_eq!(engine.status(&name("bob")).await.unwrap().failures, 0);
}

#[tokio::test]
async fn while_the_host_is_away_status_says_what_the_instance_itself_says() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    // The host's calls fail, and so do probes: the instance is not shown as live.
    platform.host.state().end(&id, 137, false);
    platform.host.set_faults(Faults::by(|_, _| Fault::FailBefore));
    until("it is not shown as live", async || {
        let status = engine.status(&name("alice")).await.unwrap();
        status.state != InstanceState::Live && status.reason.is_some()
    })
    .await;
    platform.host.set_faults(Faults::none());
    becomes(&engine, "alice", InstanceState::Live).await;
}

#[tokio::test]
async fn a_verb_that_comes_while_an_instance_fails_is_tried_and_not_given_up() {
    let platform = TestPlatform::new();
    platform.host.state().next_behaviour = Behaviour::Exits(1);
    let engine = platform.start().await;
    let asked = engine.provision(&Actor::system(), request("alice"), None).await.unwrap();
    let failed = over(&engine, &asked).await;
    for _ in 0..20 {
        platform.host.state().instance(&failed.instance).behaviour = Behaviour::Exits(1);
        becomes(&engine, "alice", InstanceState::Failing).await;
        platform.host.state().instance(&failed.instance).behaviour = Behaviour::Healthy;
        let restart = engine.restart(&Actor::system(), &name("alice"), None).await.unwrap();
        let done = over(&engine, &restart).await;
        assert_eq!(done.state, OperationState::Succeeded, "{done:?}");
        platform.host.state().instance(&failed.instance).behaviour = Behaviour::Exits(1);
        platform.host.state().end(&failed.instance, 1, false);
    }
}

#[tokio::test]
async fn what_ended_while_no_daemon_ran_is_started_and_counts_for_nothing() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    engine.shutdown().await;
    platform.host.state().end(&id, 137, false);
    // Times are stored in milliseconds: the daemon starts in a later one.
    let ended = Timestamp::now();
    until("it is later", async || Timestamp::now() > ended).await;
    let engine = platform.start().await;
    becomes(&engine, "alice", InstanceState::Live).await;
    assert_eq!(engine.status(&name("alice")).await.unwrap().failures, 0);
    assert_eq!(platform.host.state().instance(&id).starts, 2);
}

#[tokio::test]
async fn boots_that_hang_do_not_keep_the_others_from_being_looked_after() {
    let platform = TestPlatform::new();
    let mut settings = settings();
    settings.timing.boot_limit = LIMIT * 10;
    platform.host.state().next_behaviour = Behaviour::Hangs;
    let engine = platform.start_with(settings).await;
    // More than there are workers.
    for n in 0..40 {
        engine.provision(&Actor::system(), request(&format!("h{n}")), None).await.unwrap();
    }
    until("all of them boot", async || {
        let ids = platform.host.state().ids();
        ids.len() == 40 && ids.iter().all(|id| platform.host.state().instance(id).starts == 1)
    })
    .await;
    platform.host.state().next_behaviour = Behaviour::Healthy;
    provisioned(&engine, "alice").await;
}

#[tokio::test]
async fn only_so_many_boot_at_once_and_all_come_up() {
    let platform = TestPlatform::new();
    let mut settings = settings();
    settings.instances.boots = 2;
    let engine = platform.start_with(settings).await;
    let mut asked = Vec::new();
    for n in 0..20 {
        asked.push(
            engine.provision(&Actor::system(), request(&format!("i{n}")), None).await.unwrap(),
        );
    }
    for operation in asked {
        assert_eq!(over(&engine, &operation).await.state, OperationState::Succeeded);
    }
}
