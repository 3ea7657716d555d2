//! Controls and queries a platform: by its command line, and by its API over the socket.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{OPERATION, Platform, program};
use crate::until;

impl Platform {
    /// A command line of this platform's program.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .arg("--config")
            .arg(self.settings())
            .arg("--socket")
            .arg(self.path("run/startclaw.sock"))
            .args(arguments)
            .stdin(Stdio::null())
            .env_remove("STARTCLAW_TOKEN");
        command
    }

    /// Runs a command and parses its output as JSON.
    ///
    /// # Panics
    /// If it fails.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments, "").await;
        assert!(output.status.success(), "{arguments:?}: {}", self.report(&output));
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{arguments:?}: {e}: {}", self.report(&output)))
    }

    /// Runs a command with this input on stdin.
    pub async fn run(&self, arguments: &[&str], input: &str) -> Output {
        use std::io::Write;
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = input.to_owned();
        let run = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().expect("the program runs");
            if let Some(mut stdin) = child.stdin.take() {
                // A command that reads no input may have closed it.
                let _ = stdin.write_all(input.as_bytes());
            }
            child.wait_with_output().expect("the program ends")
        });
        let begun = std::time::Instant::now();
        let output = tokio::time::timeout(OPERATION, run).await.expect("the command ends in time");
        eprintln!("{:>7.1} s: startclaw {}", begun.elapsed().as_secs_f32(), arguments.join(" "));
        output.expect("it ran")
    }

    /// The output of a command, and the last lines of the daemon's log.
    pub fn report(&self, output: &Output) -> String {
        let log = self.daemon_log();
        let tail: Vec<_> = log.lines().rev().take(20).collect();
        format!(
            "{}\n{}\n{}\ndaemon:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            tail.into_iter().rev().collect::<Vec<_>>().join("\n"),
        )
    }

    fn over_socket(&self) -> reqwest::Client {
        let socket = self.path("run/startclaw.sock");
        reqwest::Client::builder().unix_socket(socket).build().expect("a client")
    }

    /// A request to the API over the socket.
    pub async fn api(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let mut request = self.over_socket().request(method, format!("http://localhost{path}"));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the socket answers");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// The metrics as scraped by Prometheus.
    pub async fn metrics(&self) -> String {
        let answer = self.over_socket().get("http://localhost/metrics").send().await;
        answer.expect("the socket answers").text().await.expect("a text")
    }

    /// One of the daemon's metrics, by the start of its line; 0 if it does not exist yet.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.metrics().await;
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            .unwrap_or_default()
    }

    /// Waits until an operation is finished.
    pub async fn over(&self, operation: &Value) -> Value {
        let path = format!("/operations/{}", operation["id"].as_str().expect("an operation's id"));
        until("the operation is over", OPERATION, async || {
            let (_, now) = self.api("GET", &path, None).await;
            matches!(now["state"].as_str(), Some("succeeded" | "failed")).then_some(now)
        })
        .await
    }

    /// Creates an instance, and waits until it is live.
    pub async fn provision(&self, name: &str) {
        let made = self.run(&["provision", name], "").await;
        assert!(made.status.success(), "{}", self.report(&made));
    }

    /// The status of an instance.
    pub async fn status(&self, name: &str) -> Value {
        let (_, all) = self.api("GET", &format!("/status?name={name}"), None).await;
        all["instances"][0].clone()
    }

    /// Waits until an instance is in this state.
    pub async fn becomes(&self, name: &str, state: &str) -> Value {
        until(&format!("{name} is {state}"), OPERATION, async || {
            let now = self.status(name).await;
            (now["state"] == state).then_some(now)
        })
        .await
    }

    /// The details of an instance's events of one kind, oldest first.
    pub async fn events(&self, name: &str, kind: &str) -> Vec<String> {
        let (status, events) = self.api("GET", &format!("/events?name={name}"), None).await;
        assert_eq!(status, 200, "{events}");
        let events = events["events"].as_array().expect("a list of events");
        let mut details: Vec<_> = events
            .iter()
            .filter(|e| e["kind"] == kind)
            .map(|e| (e["at"].to_string(), e["detail"].as_str().unwrap_or_default().to_owned()))
            .collect();
        details.sort_by(|a, b| a.0.cmp(&b.0));
        details.into_iter().map(|(_, detail)| detail).collect()
    }
}
