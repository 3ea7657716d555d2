//! `kill -9` of the daemon at various moments of operations, on real parts.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, SystemTime},
};

use end_to_end::Platform;
use serde_json::json;

/// When the daemon is killed, in ms after the request: most steps of a provision are in its first
/// second, the boot takes the rest.
const MOMENTS: [u64; 10] = [0, 40, 120, 250, 400, 600, 900, 1500, 3000, 4500];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn kill_9_of_the_daemon_during_provisions_leaks_nothing_and_makes_nothing_twice() {
    let mut platform = Platform::start(3, &[], "").await;
    let before = files(&platform);
    let mut deprovisions_hit = 0;
    for (round, moment) in MOMENTS.into_iter().enumerate() {
        let what = format!("killed after {moment} ms");
        let begun = SystemTime::now();
        let body = json!({ "name": "alice" });
        let (status, operation) = platform.api("POST", "/provision", Some(body)).await;
        assert_eq!(status, 202, "{operation}");
        tokio::time::sleep(Duration::from_millis(moment)).await;
        assert!(!is_over(&platform, &operation).await, "{what}: the kill came too late");
        platform.kill_daemon();
        platform.start_daemon().await;
        let done = platform.over(&operation).await;
        assert_eq!(done["state"], "succeeded", "{what}: {done:#}");
        for kind in ["container", "network", "volume"] {
            assert_eq!(platform.objects(kind).len(), 1, "{what}: one {kind}");
        }
        assert_eq!(happened(&platform, "create", begun), 1, "{what}: containers made");
        assert_eq!(happened(&platform, "start", begun), 1, "{what}: containers started");
        let cookie = platform.sign_in("alice").await;
        assert_eq!(platform.page("alice", &cookie).await, Some(200), "{what}");

        let (status, operation) = platform.api("DELETE", "/deprovision?name=alice", None).await;
        assert_eq!(status, 202, "{operation}");
        if round % 2 == 0 {
            tokio::time::sleep(Duration::from_millis(moment / 2)).await;
            deprovisions_hit += u32::from(!is_over(&platform, &operation).await);
            platform.kill_daemon();
            platform.start_daemon().await;
        }
        let done = platform.over(&operation).await;
        assert_eq!(done["state"], "succeeded", "{what}: {done:#}");
        for kind in ["container", "network", "volume"] {
            assert_eq!(platform.objects(kind), [""; 0], "{what}: no {kind} is left");
        }
        let left: Vec<_> = files(&platform).difference(&before).cloned().collect();
        assert_eq!(left, [""; 0], "{what}: files are left");
    }
    assert!(deprovisions_hit >= 2, "too few kills met a deprovision: {deprovisions_hit}");
    let (_, all) = platform.api("GET", "/operations?limit=100", None).await;
    let all = all["operations"].as_array().unwrap();
    assert_eq!(all.len(), 2 * MOMENTS.len(), "each was requested once and exists once");
    assert!(all.iter().all(|o| o["state"] == "succeeded"), "{all:#?}");
}

async fn is_over(platform: &Platform, operation: &serde_json::Value) -> bool {
    let path = format!("/operations/{}", operation["id"].as_str().expect("an id"));
    let (_, now) = platform.api("GET", &path, None).await;
    matches!(now["state"].as_str(), Some("succeeded" | "failed"))
}

/// Number of these events of the platform's containers.
fn happened(platform: &Platform, action: &str, since: SystemTime) -> usize {
    let seconds = |t: SystemTime| {
        t.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64().to_string()
    };
    let (action, label) =
        (format!("event={action}"), format!("label={}.instance", platform.prefix()));
    let (since, until) = (seconds(since), seconds(SystemTime::now()));
    let events = platform.docker(&[
        "events",
        "--since",
        &since,
        "--until",
        &until,
        "--filter",
        "type=container",
        "--filter",
        &action,
        "--filter",
        &label,
        "--format",
        "{{.ID}}",
    ]);
    events.lines().filter(|l| !l.is_empty()).count()
}

/// All files in the daemon's folders except backups: the final one of each instance outlives it.
fn files(platform: &Platform) -> BTreeSet<String> {
    fn walk(folder: &Path, but: &Path, all: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path() != but {
                all.insert(entry.path().display().to_string());
                walk(&entry.path(), but, all);
            }
        }
    }
    let backups = platform.path("data/backups");
    let mut all = BTreeSet::new();
    walk(&platform.path("run"), &backups, &mut all);
    walk(&platform.path("data"), &backups, &mut all);
    // Created on first use and kept; its content is not.
    all.remove(&platform.path("run/secrets").display().to_string());
    all
}
