//! What breaks comes back, on real parts.

use std::{process::Command, time::Duration};

use end_to_end::{Platform, platform::is_real, until};
use serde_json::{Value, json};

const HEALED: Duration = Duration::from_secs(120);

/// How often the daemon is killed while it provisions.
const KILLS: u32 = 10;

async fn provision(platform: &Platform, name: &str) {
    let made = platform.run(&["provision", name], "").await;
    assert!(made.status.success(), "{}", platform.report(&made));
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_daemon_during_provisions_leaks_nothing_and_makes_nothing_twice() {
    if !is_real() {
        return;
    }
    let mut platform = Platform::start(3, &[], "").await;
    for kill in 0..KILLS {
        let (status, operation) =
            platform.api("POST", "/provision", Some(json!({ "name": "alice" }))).await;
        assert_eq!(status, 202, "{operation}");
        // Spread over a provision: most of its steps are in the first second, its boot in the rest.
        let moment = [0, 40, 120, 250, 400, 600, 900, 1500, 3000, 5000][kill as usize % 10];
        tokio::time::sleep(Duration::from_millis(moment)).await;
        platform.kill_daemon();
        platform.start_daemon().await;
        let done = platform.over(&operation).await;
        assert_eq!(done["state"], "succeeded", "killed after {moment} ms: {done:#}");
        for kind in ["container", "network", "volume"] {
            assert_eq!(platform.objects(kind).len(), 1, "killed after {moment} ms: one {kind}");
        }
        let cookie = platform.sign_in("alice").await;
        let page =
            platform.client().get(platform.origin("alice")).header("cookie", cookie).send().await;
        assert_eq!(page.unwrap().status(), 200);

        let (status, operation) = platform.api("DELETE", "/deprovision?name=alice", None).await;
        assert_eq!(status, 202, "{operation}");
        if kill % 2 == 0 {
            tokio::time::sleep(Duration::from_millis(moment)).await;
            platform.kill_daemon();
            platform.start_daemon().await;
        }
        let done = platform.over(&operation).await;
        assert_eq!(done["state"], "succeeded", "{done:#}");
        for kind in ["container", "network", "volume"] {
            assert!(platform.objects(kind).is_empty(), "no {kind} is left");
        }
        let secrets = std::fs::read_dir(platform.path("run/secrets")).unwrap().count();
        assert_eq!(secrets, 0, "no secret is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_comes_back_without_anyone_asking() {
    if !is_real() {
        return;
    }
    let platform = Platform::start(4, &[], "").await;
    provision(&platform, "alice").await;

    // It crashes.
    let container = platform.container("alice");
    platform.docker(&["kill", "--signal", "KILL", &container]);
    comes_back(&platform, "it crashed").await;

    // Somebody removes it.
    platform.docker(&["rm", "--force", &platform.container("alice")]);
    comes_back(&platform, "it was removed").await;
    assert_ne!(platform.container("alice"), container);

    // It runs out of memory: its first process and all others are in the same boat.
    let container = platform.container("alice");
    platform.docker(&["update", "--memory", "2g", "--memory-swap", "2g", &container]);
    let eat = "const a=[];for(;;)a.push(Buffer.alloc(64<<20,1))";
    platform.docker(&["exec", &container, "node", "-e", eat]);
    comes_back(&platform, "something in it ran out of memory").await;

    // It is frozen from inside: it takes connections and says nothing.
    let (status, events) = platform.api("GET", "/events?name=alice", None).await;
    assert_eq!(status, 200);
    let healed = |events: &Value| {
        events["events"]
            .as_array()
            .map_or(0, |e| e.iter().filter(|e| e["kind"] == "healed").count())
    };
    assert!(healed(&events) >= 1, "{events:#}");
}

/// Waits until the instance answers at its address again, by itself.
async fn comes_back(platform: &Platform, what: &str) {
    let cookie = platform.sign_in("alice").await;
    // It has to be seen as broken or renewed first, or a stale state would pass for healed.
    until(&format!("alice is back after {what}"), HEALED, async || {
        let status = platform.status("alice").await;
        let container = platform.container("alice");
        let running = platform.docker(&["inspect", "--format", "{{.State.Running}}", &container]);
        let page = platform
            .client()
            .get(platform.origin("alice"))
            .header("cookie", &cookie)
            .send()
            .await
            .ok()?;
        (status["state"] == "live" && running == "true" && page.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_is_replaced_and_one_that_cannot_come_back_says_why() {
    if !is_real() {
        return;
    }
    let platform = Platform::start(5, &[], "").await;
    provision(&platform, "alice").await;
    let before = started_at(&platform);
    let container = platform.container("alice");
    let pid = platform.docker(&["inspect", "--format", "{{.State.Pid}}", &container]);
    stop_tree(&pid);
    until("the silent one was replaced", Duration::from_secs(240), async || {
        (started_at(&platform) != before).then_some(())
    })
    .await;
    platform.becomes("alice", "live").await;

    // A setting that OpenClaw refuses and its doctor does not take out.
    let volume = platform.objects("volume").remove(0);
    let mount = platform.docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", &volume]);
    let file = format!("{mount}/openclaw.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    config["channels"]["telegram"]["nonsense"] = json!(1);
    std::fs::write(&file, config.to_string()).unwrap();
    platform.docker(&["kill", &platform.container("alice")]);
    let status = until("alice is failing", Duration::from_secs(240), async || {
        let status = platform.status("alice").await;
        (status["state"] == "failing").then_some(status)
    })
    .await;
    assert!(status["reason"].as_str().is_some_and(|r| !r.is_empty()), "{status:#}");
    assert!(status["last_log"].as_array().is_some_and(|l| !l.is_empty()), "{status:#}");
}

fn started_at(platform: &Platform) -> String {
    platform.docker(&["inspect", "--format", "{{.State.StartedAt}}", &platform.container("alice")])
}

/// Freezes every process below `pid`, as a hang does: the sockets stay open.
fn stop_tree(pid: &str) {
    let children = Command::new("pgrep").args(["--parent", pid]).output().expect("pgrep runs");
    for child in String::from_utf8_lossy(&children.stdout).lines() {
        stop_tree(child);
        let _ = Command::new("kill").args(["-STOP", child]).status();
    }
}
