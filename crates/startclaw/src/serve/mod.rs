//! The daemon: starts all parts, and stops them in order.

mod alerts;
mod certificates;
mod checks;
mod listen;
mod lock;
mod logging;
mod metrics;
mod peers;
mod systemd;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use axum::serve::ListenerExt as _;
use startclaw_accounts::Accounts;
use startclaw_api::{Access, Peer};
use startclaw_backup::Workers;
use startclaw_backups::BackupService;
use startclaw_docker::DockerHost;
use startclaw_engine::{Dependencies, Engine, EngineSettings, Supervisor, Timing};
use startclaw_store::Store;
use startclaw_vault::Vault;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use lock::Lock;

use crate::settings::Settings;

/// How long the shutdown waits for steps in progress. Stopping a container can take half a minute,
/// but Caddy holds requests for 10 s only; an unfinished step is repeated by the next start.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a worker may make no progress. A bucket's slowest response takes a minute, including
/// all retries.
pub const WORKER_STALL: Duration = Duration::from_secs(300);
/// How long responses in progress may take once no new requests are accepted.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the daemon until a stop signal.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    logging::begin(&settings.log)?;
    lift_file_limit();
    // First, so that no signal is missed.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let daemon = Daemon::start(settings, stop.clone()).await?;
    systemd::ready();
    tracing::info!("ready");
    tokio::select! {
        _ = terminate.recv() => tracing::info!("received a stop signal"),
        _ = interrupt.recv() => tracing::info!("interrupted"),
        () = stop.cancelled() => {}
        () = daemon.engine.stopped() => {}
    }
    systemd::stopping();
    let ended = daemon.ended();
    stop.cancel();
    daemon.end().await;
    // systemd restarts a daemon that failed.
    anyhow::ensure!(ended.is_none(), "the background task {ended:?} ended");
    Ok(())
}

struct Daemon {
    engine: Engine,
    store: Store,
    tasks: TaskTracker,
    supervisor: Supervisor,
    /// Closes the edge, which keeps responding while the engine stops.
    close: CancellationToken,
    /// Held until the end: one daemon per data folder.
    _lock: lock::Lock,
}

impl Daemon {
    async fn start(settings: Settings, stop: CancellationToken) -> anyhow::Result<Self> {
        let recorder = metrics::begin()?;
        let lock = lock::Lock::take(&settings.data_dir)?;
        listen::private_folder(&settings.runtime_dir, 0o755)?;
        let store = Store::open(&settings.database()).await?;
        let vault = Vault::load(&settings.master_key(), store.is_new().await?)?;
        let own = std::env::current_exe().context("cannot find the path of this program")?;
        let host = DockerHost::new(settings.docker.clone(), startclaw_openclaw::WEBHOOK_PORT)?
            .with_watchdog(own.clone())
            .with_data_dir(settings.data_dir.clone());
        let workers = Workers::new(own, vec!["backup-worker".into()], WORKER_STALL);
        let outside = Dependencies {
            host: Arc::new(host),
            job_service: Arc::new(BackupService::new(settings.backup.clone(), Arc::new(workers))?),
            notifier: alerts::notifier(&settings.backup.alert_webhook)?,
        };
        let acme = settings.edge.tls == startclaw_edge::Tls::Acme;
        let engine_settings = EngineSettings {
            domain: settings.edge.domain.clone(),
            port_suffix: settings.edge.port_suffix(),
            instances: startclaw_engine::InstanceSettings {
                // Caddy's own authority has no rate limits.
                names_per_account: if acme { settings.instances.names_per_account } else { 0 },
                names_per_week: if acme { settings.instances.names_per_week } else { 0 },
                ..settings.instances.clone()
            },
            quota: settings.accounts.quota,
            keep_replaced: settings.backup.keep_replaced(),
            timing: Timing { pause_limit: settings.backup.longest_pause(), ..Timing::default() },
        };
        let engine = Engine::start(store.clone(), vault, outside, engine_settings)
            .await
            .context("cannot start the engine")?;
        write_caddyfile(&settings);
        let site = settings.edge.site_origin();
        let accounts =
            Accounts::new(store.clone(), engine.clone(), settings.accounts.clone(), &site)
                .map_err(anyhow::Error::msg)
                .context("invalid account settings")?;

        let api = startclaw_api::Settings {
            limits: settings.instances.limits,
            time_zone: settings.backup.time_zone.clone(),
            metrics: Some(recorder.clone()),
            checks: Some(checks::all(&settings)),
            stop: stop.clone(),
        };
        let tasks = TaskTracker::new();
        let supervisor = Supervisor::new(tasks.clone(), stop.clone());
        supervisor
            .spawn("account deletion", accounts.clone().delete_pending_accounts(stop.clone()));
        let socket = listen::socket(&settings.socket()).await?;
        let (known, people) = (engine.clone(), accounts.clone());
        let admin = startclaw_api::router(known, people, Access::Socket, api.clone());
        let admin = startclaw_edge::drained(admin).into_make_service_with_connect_info::<Peer>();
        supervisor.spawn("socket", listen::serve("socket", socket, admin, stop.clone()));

        let address = settings.edge.listen;
        let loopback = tokio::net::TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen at {address} (edge.listen)"))?;
        let loopback = peers::Guarded::new(loopback, &settings.edge.caddy_user)
            .await
            .context("cannot guard edge.listen")?
            // Responses are small, and Caddy waits for each.
            .tap_io(|stream| {
                let _ = stream.set_nodelay(true);
            });
        let programs = startclaw_api::router(engine.clone(), accounts.clone(), Access::Bearer, api);
        let front =
            startclaw_portal::router(engine.clone(), accounts, portal(&settings, stop.clone()));
        let edge = startclaw_edge::router(engine.clone(), front, settings.edge.clone());
        let outside = startclaw_edge::with_api(edge, programs, &settings.edge)
            .into_make_service_with_connect_info::<std::net::SocketAddr>();
        let close = CancellationToken::new();
        supervisor.spawn("edge", listen::serve("edge", loopback, outside, close.clone()));

        supervisor.spawn("metrics", metrics::run(recorder, stop.clone()));
        let certificates = certificates::run(engine.clone(), settings.edge.clone(), stop.clone());
        supervisor.spawn("certificates", certificates);
        supervisor.spawn("watchdog", systemd::watchdog(engine.clone(), stop));
        tasks.close();
        let (socket, domain) = (settings.socket(), &settings.edge.domain);
        tracing::info!(socket = %socket.display(), edge = %address, domain, "listening");
        Ok(Self { engine, store, tasks, supervisor, close, _lock: lock })
    }

    /// The background task that ended unexpectedly.
    fn ended(&self) -> Option<&'static str> {
        self.engine.ended().or_else(|| self.supervisor.ended())
    }

    async fn end(self) {
        let steps = tokio::time::timeout(SHUTDOWN_TIMEOUT, self.engine.shutdown()).await;
        self.close.cancel();
        let answers = tokio::time::timeout(DRAIN_TIMEOUT, async {
            self.tasks.wait().await;
            self.store.close().await;
        })
        .await;
        if steps.is_ok() && answers.is_ok() {
            tracing::info!("stopped");
        } else {
            tracing::warn!("stopped without waiting any longer; the next start continues");
        }
    }
}

/// The settings of the portal.
fn portal(settings: &Settings, stop: CancellationToken) -> startclaw_portal::Settings {
    let allow = settings.docker.allow.iter().map(|to| (to.range.into(), to.port)).collect();
    startclaw_portal::Settings {
        domain: settings.edge.domain.clone(),
        site: settings.edge.site_origin(),
        backup: settings.backup.clone(),
        reach: startclaw_portal::Reach {
            telegram_api: settings.instances.telegram_api.clone(),
            allow,
        },
        stop,
    }
}

/// Raises the limit of open files to the maximum: each request of Caddy, probe and followed log
/// uses one, and the usual 1024 are not enough.
fn lift_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(e) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(error = %e, "cannot raise the limit of open files");
    }
}

/// Writes the Caddyfile. A failure is logged and does not stop the daemon, which still manages
/// instances.
fn write_caddyfile(settings: &Settings) {
    let file = &settings.caddyfile;
    if file.as_os_str().is_empty() {
        return;
    }
    match startclaw_edge::write_caddyfile(&settings.edge, file) {
        Ok(true) => {
            tracing::warn!(file = %file.display(), "Caddy's configuration changed: restart Caddy to apply it")
        }
        Ok(false) => {}
        Err(e) => tracing::error!(error = %e, "cannot write Caddy's configuration"),
    }
}
