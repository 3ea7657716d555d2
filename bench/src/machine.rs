//! The host of the measurement, and its load by other processes.

use std::{fs, process::Command, time::Duration};

use anyhow::Context;
use startclaw_engine::InstanceSettings;
use tokio::time::{Instant, sleep};

/// The facts that a reader needs to judge the results.
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub system: String,
    pub kernel: String,
    pub docker: String,
    pub caddy: String,
    pub openclaw: String,
    pub commit: String,
    pub date: String,
}

impl Machine {
    /// Reads the facts of this host.
    pub fn look() -> anyhow::Result<Self> {
        let cpu = field("/proc/cpuinfo", "model name")?;
        let memory: u64 = field("/proc/meminfo", "MemTotal")?
            .trim_end_matches(" kB")
            .parse()
            .context("MemTotal is no number")?;
        let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let system = system.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
        let commit = said("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_default();
        let changed = said("git", &["status", "--porcelain", "--untracked-files=no"]);
        let changed = changed.is_ok_and(|c| !c.is_empty());
        Ok(Self {
            cpu,
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: (memory + (1 << 19)) >> 20,
            system: system.unwrap_or("unknown").trim_matches('"').to_owned(),
            kernel: said("uname", &["-r"])?,
            docker: said("docker", &["version", "--format", "{{.Server.Version}}"])?,
            caddy: said("caddy", &["version"])?
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .trim_start_matches('v')
                .to_owned(),
            openclaw: InstanceSettings::default().version,
            commit: if changed { format!("{commit} and changes") } else { commit },
            date: jiff::Zoned::now().strftime("%Y-%m-%d %H:%M %Z").to_string(),
        })
    }
}

/// The image of new instances, the same for all candidates.
pub fn image() -> String {
    let defaults = InstanceSettings::default();
    format!("{}:{}", defaults.image, defaults.version)
}

/// Runs a command and returns its output.
///
/// # Errors
/// If it fails, with its error output.
pub fn said(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    anyhow::ensure!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn field(file: &str, name: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    let line = text.lines().find(|l| l.starts_with(name));
    let value = line.and_then(|l| l.split_once(':')).map(|(_, v)| v.trim().to_owned());
    value.with_context(|| format!("{file} has no {name}"))
}

/// The host is considered quiet if less than this share of all cores is busy.
const QUIET: f64 = 0.08;
/// How long the share is measured.
const WATCH: Duration = Duration::from_secs(2);
/// How long a measurement waits for other processes to finish.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the host is quiet, up to a limit. Returns the last measured share of busy cores,
/// which is part of the results.
pub async fn quiet() -> anyhow::Result<f64> {
    let begun = Instant::now();
    loop {
        let (busy, all) = ticks()?;
        sleep(WATCH).await;
        let (busy_now, all_now) = ticks()?;
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = (busy_now - busy) as f64 / (all_now - all).max(1) as f64;
        if share < QUIET || begun.elapsed() >= PATIENCE {
            return Ok(share);
        }
    }
}

/// Ticks of all cores since boot: busy, and total.
fn ticks() -> anyhow::Result<(u64, u64)> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).take(8).filter_map(|t| t.parse().ok()).collect();
    let all = ticks.iter().sum();
    // The fourth is idle, the fifth waits for I/O.
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    Ok((all - idle, all))
}
