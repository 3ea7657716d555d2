//! `openclaw fleet`, the peer: the very release that is in the image, run as its documentation
//! says (`docs/cli/fleet.md` in the package), with a state folder of its own.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context;
use tempfile::TempDir;
use tokio::{process::Command, time::Instant};

use crate::{client, machine};

/// What the names of its cells begin with; `script/bench` removes what is left by them.
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

    /// A command that does not count: the program's files are in memory afterwards, and its
    /// own compile cache is filled.
    pub async fn warm_up(&self) -> anyhow::Result<()> {
        self.run(&["list", "--json"]).await.map(drop)
    }

    /// Creates one cell, waits for its answer, removes it; gives how long the answer took.
    pub async fn start(&self, round: usize) -> anyhow::Result<Duration> {
        Ok(self.create(&format!("{CELL}-{round}")).await?.1)
    }

    /// Creates a cell; gives how long its first answer took. It is removed when it is dropped.
    pub async fn create(&self, tenant: &str) -> anyhow::Result<(Cell<'_>, Duration)> {
        let port = client::free_port()?;
        let url = format!("http://127.0.0.1:{port}{}", client::STARTUP);
        let cell = Cell { fleet: self, tenant: tenant.to_owned(), url: url.clone() };
        let (client, image, port) = (client::http()?, machine::image(), port.to_string());
        let arguments = ["create", &cell.tenant, "--image", &image, "--port", &port, "--json"];
        let begun = Instant::now();
        // The answer counts, not the end of the command, which waits for `/healthz`.
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

/// Removed, with its data, when it is dropped.
pub struct Cell<'a> {
    fleet: &'a Fleet,
    tenant: String,
    url: String,
}

impl Cell<'_> {
    /// What its tenant has.
    pub fn data(&self) -> PathBuf {
        self.fleet.state.path().join("fleet/cells").join(&self.tenant)
    }

    /// Stops it; gives how long that took.
    pub async fn stop(&self) -> anyhow::Result<Duration> {
        self.timed(&["stop", &self.tenant]).await
    }

    /// Starts it; gives how long its answer took.
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

    /// Writes an archive of it; gives how long that took.
    pub async fn back_up(&self, archive: &Path) -> anyhow::Result<Duration> {
        self.timed(&["backup", &self.tenant, "--out", &archive.to_string_lossy()]).await
    }

    /// Puts an archive back; gives how long that took.
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
