//! The command line on another host: over HTTPS, through Caddy, with a token.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Output;

use end_to_end::Platform;
use serde_json::Value;

/// A client on another host: no socket, no configuration, only an address and a token.
struct Remote<'a> {
    platform: &'a Platform,
    token: String,
}

impl Remote<'_> {
    /// A token created by the operator.
    async fn new<'a>(platform: &'a Platform, options: &[&str]) -> Remote<'a> {
        let arguments = [&["tokens", "create", "remote"], options].concat();
        let made = platform.run(&arguments, "").await;
        assert!(made.status.success(), "{}", platform.report(&made));
        let token = String::from_utf8(made.stdout).expect("a token is text").trim().to_owned();
        Remote { platform, token }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let platform = self.platform;
        let mut command = std::process::Command::new(end_to_end::platform::program());
        command
            .args(["--api", &platform.origin("api"), "--ca-file"])
            .arg(platform.path("caddy/pki/authorities/local/root.crt"))
            .args(arguments)
            .env_clear()
            .env("STARTCLAW_TOKEN", &self.token);
        command.output().expect("the program runs")
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", self.platform.report(&output));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], code: i32) {
        let output = self.run(arguments);
        let report = self.platform.report(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {report}");
        assert!(!report.contains(&self.token), "{report}");
    }
}

fn names(list: &Value) -> Vec<&str> {
    let entries = list.as_object().and_then(|o| o.values().next()).and_then(Value::as_array);
    entries.expect("a list").iter().map(|e| e["name"].as_str().unwrap_or_default()).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn the_command_line_works_from_elsewhere_with_a_token() {
    let platform = Platform::start(6, &[], "").await;
    let writer = Remote::new(&platform, &["--scope", "write"]).await;
    assert!(names(&writer.json(&["status"])).is_empty());
    for name in ["alice", "bob"] {
        let made = writer.json(&["provision", name, "--owner", "o@example.com", "--no-wait"]);
        assert_eq!(made["name"], name, "{made:#}");
    }
    assert_eq!(names(&writer.json(&["status"])), ["alice", "bob"]);
    assert_eq!(names(&writer.json(&["operations"])), ["bob", "alice"]);

    let reader = Remote::new(&platform, &["--scope", "read"]).await;
    assert_eq!(names(&reader.json(&["status"])), ["alice", "bob"]);
    reader.refused(&["restart", "alice", "--no-wait"], 5);

    let one = Remote::new(&platform, &["--scope", "write", "--instance", "alice"]).await;
    for list in ["status", "operations"] {
        assert_eq!(names(&one.json(&[list])), ["alice"], "{list}");
    }
    one.refused(&["status", "bob"], 4);
    one.refused(&["operations", "bob"], 4);
    one.refused(&["tokens", "list"], 5);

    let mut wrong = Remote::new(&platform, &["--scope", "read"]).await;
    wrong.token.replace_range(wrong.token.len() - 4.., "xxxx");
    wrong.refused(&["status"], 5);
    wrong.token.clear();
    let none = wrong.run(&["status"]);
    assert_eq!(none.status.code(), Some(5), "{}", platform.report(&none));
    assert!(String::from_utf8_lossy(&none.stderr).contains("STARTCLAW_TOKEN"));

    let unknown = std::process::Command::new(end_to_end::platform::program())
        .args(["--api", &platform.origin("api"), "status"])
        .env_clear()
        .env("STARTCLAW_TOKEN", &reader.token)
        .output()
        .expect("the program runs");
    assert_eq!(unknown.status.code(), Some(3), "{}", platform.report(&unknown));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("--ca-file"));

    // Waiting works over HTTPS too: the stream through Caddy ends with the operation.
    for (name, by) in [("alice", &one), ("bob", &writer)] {
        let gone = by.json(&["deprovision", name, "--yes"]);
        assert_eq!(gone["state"], "succeeded", "{gone:#}");
    }
    assert!(names(&writer.json(&["status"])).is_empty());
    // The token was revoked with its instance.
    one.refused(&["status"], 5);
}
