//! `openclaw fleet`, the peer: the same release as in the image, run as documented
//! (`docs/cli/fleet.md` in the package), with its own state folder.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context;
use tempfile::TempDir;
use tokio::{process::Command, time::Instant};

use crate::{client, machine};

/// The prefix of its cells' names; `script/bench` removes leftovers.
const CELL: &str = "scbench";

pub struct Fleet {
    node: PathBuf,
    program: PathBuf,
    state: TempDir,
}

impl Fleet {
    pub fn new(release: &std::path::Path) -> anyhow::Result<Self> {
        let release =
            release.canonicalize().context("no unpacked release; script/bench makes it")?;
        Ok(Self {
            node: release.join("node"),
            program: release.join("app/openclaw.mjs"),
            state: tempfile::tempdir()?,
        })
    }

    /// A warm-up command: afterwards the program's files are cached, and its compile cache is
    /// filled.
    pub async fn warm_up(&self) -> anyhow::Result<()> {
        self.run(&["list", "--json"]).await.map(drop)
    }

    /// Creates a cell, waits until it has started, removes it; returns the start time.
    pub async fn start(&self, round: usize) -> anyhow::Result<Duration> {
        Ok(self.create(&format!("{CELL}-{round}")).await?.1)
    }

    /// Creates a cell; returns its start time. It is removed when dropped.
    pub async fn create(&self, tenant: &str) -> anyhow::Result<(Cell<'_>, Duration)> {
        let port = client::free_port()?;
        let url = format!("http://127.0.0.1:{port}{}", client::STARTUP);
        let cell = Cell { fleet: self, tenant: tenant.to_owned(), url: url.clone() };
        let (client, image, port) = (client::http()?, machine::image(), port.to_string());
        let arguments = ["create", &cell.tenant, "--image", &image, "--port", &port, "--json"];
        let begun = Instant::now();
        // The clock stops at the response, not at the end of the command, which waits for
        // `/healthz`.
        let (created, took) =
            tokio::join!(self.run(&arguments), client::started(&client, &url, None, begun));
        created?;
        Ok((cell, took?))
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(&self.node);
        command
            .arg(&self.program)
            .arg("fleet")
            .args(arguments)
            .env("HOME", self.state.path())
            .env("OPENCLAW_STATE_DIR", self.state.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    async fn run(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = Command::from(self.command(arguments))
            .kill_on_drop(true)
            .output()
            .await
            .context("openclaw fleet does not run")?;
        anyhow::ensure!(
            output.status.success(),
            "openclaw fleet {arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}

/// Removed, with its data, when dropped.
pub struct Cell<'a> {
    fleet: &'a Fleet,
    tenant: String,
    url: String,
}

impl Cell<'_> {
    /// The folder of its data.
    pub fn data(&self) -> PathBuf {
        self.fleet.state.path().join("fleet/cells").join(&self.tenant)
    }

    /// Stops it; returns the duration.
    pub async fn stop(&self) -> anyhow::Result<Duration> {
        self.timed(&["stop", &self.tenant]).await
    }

    /// Starts it; returns the start time.
    pub async fn start(&self) -> anyhow::Result<Duration> {
        let client = client::http()?;
        let arguments = ["start", &self.tenant];
        let begun = Instant::now();
        let (done, took) = tokio::join!(
            self.fleet.run(&arguments),
            client::started(&client, &self.url, None, begun)
        );
        done?;
        took
    }

    /// Archives it; returns the duration.
    pub async fn back_up(&self, archive: &Path) -> anyhow::Result<Duration> {
        self.timed(&["backup", &self.tenant, "--out", &archive.to_string_lossy()]).await
    }

    /// Restores an archive; returns the duration.
    pub async fn restore(&self, archive: &Path) -> anyhow::Result<Duration> {
        self.timed(&["restore", &self.tenant, "--from", &archive.to_string_lossy()]).await
    }

    async fn timed(&self, arguments: &[&str]) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.fleet.run(arguments).await?;
        Ok(begun.elapsed())
    }
}

impl Drop for Cell<'_> {
    fn drop(&mut self) {
        let removed = self.fleet.command(&["rm", &self.tenant, "--purge-data", "--force"]).output();
        if !removed.as_ref().is_ok_and(|o| o.status.success()) {
            eprintln!("fleet's cell {} may be left behind: {removed:?}", self.tenant);
        }
    }
}
