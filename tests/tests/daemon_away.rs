//! The daemon killed and restarted while pages are open; and firewall rules that are deleted.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    process::Command,
    time::{Duration, Instant},
};

use end_to_end::{Platform, until, websocket::WebSocket};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn without_the_daemon_websockets_stay_open_and_requests_wait() {
    let mut platform = Platform::start(8, &[], "").await;
    platform.provision("alice").await;
    let cookie = platform.sign_in("alice").await;
    let before = platform.run_of("alice");
    let (client, origin) = (platform.upgrading_client(), platform.origin("alice"));
    let mut socket = WebSocket::open(&client, &origin, &cookie).await;
    // Only an introduced client may stay connected.
    let hello = json!({ "type": "req", "id": "1", "method": "connect", "params": {
        "minProtocol": 1, "maxProtocol": 99, "role": "operator", "scopes": ["operator.read"],
        "client": {
            "id": "openclaw-control-ui", "version": "1", "buildId": "dev", "platform": "web",
            "mode": "webchat",
        },
    } });
    let welcome = socket.ask(&hello, |said| said["id"] == "1").await;
    assert_eq!(welcome["ok"], true, "{welcome:#}");
    socket.ping("before").await;

    for round in 0..2 {
        platform.kill_daemon();
        socket.ping("without the daemon").await;
        let request = client.get(&origin).header("cookie", &cookie).send();
        let asked = Instant::now();
        let request = tokio::spawn(request);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!request.is_finished(), "it waits: {:?}", request.await);
        platform.spawn_daemon();
        let answer = request.await.unwrap().unwrap();
        assert_eq!(answer.status(), 200, "round {round}, after {:?}", asked.elapsed());
        platform.becomes("alice", "live").await;
        socket.ping("with another daemon").await;
    }
    let question = json!({ "type": "req", "id": "2", "method": "health", "params": {} });
    let health = socket.ask(&question, |said| said["id"] == "2").await;
    assert_eq!(health["ok"], true, "{health:#}");
    assert_eq!(platform.run_of("alice"), before, "a new daemon does not touch live instances");
    assert_eq!(platform.events("alice", "failed").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn walls_that_somebody_tears_down_are_put_up_again() {
    let platform = Platform::start(7, &[], "").await;
    let table = platform.prefix().replace('-', "_");
    let listing = || nft(&["list", "table", "inet", &table]);
    let whole = listing().expect("the table is there from the start");
    assert!(whole.contains("chain") && whole.contains("drop"), "{whole}");
    let breaks: [&[&str]; 2] =
        [&["delete", "table", "inet", &table], &["flush", "table", "inet", &table]];
    for change in breaks {
        nft(change).expect("the table can be changed");
        assert_ne!(listing().as_ref(), Some(&whole), "{change:?} changed nothing");
        // It checks every five seconds; a busy host may take longer.
        until(&format!("repaired after {change:?}"), Duration::from_secs(15), async || {
            (listing().as_ref() == Some(&whole)).then_some(())
        })
        .await;
    }
    assert!(platform.metric("startclaw_firewall_repairs_total").await >= 2.0);
}

/// Runs `nft`; `None` if it fails.
fn nft(arguments: &[&str]) -> Option<String> {
    let output = Command::new("nft").args(arguments).output().expect("nft runs");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
