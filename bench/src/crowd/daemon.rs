//! The daemon's core in its own process, so that its memory can be measured: a database file, the
//! engine on a simulated host, and the management API at a Unix socket. It reads commands from
//! stdin, line by line, and answers each with a line of JSON.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use axum::Router;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use startclaw_api::{Access, Peer, Settings};
use startclaw_engine::{Engine, Timing};
use startclaw_model::InstanceState;
use startclaw_simulated::SimulatedHost;
use startclaw_testkit::{TestDaemon, TestPlatform, patient_settings};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::UnixListener,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// Boot time on the simulated host: negligible, because boots are not measured.
const BOOT: Duration = Duration::from_millis(1);
/// The same number of buckets as the real daemon.
const BUCKETS: [f64; 17] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 300.0,
];
/// The interval between two checks whether all are live.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

#[derive(clap::Args)]
pub struct Arguments {
    /// Folder of the database, the key and the socket.
    #[arg(long)]
    dir: PathBuf,
    /// Capacity of the host, in instances.
    #[arg(long)]
    capacity: u32,
}

/// What outlives the daemon.
struct Machine {
    dir: PathBuf,
    platform: TestPlatform,
    recorder: PrometheusHandle,
}

/// One run of a daemon with its API.
struct Running {
    daemon: TestDaemon,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)?
        .install_recorder()?;
    let host = SimulatedHost::new(arguments.capacity, BOOT);
    let mut platform = TestPlatform::at(&arguments.dir, host, patient_settings());
    platform.settings.timing = Timing::default();
    // Real boots are limited because they take CPU; these take none.
    platform.settings.instances.boots = arguments.capacity as usize;
    let machine = Machine { dir: arguments.dir, platform, recorder: recorder.clone() };
    tokio::spawn(async move {
        loop {
            sleep(Duration::from_secs(5)).await;
            recorder.run_upkeep();
        }
    });
    let mut life = machine.start().await?;
    say(&json!({ "ready": true }));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        match line.split_once(' ').unwrap_or((&line, "")) {
            // Wait until this number of instances is live.
            ("live", count) => all_live(&life.daemon.engine, count.parse()?).await,
            // Start a new daemon on the same database and host, and wait until all are live again.
            ("restart", count) => {
                life.end().await;
                let begun = Instant::now();
                life = machine.start().await?;
                let started = begun.elapsed();
                all_live(&life.daemon.engine, count.parse()?).await;
                say(&json!({ "started": started, "live": begun.elapsed() }));
                continue;
            }
            _ => anyhow::bail!("unknown word: {line}"),
        }
        say(&json!({}));
    }
    life.end().await;
    Ok(())
}

fn say(value: &serde_json::Value) {
    println!("{value}");
}

impl Machine {
    async fn start(&self) -> anyhow::Result<Running> {
        let daemon = self.platform.daemon().await;
        let stop = CancellationToken::new();
        let settings = Settings {
            metrics: Some(self.recorder.clone()),
            stop: stop.clone(),
            ..Settings::default()
        };
        let (engine, accounts) = (daemon.engine.clone(), daemon.accounts.clone());
        let router: Router = startclaw_api::router(engine, accounts, Access::Socket, settings);
        let socket = self.dir.join("socket");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).context("cannot listen")?;
        let service = router.into_make_service_with_connect_info::<Peer>();
        let ended = stop.clone().cancelled_owned();
        let serving = tokio::spawn(
            axum::serve(listener, service).with_graceful_shutdown(ended).into_future(),
        );
        Ok(Running { daemon, stop, serving })
    }
}

impl Running {
    async fn end(self) {
        self.stop.cancel();
        let store = self.daemon.store.clone();
        self.daemon.end().await;
        // It was stopped on purpose.
        let _ = self.serving.await;
        store.close().await;
    }
}

/// Waits until this number of instances is live. Each is checked only until it is.
pub async fn all_live(engine: &Engine, count: usize) {
    let mut waiting: Vec<String> = (0..count).map(super::name).collect();
    while let Some(name) = waiting.last() {
        if engine.route(name).is_some_and(|r| r.state == InstanceState::Live) {
            waiting.pop();
        } else {
            sleep(POLL_INTERVAL).await;
        }
    }
}
