//! Docker stopped and restarted, as seen by the platform.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use end_to_end::{Platform, relay::Relay, until};

/// A probe runs every ten seconds, a full sweep every thirty.
const NOTICED: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn docker_stopped_and_started_again_and_everything_returns() {
    let mut relay = Relay::start();
    let mut platform = Platform::start(7, &[], &relay.setting()).await;
    platform.provision("alice").await;
    let cookie = platform.sign_in("alice").await;
    let before = platform.run_of("alice");

    // Docker is stopped and the container keeps running.
    relay.cut().await;
    until("the daemon has noticed", NOTICED, async || {
        platform.daemon_log().contains("cannot list instances on the host").then_some(())
    })
    .await;
    assert_eq!(platform.page("alice", &cookie).await, Some(200));
    // Also for a daemon that is started meanwhile.
    platform.kill_daemon();
    platform.start_daemon().await;
    until("alice answers while Docker is away", NOTICED, async || {
        (platform.page("alice", &cookie).await == Some(200)).then_some(())
    })
    .await;
    assert_eq!(platform.run_of("alice"), before, "it was not restarted");
    let health = platform.api("GET", "/healthz", None).await;
    assert_eq!(health.0, 200, "{health:?}");

    // Docker returns, and running containers are not affected.
    relay.reconnect();
    platform.becomes("alice", "live").await;
    assert_eq!(platform.run_of("alice"), before, "it was not restarted");

    // Docker stops together with the container.
    relay.cut().await;
    platform.docker(&["kill", &platform.container("alice")]);
    let status = until("alice is not reported as live", NOTICED, async || {
        let status = platform.status("alice").await;
        (status["state"] != "live").then_some(status)
    })
    .await;
    let reason = status["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("Docker"), "the reason names Docker: {status:#}");
    let page = platform.page("alice", &cookie).await;
    assert!(page.is_some_and(|status| status >= 500), "its page does not say so: {page:?}");
    // The state does not change while it cannot be recovered.
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_ne!(platform.status("alice").await["state"], "live");
    }

    relay.reconnect();
    platform.renewed("alice", &before, &cookie).await;
    assert_eq!(platform.objects("container").len(), 1);
}
