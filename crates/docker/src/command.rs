//! Runs system tools, such as those of the kernel's network.

use std::{io, process::Stdio, time::Duration};

use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use startclaw_host::HostError;

/// They take milliseconds, unless they wait for a lock.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Runs a tool as [`run_within`] does, with the default timeout.
pub(super) async fn run(
    program: &str,
    arguments: &[&str],
    input: Option<&str>,
) -> Result<String, HostError> {
    run_within(program, arguments, input, TIMEOUT).await
}

/// Runs a tool with `input` on stdin, and returns its stdout.
pub(super) async fn run_within(
    program: &str,
    arguments: &[&str],
    input: Option<&str>,
    limit: Duration,
) -> Result<String, HostError> {
    let gone = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => HostError::refused(format!(
            "there is no {program}. Install it with: apt install {}",
            package(program)
        )),
        _ => HostError::unavailable(format!("cannot run {program}: {e}")),
    };
    let mut child = Command::new(program)
        .args(arguments)
        // A service's PATH may lack the folders of system tools.
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(gone)?;
    let run = async {
        if let (Some(mut stdin), Some(text)) = (child.stdin.take(), input) {
            // If it ends early, its own error, read below, is more useful than the broken pipe.
            let _ = stdin.write_all(text.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let late = || format!("{program} did not end in {} s", limit.as_secs());
    let output = timeout(limit, run)
        .await
        .map_err(|_| HostError::unavailable(late()))?
        .map_err(|e| HostError::unavailable(format!("cannot run {program}: {e}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(HostError::refused(format!(
        "{program} {} failed: {}",
        arguments.join(" "),
        said.lines().next().unwrap_or("it said nothing")
    )))
}

/// The Debian package of a tool.
fn package(program: &str) -> &'static str {
    match program {
        "nft" => "nftables",
        "ss" => "iproute2",
        "iptables-save" => "iptables",
        "systemctl" => "systemd",
        _ => "util-linux",
    }
}
