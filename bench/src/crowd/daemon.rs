//! The daemon's core in its own process, so that its memory can be measured: a database file, the
//! engine on a simulated host, and the management API at a Unix socket. It reads commands from
//! stdin, line by line, and answers each with a line of JSON.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use axum::Router;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use startclaw_accounts::{AccountSettings, Accounts};
use startclaw_api::{Access, Peer, Settings};
use startclaw_engine::{Engine, EngineSettings, InstanceSettings, Timing};
use startclaw_model::InstanceState;
use startclaw_simulated::SimulatedHost;
use startclaw_store::Store;
use startclaw_vault::Vault;
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

/// The host: it outlives the daemon.
struct Machine {
    dir: PathBuf,
    capacity: u32,
    host: SimulatedHost,
    recorder: PrometheusHandle,
}

/// One run of a daemon.
struct TestDaemon {
    engine: Engine,
    store: Store,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)?
        .install_recorder()?;
    let machine = Machine {
        host: SimulatedHost::new(arguments.capacity, BOOT),
        dir: arguments.dir,
        capacity: arguments.capacity,
        recorder: recorder.clone(),
    };
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
            ("live", count) => all_live(&life.engine, count.parse()?).await,
            // Start a new daemon on the same database and host, and wait until all are live again.
            ("restart", count) => {
                life.end().await;
                let begun = Instant::now();
                life = machine.start().await?;
                let started = begun.elapsed();
                all_live(&life.engine, count.parse()?).await;
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
    async fn start(&self) -> anyhow::Result<TestDaemon> {
        let store = Store::open(&self.dir.join("startclaw.db")).await?;
        let vault = Vault::load(&self.dir.join("master.key"), true)?;
        let settings = EngineSettings {
            domain: "claws.test".into(),
            quota: startclaw_model::Quota::default(),
            backup: startclaw_engine::BackupSettings {
                nightly: false,
                folder: "/simulated".into(),
                ..Default::default()
            },
            port_suffix: String::new(),
            // Real boots are limited because they take CPU; these take none.
            instances: InstanceSettings {
                boots: self.capacity as usize,
                ..InstanceSettings::default()
            },
            timing: Timing::default(),
        };
        let engine = Engine::start(
            store.clone(),
            vault,
            startclaw_engine::Dependencies::simulated(self.host.clone()),
            settings,
        )
        .await?;
        let stop = CancellationToken::new();
        let settings = Settings {
            metrics: Some(self.recorder.clone()),
            stop: stop.clone(),
            ..Settings::default()
        };
        let accounts = Accounts::new(
            store.clone(),
            engine.clone(),
            AccountSettings::default(),
            "https://claws.test",
        )
        .map_err(anyhow::Error::msg)?;
        let router: Router =
            startclaw_api::router(engine.clone(), accounts, Access::Socket, settings);
        let socket = self.dir.join("socket");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).context("cannot listen")?;
        let service = router.into_make_service_with_connect_info::<Peer>();
        let ended = stop.clone().cancelled_owned();
        let serving = tokio::spawn(
            axum::serve(listener, service).with_graceful_shutdown(ended).into_future(),
        );
        Ok(TestDaemon { engine, store, stop, serving })
    }
}

impl TestDaemon {
    async fn end(self) {
        self.stop.cancel();
        self.engine.shutdown().await;
        // It was stopped on purpose.
        let _ = self.serving.await;
        self.store.close().await;
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
