//! The processes of a platform: starts and stops its daemon and its Caddy.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use super::Platform;
use crate::{caddy::Caddy, until};

/// How long a daemon or Caddy may take to start.
const UP: Duration = Duration::from_secs(30);

/// The built program, beside the folder of the test.
pub fn program() -> PathBuf {
    let mut path = std::env::current_exe().expect("a test knows where it is");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    let program = path.join("startclaw");
    assert!(program.exists(), "{} is missing: cargo build -p startclaw", program.display());
    program
}

impl Platform {
    /// Starts the daemon and waits until it answers.
    pub async fn start_daemon(&mut self) {
        self.spawn_daemon();
        until("the daemon answers", UP, async || {
            let output = self.command(&["status", "--json"]).output().ok()?;
            output.status.success().then_some(())
        })
        .await;
    }

    /// Starts the daemon without waiting.
    pub fn spawn_daemon(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("daemon.log"))
            .expect("a log file can be made");
        let child = Command::new(program())
            .arg("--config")
            .arg(self.settings())
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be copied"))
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        self.daemon = Some(child);
    }

    /// Kills the daemon (`kill -9`).
    pub fn kill_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// Starts Caddy and waits until it answers.
    pub async fn start_caddy(&mut self) {
        let caddyfile = self.path("Caddyfile");
        self.caddy = Some(Caddy::start(&caddyfile, self.dir.path(), &self.path("caddy.log")));
        let api = format!("https://api.{}:{}/healthz", self.domain(), self.https_port);
        until("Caddy answers over TLS", UP, async || {
            let client = self.try_client()?;
            client.get(&api).send().await.ok()?.status().is_success().then_some(())
        })
        .await;
    }

    /// The daemon's output so far.
    pub fn daemon_log(&self) -> String {
        std::fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }
}
