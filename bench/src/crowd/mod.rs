//! Many simulated instances: latency of status requests, duration of a full sweep, and memory of
//! the daemon.

pub mod daemon;

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use rand::Rng;
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Instant, sleep},
};

use crate::{client, machine, samples::Samples};

/// Maximum number of concurrent provision requests.
const ASKERS: usize = 16;

/// The size of the measurement.
#[derive(Clone, Copy)]
pub struct Sizes {
    instances: usize,
    /// Requests for one instance, spread evenly over `spread`, which is longer than the time
    /// between two full sweeps, so that some requests coincide with one.
    one: u32,
    spread: Duration,
    /// Requests for all instances.
    all: u32,
}

impl Sizes {
    pub const FULL: Self =
        Self { instances: 10_000, one: 4_000, spread: Duration::from_secs(70), all: 100 };
    pub const QUICK: Self =
        Self { instances: 1_000, one: 500, spread: Duration::from_secs(5), all: 20 };
}

/// The results.
pub struct Crowd {
    pub instances: usize,
    pub provision: Duration,
    /// Time until the API accepts a provision (202).
    pub accept: Samples,
    pub start: Duration,
    pub sweep: Duration,
    pub one: Samples,
    pub burst: Samples,
    pub all: Samples,
    /// Bytes of a response with all instances.
    pub all_size: usize,
    /// CPU of the idle daemon, as a share of one core.
    pub idle_cpu: f64,
    pub memory_empty: u64,
    pub memory_provisioned: u64,
    pub memory_restarted: u64,
    pub memory_read: u64,
    pub memory_peak: u64,
    pub busy: f64,
}

/// The daemon's answer to a restart command.
#[derive(Deserialize)]
struct Restarted {
    started: Duration,
    live: Duration,
}

pub(crate) fn name(number: usize) -> String {
    format!("claw-{number:05}")
}

pub async fn measure(sizes: Sizes) -> anyhow::Result<Crowd> {
    let busy = machine::quiet().await?;
    let dir = tempfile::tempdir()?;
    let mut daemon = Daemon::start(dir.path(), sizes.instances).await?;
    let api = client::socket(&dir.path().join("socket"))?;
    let memory_empty = daemon.memory("VmRSS")?;

    let begun = Instant::now();
    let accept = provision_all(&api, sizes.instances).await?;
    daemon.tell(&format!("live {}", sizes.instances)).await?;
    let provision = begun.elapsed();
    eprintln!("{} provisioned in {provision:.1?}", sizes.instances);
    let memory_provisioned = daemon.memory("VmRSS")?;

    let restarted = daemon.tell(&format!("restart {}", sizes.instances)).await?;
    let restarted: Restarted = serde_json::from_value(restarted)?;
    eprintln!("all live again after {:.2?}", restarted.live);
    let memory_restarted = daemon.memory("VmRSS")?;

    let idle_cpu = daemon.cpu_share(sizes.spread / 2).await?;
    // A new connection: the daemon's restart closed the old one.
    let api = client::socket(&dir.path().join("socket"))?;
    let one = read_one(&api, &sizes, sizes.spread).await?;
    let burst = read_one(&api, &sizes, Duration::ZERO).await?;
    let (all, all_size) = read_all(&api, &sizes).await?;
    Ok(Crowd {
        instances: sizes.instances,
        provision,
        accept,
        start: restarted.started,
        sweep: restarted.live,
        one,
        burst,
        all,
        all_size,
        idle_cpu,
        memory_empty,
        memory_provisioned,
        memory_restarted,
        memory_read: daemon.memory("VmRSS")?,
        memory_peak: daemon.memory("VmHWM")?,
        busy,
    })
}

async fn provision_all(api: &Client, count: usize) -> anyhow::Result<Samples> {
    let times: Vec<Duration> = stream::iter(0..count)
        .map(|number| async move {
            let begun = Instant::now();
            let answer = api
                .post("http://localhost/provision")
                .json(&json!({ "name": name(number), "owner": "alice@example.com" }))
                .send()
                .await?;
            let status = answer.status();
            let body = answer.text().await?;
            anyhow::ensure!(status == 202, "{status}: {body}");
            anyhow::Ok(begun.elapsed())
        })
        .buffer_unordered(ASKERS)
        .try_collect()
        .await?;
    let mut samples = Samples::default();
    times.into_iter().for_each(|t| samples.push(t));
    Ok(samples)
}

/// Requests the status of random instances, sequentially on one connection.
async fn read_one(api: &Client, sizes: &Sizes, spread: Duration) -> anyhow::Result<Samples> {
    let mut samples = Samples::default();
    let begun = Instant::now();
    for number in 0..sizes.one {
        tokio::time::sleep_until(begun + spread * number / sizes.one).await;
        let name = name(rand::rng().random_range(0..sizes.instances));
        let asked = Instant::now();
        let body = get(api, &format!("status?name={name}")).await?;
        samples.push(asked.elapsed());
        let answer: Value = serde_json::from_slice(&body)?;
        let found = &answer["instances"][0];
        anyhow::ensure!(found["name"] == name && found["state"] == "live", "{answer}");
    }
    Ok(samples)
}

async fn read_all(api: &Client, sizes: &Sizes) -> anyhow::Result<(Samples, usize)> {
    let mut samples = Samples::default();
    let mut size = 0;
    for _ in 0..sizes.all {
        let asked = Instant::now();
        let body = get(api, "status").await?;
        samples.push(asked.elapsed());
        size = body.len();
    }
    let answer: Value = serde_json::from_slice(&get(api, "status").await?)?;
    let count = answer["instances"].as_array().map_or(0, Vec::len);
    anyhow::ensure!(count == sizes.instances, "{count} instances are listed");
    Ok((samples, size))
}

async fn get(api: &Client, path: &str) -> anyhow::Result<Vec<u8>> {
    let answer = api.get(format!("http://localhost/{path}")).send().await?;
    Ok(answer.error_for_status()?.bytes().await?.to_vec())
}

/// The process of `daemon.rs`; killed when dropped.
struct Daemon {
    process: Child,
    pid: u32,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Daemon {
    async fn start(dir: &Path, capacity: usize) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["crowd", "--capacity", &capacity.to_string(), "--dir"])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = process.stdin.take().context("no input")?;
        let output = BufReader::new(process.stdout.take().context("no output")?).lines();
        let pid = process.id().context("no process")?;
        let mut daemon = Self { process, pid, input, output };
        daemon.answer().await?;
        Ok(daemon)
    }

    async fn tell(&mut self, word: &str) -> anyhow::Result<Value> {
        self.input.write_all(format!("{word}\n").as_bytes()).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> anyhow::Result<Value> {
        match self.output.next_line().await? {
            Some(line) => Ok(serde_json::from_str(&line)?),
            None => anyhow::bail!("the daemon ended: {}", self.process.wait().await?),
        }
    }

    /// A field of the process's status, in bytes.
    fn memory(&self, field: &str) -> anyhow::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
        let kib: u64 = line
            .and_then(|l| l.trim().trim_end_matches(" kB").parse().ok())
            .with_context(|| format!("no {field}"))?;
        Ok(kib * 1024)
    }

    /// CPU of the process during this time, as a share of one core.
    async fn cpu_share(&self, time: Duration) -> anyhow::Result<f64> {
        let before = self.cpu()?;
        sleep(time).await;
        Ok((self.cpu()? - before) / time.as_secs_f64())
    }

    /// CPU seconds of the process so far.
    fn cpu(&self) -> anyhow::Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // After the name in parentheses, which may contain anything; the first field is the state.
        let (_, fields) = text.rsplit_once(") ").context("an odd /proc/PID/stat")?;
        let ticks: u32 =
            fields.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u32>().ok()).sum();
        // Linux reports it in hundredths of a second on every architecture.
        Ok(f64::from(ticks) / 100.0)
    }
}
