//! `openclaw fleet`, the peer: the very release that is in the image, run as its documentation
//! says (`docs/cli/fleet.md` in the package), with a state folder of its own.

use std::{path::PathBuf, process::Stdio, time::Duration};

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
        let cell = Cell { fleet: self, tenant: format!("{CELL}-{round}") };
        let port = client::free_port()?;
        let url = format!("http://127.0.0.1:{port}{}", client::STARTUP);
        let (client, image, port) = (client::http()?, machine::image(), port.to_string());
        let arguments = ["create", &cell.tenant, "--image", &image, "--port", &port, "--json"];
        let begun = Instant::now();
        // The answer counts, not the end of the command, which waits for `/healthz`.
        let (created, took) =
            tokio::join!(self.run(&arguments), client::started(&client, &url, None, begun));
        created?;
        took
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
struct Cell<'a> {
    fleet: &'a Fleet,
    tenant: String,
}

impl Drop for Cell<'_> {
    fn drop(&mut self) {
        let removed = self.fleet.command(&["rm", &self.tenant, "--purge-data", "--force"]).output();
        if !removed.as_ref().is_ok_and(|o| o.status.success()) {
            eprintln!("fleet's cell {} may be left behind: {removed:?}", self.tenant);
        }
    }
}
