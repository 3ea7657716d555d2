//! Automatic recovery, on real parts; and the reason where it is not possible.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use end_to_end::{Platform, platform::OPERATION, until};
use serde_json::{Value, json};

const REPAIRS: &str = "startclaw_step_seconds_count{step=\"repair\"}";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn what_crashes_is_removed_or_runs_out_of_memory_comes_back() {
    let platform = Platform::start(4, &[], "").await;
    platform.provision("alice").await;
    let cookie = platform.sign_in("alice").await;

    // A crash.
    let before = platform.run_of("alice");
    platform.docker(&["kill", &platform.container("alice")]);
    let status = platform.renewed("alice", &before, &cookie).await;
    assert_eq!(status["failures"], 1, "{status:#}");
    assert_eq!(platform.events("alice", "failed").await, ["it was killed (exit code 137)"]);
    assert_eq!(platform.events("alice", "recovered").await.len(), 1);

    // The container is removed manually.
    let before = platform.run_of("alice");
    platform.docker(&["rm", "--force", &platform.container("alice")]);
    platform.renewed("alice", &before, &cookie).await;
    // Docker kills the container before removing it, so its exit may have been observed.
    let failed = platform.events("alice", "failed").await;
    let gone = failed.last().is_some_and(|b| b.contains("container was gone"));
    let ended = platform.status("alice").await["failures"] == 2;
    assert!(gone || ended, "{failed:?}");
    assert_eq!(platform.objects("container").len(), 1);

    // The kernel kills its gateway for memory. On another instance, because the first failure of
    // each is always reported.
    platform.provision("bob").await;
    let cookie = platform.sign_in("bob").await;
    let before = platform.run_of("bob");
    let first = platform.first_process("bob");
    let processes = below(&first);
    assert!(!processes.is_empty(), "{first} has children");
    for process in processes {
        // A short-lived process may have ended.
        let _ = std::fs::write(format!("/proc/{process}/oom_score_adj"), "1000");
    }
    let eat = "const a=[];for(;;)a.push(Buffer.alloc(64<<20,1))";
    platform.docker(&["exec", &platform.container("bob"), "node", "-e", eat]);
    platform.renewed("bob", &before, &cookie).await;
    let failed = platform.events("bob", "failed").await;
    assert!(failed.len() == 1 && failed[0].contains("memory"), "{failed:?}");
    assert_eq!(platform.events("bob", "recovered").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn one_that_hangs_is_replaced() {
    let platform = Platform::start(5, &[], "").await;
    platform.provision("alice").await;
    let cookie = platform.sign_in("alice").await;
    let before = platform.run_of("alice");

    // Its sockets stay open and accept connections.
    let processes = below(&platform.first_process("alice"));
    assert!(!processes.is_empty());
    for process in processes {
        let _ = Command::new("kill").args(["-STOP", &process]).status();
    }
    platform.renewed("alice", &before, &cookie).await;
    let failed = platform.events("alice", "failed").await;
    assert_eq!(failed, ["it did not answer for 60 s"]);
    assert_eq!(platform.events("alice", "recovered").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn damage_is_repaired_once_and_what_stays_damaged_says_why() {
    let mut platform = Platform::start(9, &[], "").await;
    // One instance per damage, because a repair is attempted once in ten minutes.
    mended_by_the_doctor(&platform).await;
    quarantine(&platform).await;
    failing(&mut platform).await;
}

/// A key that OpenClaw rejects and its doctor removes.
async fn mended_by_the_doctor(platform: &Platform) {
    platform.provision("alice").await;
    let cookie = platform.sign_in("alice").await;
    let before = platform.run_of("alice");
    change_config(platform, "alice", |config| config["nonsense"] = json!({ "a": 1 }));
    platform.docker(&["kill", &platform.container("alice")]);
    platform.renewed("alice", &before, &cookie).await;
    assert_eq!(platform.metric(REPAIRS).await, 1.0, "repairs");
    let config = config(platform, "alice");
    assert!(config.get("nonsense").is_none(), "the doctor has taken it out: {config:#}");
}

/// An unreadable file.
async fn quarantine(platform: &Platform) {
    platform.provision("bob").await;
    let cookie = platform.sign_in("bob").await;
    let before = platform.run_of("bob");
    let broken = "{ \"gateway\": \"mine";
    std::fs::write(platform.data("bob").join("openclaw.json"), broken).expect("a file");
    platform.docker(&["kill", &platform.container("bob")]);
    platform.renewed("bob", &before, &cookie).await;
    let kept: Vec<_> = std::fs::read_dir(platform.data("bob"))
        .expect("a volume")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.to_string_lossy().contains("/openclaw.json.set-aside-"))
        .collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(std::fs::read_to_string(&kept[0]).expect("text"), broken);
}

/// A key that OpenClaw rejects and its doctor keeps.
async fn failing(platform: &mut Platform) {
    platform.provision("carol").await;
    let cookie = platform.sign_in("carol").await;
    let before = platform.run_of("carol");
    let repairs = platform.metric(REPAIRS).await;
    change_config(platform, "carol", |config| {
        config["channels"]["telegram"]["nonsense"] = json!(1)
    });
    platform.docker(&["kill", &platform.container("carol")]);
    let status = platform.becomes("carol", "failing").await;
    assert!(status["reason"].as_str().is_some_and(|r| !r.is_empty()), "{status:#}");
    assert!(status["last_log"].as_array().is_some_and(|l| !l.is_empty()), "{status:#}");
    assert!(status["retry_at"].is_string(), "{status:#}");
    let page = platform.page("carol", &cookie).await;
    assert!(page.is_some_and(|status| status >= 500), "its page does not say so: {page:?}");

    // It is retried, and not repaired again, by this daemon and by the next.
    let more = status["failures"].as_u64().expect("a number") + 2;
    at_least(platform, "carol", more).await;
    assert_eq!(platform.metric(REPAIRS).await, repairs + 1.0, "repairs");
    platform.kill_daemon();
    platform.start_daemon().await;
    at_least(platform, "carol", more + 1).await;
    assert_eq!(platform.metric(REPAIRS).await, 0.0, "repairs by the new daemon");
    assert_eq!(platform.status("carol").await["state"], "failing");

    // The owner repairs it and restarts at once.
    change_config(platform, "carol", |config| {
        config["channels"]["telegram"].as_object_mut().expect("an object").remove("nonsense");
    });
    let restarted = platform.run(&["restart", "carol"], "").await;
    assert!(restarted.status.success(), "{}", platform.report(&restarted));
    platform.renewed("carol", &before, &cookie).await;
}

async fn at_least(platform: &Platform, name: &str, failures: u64) {
    until(&format!("{name} has failed {failures} times"), OPERATION, async || {
        let status = platform.status(name).await;
        (status["failures"].as_u64() >= Some(failures)).then_some(())
    })
    .await;
}

/// The configuration of an instance.
fn config(platform: &Platform, name: &str) -> Value {
    let file = std::fs::read(platform.data(name).join("openclaw.json")).expect("a file");
    serde_json::from_slice(&file).expect("JSON")
}

/// Changes it as its owner can; the file keeps its owner.
fn change_config(platform: &Platform, name: &str, change: impl FnOnce(&mut Value)) {
    let mut config = config(platform, name);
    change(&mut config);
    let file = platform.data(name).join("openclaw.json");
    std::fs::write(file, config.to_string()).expect("it can be written");
}

/// All descendants of a process.
fn below(process: &str) -> Vec<String> {
    let children = Command::new("pgrep").args(["--parent", process]).output().expect("pgrep runs");
    let children = String::from_utf8_lossy(&children.stdout).into_owned();
    children.lines().flat_map(|child| [vec![child.to_owned()], below(child)].concat()).collect()
}
