//! A bare `docker run`, as fast as this image starts on this host: no limits, no firewall, no
//! proxy, and its configuration created before the clock starts.

use std::{
    os::unix::fs::{PermissionsExt, chown},
    process::Stdio,
    time::Duration,
};

use anyhow::Context;
use serde_json::json;
use tokio::{process::Command, time::Instant};

use crate::{client, machine};

/// The image's user.
const NODE: u32 = 1000;

/// Starts a container, waits until it has started, removes it; returns the start time.
pub async fn start(round: usize) -> anyhow::Result<Duration> {
    let home = tempfile::tempdir()?;
    let config = home.path().join("openclaw.json");
    let port = client::free_port()?;
    let content = json!({
        "gateway": {
            "mode": "local",
            "bind": "lan",
            "port": 18789,
            "auth": { "mode": "token" },
            "controlUi": { "allowedOrigins": [format!("http://127.0.0.1:{port}")] },
        },
        "update": { "checkOnStart": false },
    });
    std::fs::write(&config, content.to_string())?;
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700))?;
    for path in [home.path(), &config] {
        chown(path, Some(NODE), Some(NODE))?;
    }
    let container = Container(format!("startclaw-bench-{}-{round}", std::process::id()));

    let url = format!("http://127.0.0.1:{port}{}", client::STARTUP);
    let client = client::http()?;
    let begun = Instant::now();
    let run = Command::new("docker")
        .args(["run", "--detach", "--label", "startclaw-bench", "--name", &container.0])
        .args(["--publish", &format!("127.0.0.1:{port}:18789")])
        .arg(format!("--volume={}:/home/node/.openclaw", home.path().display()))
        .args(["--env", "OPENCLAW_GATEWAY_TOKEN=bench-bench-bench-bench"])
        .arg(machine::image())
        .stdin(Stdio::null())
        .output()
        .await
        .context("docker does not run")?;
    anyhow::ensure!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    client::started(&client, &url, None, begun).await
}

/// Removed when dropped.
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        if let Err(e) = machine::said("docker", &["rm", "--force", "--volumes", &self.0]) {
            eprintln!("{} is left behind: {e}", self.0);
        }
    }
}
