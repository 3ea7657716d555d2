//! Wakes the reconcile loop: at the start, by events of the host, and by a periodic sweep for
//! changes without an event.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use startclaw_host::{Host, HostError, HostEvent, InventoryItem};
use startclaw_model::{InstanceState, Timestamp};
use startclaw_store::Store;
use startclaw_vault::Vault;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Engine, EngineError, EngineSettings, Inner, JobContext, JobService, NoJobs, NoopNotifier,
    Notifier, Supervisor, access, alerts, boot_limiter, live, progress, queue, reconcile, spec,
    usage,
};

/// The number of workers. They mostly wait for the host.
const WORKERS: usize = 32;
/// Interval of the removal of expired records.
const GC_INTERVAL: Duration = Duration::from_secs(3600);

/// The dependencies of the engine.
pub struct Dependencies {
    /// Where instances run.
    pub host: Arc<dyn Host>,
    /// Carries out backups, restores and restore tests.
    pub job_service: Arc<dyn JobService>,
    /// Receives notifications of alerts.
    pub notifier: Arc<dyn Notifier>,
}

impl Dependencies {
    /// A host without backups and notifications.
    pub fn simulated(host: impl Host) -> Self {
        Self {
            host: Arc::new(host),
            job_service: Arc::new(NoJobs),
            notifier: Arc::new(NoopNotifier),
        }
    }
}

impl Engine {
    /// Starts the engine: every instance is reconciled once, and then whenever something changes.
    pub async fn start(
        store: Store,
        vault: Vault,
        outside: Dependencies,
        settings: EngineSettings,
    ) -> Result<Self, EngineError> {
        let Dependencies { host, job_service, notifier } = outside;
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let boots = match settings.instances.boots {
            0 => cpus.max(2),
            set => set,
        };
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
                worker_states: reconcile::WorkerStates::default(),
                progress: progress::Progress::default(),
                started_at: Timestamp::now(),
                boot_limiter: boot_limiter::BootLimiter::new(boots),
                job_service,
                notifier,
                alerts: alerts::Alerts::default(),
                history: usage::History::default(),
                host_trouble: std::sync::Mutex::new(None),
                firewall_error: std::sync::Mutex::new(None),
                stop,
                tasks,
                calls: TaskTracker::new(),
            }),
        };
        for instance in engine.store().instances().await? {
            engine.inner.queue.push(&instance.id);
            let endpoints = match engine.inner.host.endpoints(instance.slot).await {
                Ok(Some(endpoints)) => endpoints,
                Ok(None) => return Err(EngineError::NoPlace(instance.name)),
                Err(e) => {
                    // The first pass asks again.
                    tracing::warn!(name = %instance.name, error = %e, "its address is not known yet");
                    continue;
                }
            };
            engine.inner.live.put(Arc::new(instance), endpoints, None);
        }
        engine.show_backups().await?;
        // Before any instance is started: none runs without its firewall rules.
        engine.clone().check_firewall().await;
        let tasks = &engine.inner.supervisor;
        for _ in 0..WORKERS {
            tasks.spawn("worker", engine.clone().work());
        }
        let timing = &engine.inner.settings.timing;
        tasks.spawn("host events", engine.clone().listen());
        tasks.spawn("access", engine.clone().keep_access());
        tasks.spawn("sweep", engine.clone().every(timing.sweep_every, Self::sweep));
        tasks.spawn("firewall", engine.clone().every(timing.firewall_every, Self::check_firewall));
        // Separate from the firewall check, which must not wait for a repair of the host.
        tasks.spawn("host check", engine.clone().every(timing.firewall_every, Self::check_host));
        tasks.spawn("garbage collection", engine.clone().every(GC_INTERVAL, Self::collect_garbage));
        tasks.spawn("alerts", engine.clone().send_alerts());
        tasks.spawn("usage", engine.clone().every(timing.usage_every, Self::sample_usage));
        engine.inner.job_service.start(&JobContext::new(&engine), tasks);
        Ok(engine)
    }

    /// Stops the engine: running steps are completed.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.calls.close();
        self.inner.calls.wait().await;
    }

    /// The background task that ended unexpectedly, if any; the engine stops then.
    pub fn ended(&self) -> Option<&'static str> {
        self.inner.supervisor.ended()
    }

    /// Returns when the engine stops: by [`Self::shutdown`], or because one of its tasks ended.
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

    /// Handles the events of the host.
    async fn listen(self) {
        let mut changes = self.inner.host.watch();
        loop {
            let change = tokio::select! {
                biased;
                () = self.inner.stop.cancelled() => return,
                change = changes.next() => change,
            };
            match change {
                Some(HostEvent::Instance(id)) => self.wake(&id),
                Some(HostEvent::Everything) => self.sweep_now().await,
                None => return,
            }
        }
    }

    /// Wakes the reconciliation of an instance.
    fn wake(&self, id: &startclaw_model::InstanceId) {
        if self.inner.live.by_id(id).is_some() {
            self.inner.queue.push(id);
        }
    }

    async fn sweep(self) {
        self.sweep_now().await;
    }

    /// Wakes the loop for open operations, and for instances that are missing in the live table.
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

    /// Shows which backups each instance has.
    pub(crate) async fn show_backups(&self) -> Result<(), EngineError> {
        let newest = self.store().newest_snapshots().await?;
        let verified = self.store().newest_verified().await?;
        let pauses = self.store().pauses().await?;
        for entry in self.inner.live.all() {
            let id = &entry.instance.id;
            self.inner.live.update(id, |entry| {
                entry.last_backup = newest.get(id).copied();
                entry.verified_backup = verified.get(id).copied();
                entry.last_pause = pauses.get(id).copied();
            });
        }
        Ok(())
    }

    /// Compares all instances with one inventory of the host, and wakes those that differ.
    async fn sweep_now(&self) {
        let begun = tokio::time::Instant::now();
        // First, and even if the host does not answer: requests are at least shown.
        if let Err(e) = self.wake_forgotten().await {
            tracing::error!(error = ?e, "the database failed; checking for open operations later");
        }
        if let Err(e) = self.show_backups().await {
            tracing::error!(error = ?e, "the database failed; showing backups later");
        }
        let found = match self.inner.host.inventory().await {
            Ok(found) => {
                self.note_host(None);
                found
            }
            Err(e) => {
                self.note_host(Some(e.message.clone()));
                tracing::warn!(error = %e, "cannot list instances on the host; retrying");
                return;
            }
        };
        let mut found: HashMap<_, InventoryItem> =
            found.into_iter().map(|f| (f.id.clone(), f)).collect();
        let mut states: HashMap<InstanceState, u32> = HashMap::new();
        for entry in self.inner.live.all() {
            let seen = found.remove(&entry.instance.id);
            *states.entry(entry.shown_state()).or_default() += 1;
            if entry.state == InstanceState::Live && !self.is_whole(&entry, seen.as_ref()) {
                self.wake(&entry.instance.id);
            }
        }
        for stray in found.into_values() {
            let context = JobContext::new(self);
            if !self.inner.job_service.remove_stray(&context, &stray).await {
                // Never removed: it may be the last copy of a user's data.
                tracing::debug!(id = %stray.id, name = stray.name, "on the host, but in no database");
            }
        }
        self.drop_replaced().await;
        self.measure(&states, begun.elapsed());
    }

    /// Drops replaced volumes whose retention has ended.
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
                    tracing::warn!(error = %e, "cannot check a replaced volume");
                }
                continue;
            }
            match self.store().amend(id, |desired| desired.volumes.expire(now)).await {
                Ok(_) => self.wake(id),
                Err(e) => tracing::warn!(error = %e, "cannot drop a replaced volume; retrying"),
            }
        }
    }

    fn is_whole(&self, entry: &live::Entry, seen: Option<&InventoryItem>) -> bool {
        let Some(seen) = seen else { return false };
        let wanted = spec::spec(&self.inner.settings, &entry.instance, &entry.endpoints).digest;
        seen.volume
            && seen.network
            && seen
                .container
                .as_ref()
                .is_some_and(|(digest, running)| *running && *digest == wanted)
    }

    fn measure(&self, states: &HashMap<InstanceState, u32>, took: Duration) {
        use InstanceState::{Failing, Live, Removing, Starting, Unknown};
        for state in [Unknown, Starting, Live, Failing, Removing] {
            let count = states.get(&state).copied().unwrap_or(0);
            metrics::gauge!("startclaw_instances", "state" => state.as_str()).set(f64::from(count));
        }
        for entry in self.inner.live.all() {
            let name = entry.instance.name.to_string();
            if let Some(at) = entry.last_backup {
                metrics::gauge!("startclaw_last_backup_timestamp_seconds", "name" => name.clone())
                    .set(seconds(at));
            }
            if let Some(verified) = entry.verified_backup {
                let gauge = "startclaw_verified_backup_timestamp_seconds";
                metrics::gauge!(gauge, "name" => name, "place" => verified.place.as_str())
                    .set(seconds(verified.taken_at));
            }
        }
        metrics::histogram!("startclaw_sweep_seconds").record(took.as_secs_f64());
        let backlog = u32::try_from(self.inner.queue.backlog()).unwrap_or(u32::MAX);
        metrics::gauge!("startclaw_queue").set(f64::from(backlog));
    }

    async fn check_firewall(self) {
        let error = match self.inner.host.admin().ensure_firewall().await {
            Ok(false) => None,
            Ok(true) => {
                metrics::counter!("startclaw_firewall_repairs_total").increment(1);
                tracing::warn!("firewall rules of instances repaired");
                None
            }
            Err(e) => Some(e.message),
        };
        let mut current = self.inner.firewall_error.lock().unwrap_or_else(PoisonError::into_inner);
        if error.is_some() && *current != error {
            tracing::error!(error = ?error, "cannot verify the firewall rules of instances; no instance is started without them");
        }
        if current.is_some() != error.is_some() {
            self.inner.alerts.wake();
        }
        *current = error;
    }

    /// Records whether the host answers. If it does not for some time, an alert fires.
    fn note_host(&self, error: Option<String>) {
        let mut noted = self.inner.host_trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let since = noted.as_ref().map_or_else(Timestamp::now, |(since, _)| *since);
        *noted = error.map(|why| (since, why));
    }

    /// The reason why no instance may be started: the firewall rules are not in place.
    pub(crate) fn firewall_error(&self) -> Option<HostError> {
        let current = self.inner.firewall_error.lock().unwrap_or_else(PoisonError::into_inner);
        current
            .as_ref()
            .map(|why| HostError::unavailable(format!("the firewall is not in place: {why}")))
    }

    async fn collect_garbage(self) {
        if let Err(e) =
            self.store().collect_garbage(Timestamp::now(), self.inner.settings.timing.history).await
        {
            tracing::warn!(error = %e, "cannot delete expired records");
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds are exact in an f64")]
fn seconds(at: Timestamp) -> f64 {
    at.as_millis() as f64 / 1000.0
}
