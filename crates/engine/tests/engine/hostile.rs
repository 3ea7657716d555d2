//! Files of a tenant cannot harm other instances.

use startclaw_engine::Engine;
use startclaw_model::{InstanceId, InstanceState};
use startclaw_simulated::Behaviour;
use startclaw_testkit::*;

/// Overflows the stack of a recursive parser, which would abort the test program.
fn too_deep() -> bytes::Bytes {
    vec![b'['; 20_000].into()
}

/// Writes the file to the volume of an instance whose container exits with `code`.
fn write_and_end(platform: &TestPlatform, id: &InstanceId, code: i64, next: Behaviour) {
    let mut world = platform.host.state();
    let thing = world.instance(id);
    thing.behaviour = next;
    let volume = thing.mounted;
    thing.volumes.insert(volume, Some(too_deep()));
    world.end(id, code, false);
}

async fn reason(engine: &Engine, text: &str) -> String {
    engine.status(&name(text)).await.unwrap().reason.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_nested_too_deep_is_shown_and_stops_no_other_instance() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    write_and_end(&platform, &id, 1, Behaviour::Exits(1));
    becomes(&engine, "alice", InstanceState::Failing).await;
    let why = reason(&engine, "alice").await;
    assert!(why.contains("openclaw.json is not readable: nested deeper than 64 levels"), "{why}");
    provisioned(&engine, "bob").await;
    engine.shutdown().await;
    // Again with the file present at the start.
    let engine = platform.start().await;
    becomes(&engine, "bob", InstanceState::Live).await;
    becomes(&engine, "alice", InstanceState::Failing).await;
    platform.host.state().instance(&id).behaviour = Behaviour::Healthy;
    becomes(&engine, "alice", InstanceState::Live).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_openclaw_refuses_too_is_quarantined_and_its_owner_told() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let id = provisioned(&engine, "alice").await.instance;
    write_and_end(&platform, &id, 78, Behaviour::Healthy);
    until("it has a configuration of ours again", async || {
        let config = platform.host.state().instance(&id).config();
        config.is_some_and(|c| c != too_deep())
    })
    .await;
    becomes(&engine, "alice", InstanceState::Live).await;
    let events = engine.events(Some(&name("alice")), 50).await.unwrap();
    let noted = events.iter().any(|e| e.detail.contains("kept beside a new one"));
    assert!(noted, "{events:?}");
}
