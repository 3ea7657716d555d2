//! What keeps the loop going: the start, the host's changes, and a look at everything now and
//! then, for whatever nobody told us.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use startclaw_host::{Change, Found, Host, HostError};
use startclaw_model::{InstanceState, Timestamp};
use startclaw_store::Store;
use startclaw_vault::Vault;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Engine, EngineError, EngineSettings, Inner, Messenger, Nobody, Repositories,
    SimulatedRepositories, Supervisor, access, alerts, backup, boots, live, plan, progress, queue,
    reconcile, usage,
};

/// Instances that are worked on side by side. Most of their time they wait for the host.
const WORKERS: usize = 32;
/// How often what nobody needs any more is cleared away.
const TIDY_EVERY: Duration = Duration::from_secs(3600);

/// What the engine works with and that is not its own.
pub struct Outside {
    /// Where instances live.
    pub host: Arc<dyn Host>,
    /// Who works on backups.
    pub repositories: Arc<dyn Repositories>,
    /// Who is told of troubles.
    pub messenger: Arc<dyn Messenger>,
}

impl Outside {
    /// A host of which no backup leaves the memory, and nobody who is told of troubles.
    pub fn simulated(host: impl Host) -> Self {
        Self {
            host: Arc::new(host),
            repositories: Arc::new(SimulatedRepositories::default()),
            messenger: Arc::new(Nobody),
        }
    }
}

impl Engine {
    /// Starts the engine: every instance is looked at once, and then whenever there is reason to.
    pub async fn start(
        store: Store,
        vault: Vault,
        outside: Outside,
        settings: EngineSettings,
    ) -> Result<Self, EngineError> {
        let Outside { host, repositories, messenger } = outside;
        let places = backup::Places::new(&settings.backup).map_err(EngineError::inside)?;
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let boots = match settings.instances.boots {
            0 => cpus.max(2),
            set => set,
        };
        let side_by_side = settings.backup.side_by_side;
        let newest = store.newest_snapshots().await?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let engine = Self {
            inner: Arc::new(Inner {
                supervisor: Supervisor::new(tasks.clone(), stop.clone()),
                store,
                vault,
                host,
                settings,
                sessions: access::SessionCache::default(),
                grants: Arc::default(),
                live: live::Table::default(),
                queue: queue::Queue::default(),
                memories: reconcile::Memories::default(),
                progress: progress::Progress::default(),
                born: Timestamp::now(),
                boots: boots::Boots::new(boots),
                places,
                repositories,
                jobs: backup::Jobs::new(side_by_side),
                control_plane: backup::ControlPlane::default(),
                messenger,
                alerts: alerts::Alerts::default(),
                history: usage::History::default(),
                host_trouble: std::sync::Mutex::new(None),
                walls: std::sync::Mutex::new(None),
                stop,
                tasks,
                calls: TaskTracker::new(),
            }),
        };
        for instance in engine.store().instances().await? {
            let Some(place) = engine.inner.host.place(instance.slot) else {
                return Err(EngineError::NoPlace(instance.name));
            };
            let id = instance.id.clone();
            engine.inner.live.put(Arc::new(instance), place, None);
            engine.inner.live.update(&id, |entry| entry.last_backup = newest.get(&id).copied());
            engine.inner.queue.push(&id);
        }
        // Before anything is started: no instance runs without its walls.
        engine.clone().guard().await;
        let tasks = &engine.inner.supervisor;
        for _ in 0..WORKERS {
            tasks.spawn("worker", engine.clone().work());
        }
        let timing = &engine.inner.settings.timing;
        tasks.spawn("host events", engine.clone().listen());
        tasks.spawn("access", engine.clone().keep_access());
        tasks.spawn("sweep", engine.clone().every(timing.sweep_every, Self::sweep));
        tasks.spawn("firewall", engine.clone().every(timing.guard_every, Self::guard));
        // Apart from the firewall: a repair of the host takes longer than that can wait.
        tasks.spawn("host check", engine.clone().every(timing.guard_every, Self::check_host));
        tasks.spawn("garbage collection", engine.clone().every(TIDY_EVERY, Self::tidy));
        tasks.spawn("backup jobs", engine.clone().run_jobs());
        tasks.spawn("nightly backups", engine.clone().run_nightly());
        tasks.spawn("restore tests", engine.clone().run_drills());
        tasks.spawn("uploads", engine.clone().catch_up());
        tasks.spawn("control plane backup", engine.clone().keep_control_plane());
        tasks.spawn("archives", engine.clone().tidy_daily());
        tasks.spawn("alerts", engine.clone().tell_troubles());
        tasks.spawn("usage", engine.clone().every(timing.usage_every, Self::look_at_usage));
        Ok(engine)
    }

    /// Stops: what is under way is finished up to the end of its step.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.calls.close();
        self.inner.calls.wait().await;
    }

    /// The background task that ended although the engine was not told to stop, if one did; the engine stops then.
    pub fn ended(&self) -> Option<&'static str> {
        self.inner.supervisor.ended()
    }

    /// Returns when the engine stops: it was told to, or one of its tasks ended.
    pub async fn stopped(&self) {
        self.inner.stop.cancelled().await;
    }

    async fn every<F: Future<Output = ()>>(self, period: Duration, run: impl Fn(Self) -> F) {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.inner.stop.cancelled() => return,
                _ = ticks.tick() => run(self.clone()).await,
            }
        }
    }

    /// Follows the host's changes.
    async fn listen(self) {
        let mut changes = self.inner.host.changes();
        loop {
            let change = tokio::select! {
                biased;
                () = self.inner.stop.cancelled() => return,
                change = changes.next() => change,
            };
            match change {
                Some(Change::Instance(id)) => self.wake(&id),
                Some(Change::Everything) => self.sweep_now().await,
                None => return,
            }
        }
    }

    /// Has an instance looked at the long way.
    fn wake(&self, id: &startclaw_model::InstanceId) {
        if self.inner.live.by_id(id).is_some() {
            self.inner.queue.push(id);
        }
    }

    async fn sweep(self) {
        self.sweep_now().await;
    }

    /// Wakes what the database holds and nobody woke the loop for: open operations, and instances
    /// that the live table does not know.
    async fn wake_forgotten(&self) -> Result<(), EngineError> {
        let mut forgotten = self.store().instances_with_open_operations().await?;
        for id in self.store().instance_ids().await? {
            if self.inner.live.by_id(&id).is_none() {
                forgotten.push(id);
            }
        }
        for id in forgotten {
            self.inner.queue.push(&id);
        }
        Ok(())
    }

    /// Compares everything with one look at the whole host, and wakes who differs.
    async fn sweep_now(&self) {
        let begun = tokio::time::Instant::now();
        // First, and also while the host does not answer: requests are shown at least.
        if let Err(e) = self.wake_forgotten().await {
            tracing::error!(error = ?e, "the database failed; looking for open operations later");
        }
        let found = match self.inner.host.survey().await {
            Ok(found) => {
                self.note_host(None);
                found
            }
            Err(e) => {
                self.note_host(Some(e.message.clone()));
                tracing::warn!(error = %e, "the host cannot be surveyed; trying again");
                return;
            }
        };
        let mut found: HashMap<_, Found> = found.into_iter().map(|f| (f.id.clone(), f)).collect();
        let mut states: HashMap<InstanceState, u32> = HashMap::new();
        for entry in self.inner.live.all() {
            let seen = found.remove(&entry.instance.id);
            *states.entry(entry.shown_state()).or_default() += 1;
            if entry.state == InstanceState::Live && !self.is_whole(&entry, seen.as_ref()) {
                self.wake(&entry.instance.id);
            }
        }
        for stray in found.into_values() {
            if !self.clear_stray(&stray).await {
                // Never removed: it may be all that is left of somebody's data.
                tracing::debug!(id = %stray.id, name = stray.name, "on the host, but in no database");
            }
        }
        self.drop_replaced().await;
        self.measure(&states, begun.elapsed());
    }

    /// Lets go of volumes that a restore replaced and whose time is over.
    async fn drop_replaced(&self) {
        let now = Timestamp::now();
        for entry in self.inner.live.all() {
            let id = &entry.instance.id;
            let mut volumes = entry.instance.desired.volumes;
            if volumes.replaced.is_none() {
                continue;
            }
            if !volumes.expire(now) {
                if let Err(e) = self.check_replaced(id).await {
                    tracing::warn!(error = %e, "a replaced volume could not be looked at");
                }
                continue;
            }
            match self.store().amend(id, |desired| desired.volumes.expire(now)).await {
                Ok(_) => self.wake(id),
                Err(e) => tracing::warn!(error = %e, "a replaced volume stays for now"),
            }
        }
    }

    fn is_whole(&self, entry: &live::Entry, seen: Option<&Found>) -> bool {
        let Some(seen) = seen else { return false };
        let wanted = plan::plan(&self.inner.settings, &entry.instance, &entry.place).spec;
        seen.volume
            && seen.network
            && seen.container.as_ref().is_some_and(|(spec, running)| *running && *spec == wanted)
    }

    fn measure(&self, states: &HashMap<InstanceState, u32>, took: Duration) {
        use InstanceState::{Failing, Live, Removing, Starting, Unknown};
        for state in [Unknown, Starting, Live, Failing, Removing] {
            let count = states.get(&state).copied().unwrap_or(0);
            metrics::gauge!("startclaw_instances", "state" => state.as_str()).set(f64::from(count));
        }
        for entry in self.inner.live.all() {
            if let Some(at) = entry.last_backup {
                let name = entry.instance.name.to_string();
                #[expect(clippy::cast_precision_loss, reason = "milliseconds are exact in an f64")]
                let seconds = at.as_millis() as f64 / 1000.0;
                metrics::gauge!("startclaw_last_backup_timestamp_seconds", "name" => name)
                    .set(seconds);
            }
        }
        metrics::histogram!("startclaw_sweep_seconds").record(took.as_secs_f64());
        let backlog = u32::try_from(self.inner.queue.backlog()).unwrap_or(u32::MAX);
        metrics::gauge!("startclaw_queue").set(f64::from(backlog));
    }

    async fn guard(self) {
        let trouble = match self.inner.host.guard().await {
            Ok(false) => None,
            Ok(true) => {
                metrics::counter!("startclaw_walls_mended_total").increment(1);
                tracing::warn!("the firewall rules around instances were put in place");
                None
            }
            Err(e) => Some(e.message),
        };
        let mut walls = self.inner.walls.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.is_some() && *walls != trouble {
            tracing::error!(error = ?trouble, "the firewall rules around instances cannot be checked; nothing is started without them");
        }
        if walls.is_some() != trouble.is_some() {
            self.inner.alerts.wake();
        }
        *walls = trouble;
    }

    /// Notes whether the host can be asked. It becomes an alert when it lasts.
    fn note_host(&self, trouble: Option<String>) {
        let mut noted = self.inner.host_trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let since = noted.as_ref().map_or_else(Timestamp::now, |(since, _)| *since);
        *noted = trouble.map(|why| (since, why));
    }

    /// Why no instance may be started just now: its walls do not stand.
    pub(crate) fn no_walls(&self) -> Option<HostError> {
        let walls = self.inner.walls.lock().unwrap_or_else(PoisonError::into_inner);
        walls
            .as_ref()
            .map(|why| HostError::unavailable(format!("the firewall is not in place: {why}")))
    }

    async fn tidy(self) {
        if let Err(e) =
            self.store().tidy(Timestamp::now(), self.inner.settings.timing.history).await
        {
            tracing::warn!(error = %e, "old records could not be cleared away");
        }
    }
}
