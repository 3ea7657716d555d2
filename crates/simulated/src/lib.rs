//! A host in memory with the same trait as Docker's, whose state tests can change.
//!
//! It keeps instances as plain values and boots them in a fixed time. With [`Faults`] it fails,
//! lags or hangs at any call, before or after the effect.

mod faults;
mod state;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::ControlFlow,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, stream, stream::BoxStream};
use startclaw_model::{Check, InstanceId, Slot, StepName, Timestamp};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

pub use faults::{Fault, Faults, Hang};
pub use state::{Behaviour, SimInstance, SimState};

use startclaw_host::{
    Convergence, Endpoints, Host, HostAdmin, HostError, HostEvent, HostFault, HostFaults,
    ImageState, InstanceSpec, InventoryItem, LogRequest, MachineUsage, Observed, Probe, Request,
    StepReporter, Target, Usage, VolumeMount,
    objects::{Step, next_step},
};

/// A host in memory. Clones share its state.
#[derive(Clone)]
pub struct SimulatedHost {
    shared: Arc<Shared>,
}

struct Shared {
    world: Mutex<SimState>,
    faults: Mutex<Faults>,
    calls: AtomicU64,
    changes: broadcast::Sender<HostEvent>,
    boot_time: Duration,
    capacity: u32,
    endpoints: Box<dyn Fn(Slot) -> Endpoints + Send + Sync>,
}

impl SimulatedHost {
    /// An empty host with `capacity` slots, on which a boot takes `boot_time`. Nothing listens on
    /// the addresses of its instances.
    pub fn new(capacity: u32, boot_time: Duration) -> Self {
        Self::listening(capacity, boot_time, endpoints)
    }

    /// A host whose instances have the addresses that `endpoints` returns.
    pub fn listening(
        capacity: u32,
        boot_time: Duration,
        endpoints: impl Fn(Slot) -> Endpoints + Send + Sync + 'static,
    ) -> Self {
        let (changes, _) = broadcast::channel(1024);
        Self {
            shared: Arc::new(Shared {
                world: Mutex::default(),
                faults: Mutex::default(),
                calls: AtomicU64::new(0),
                changes,
                boot_time,
                capacity,
                endpoints: Box::new(endpoints),
            }),
        }
    }

    /// Sets the injected faults.
    pub fn set_faults(&self, faults: Faults) {
        *self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// The state, to inspect or to change.
    pub fn state(&self) -> MutexGuard<'_, SimState> {
        self.shared.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a change to the engine, as Docker's events would.
    pub fn announce(&self, change: HostEvent) {
        // It is no error if there is no receiver.
        let _ = self.shared.changes.send(change);
    }

    /// How many calls were made so far.
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::SeqCst)
    }

    fn fault(&self, step: Option<&Step>) -> Fault {
        let call = self.shared.calls.fetch_add(1, Ordering::SeqCst);
        self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner).at(call, step)
    }

    /// A call about an instance: returns at once, or fails when it has hung for its time.
    async fn hang(&self, spec: &InstanceSpec, call: &'static str) -> Result<(), HostError> {
        let limit = self.state().begin(spec, call);
        let Some(limit) = limit else { return Ok(()) };
        tokio::time::sleep(limit).await;
        Err(HostError::unavailable(format!("simulated: {call} {} hangs", spec.name)))
    }

    /// Takes one step, whatever was observed.
    pub async fn apply(&self, spec: &InstanceSpec, step: &Step) -> Result<(), HostError> {
        self.hang(spec, step.name().as_str()).await?;
        let fault = self.fault(Some(step));
        fault.before().await?;
        self.state().apply(spec, step, Timestamp::now())?;
        fault.after().await
    }

    async fn seen(&self, spec: &InstanceSpec) -> Result<Observed, HostError> {
        let fault = self.fault(None);
        fault.before().await?;
        let seen = self.state().observe(spec, self.shared.boot_time, Timestamp::now());
        fault.after().await?;
        Ok(seen)
    }
}

/// Addresses on which nothing listens.
fn endpoints(slot: Slot) -> Endpoints {
    let [a, b] = u16::try_from(slot.0 % 60_000).unwrap_or(0).to_be_bytes();
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Endpoints {
        gateway: SocketAddr::new(local, u16::from_be_bytes([a, b]).saturating_add(1)),
        webhook: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, a, b)), 8787),
        proxy: IpAddr::V4(Ipv4Addr::new(10, 1, a, b)),
    }
}

#[async_trait]
impl Host for SimulatedHost {
    fn admin(&self) -> &dyn HostAdmin {
        self
    }

    async fn capacity(&self) -> Result<u32, HostError> {
        Ok(self.shared.capacity)
    }

    async fn endpoints(&self, slot: Slot) -> Result<Option<Endpoints>, HostError> {
        Ok((slot.0 < self.shared.capacity).then(|| (self.shared.endpoints)(slot)))
    }

    async fn observe(&self, spec: &InstanceSpec) -> Result<Observed, HostError> {
        self.hang(spec, "observe").await?;
        self.seen(spec).await
    }

    async fn converge(
        &self,
        spec: &InstanceSpec,
        target: Target,
        observed: &Observed,
        report: &mut dyn StepReporter,
    ) -> Result<Convergence, HostError> {
        let step = match next_step(spec, target, observed).step(observed) {
            ControlFlow::Continue(step) => step,
            ControlFlow::Break(outcome) => return outcome,
        };
        report.begin(step.name()).await;
        if step == Step::CreateContainer && self.state().missing_images.contains(&spec.image) {
            report.begin(StepName::Image).await;
            return Err(HostError::refused(format!("there is no image {}", spec.image)));
        }
        self.apply(spec, &step).await?;
        Ok(Convergence::Step(step.name()))
    }

    async fn probe(&self, spec: &InstanceSpec) -> Result<Probe, HostError> {
        Ok(self.seen(spec).await?.probe)
    }

    async fn volume_mount(&self, spec: &InstanceSpec) -> Result<Option<VolumeMount>, HostError> {
        let fault = self.fault(None);
        fault.before().await?;
        let there = self.state().instance(&spec.id).volumes.contains_key(&spec.volume);
        fault.after().await?;
        let root = PathBuf::from(format!("/simulated/{}/{}", spec.id, spec.volume));
        Ok(there.then_some(VolumeMount { root, uid: spec.slot.uid(200_000) }))
    }

    async fn renew_volume(&self, spec: &InstanceSpec) -> Result<VolumeMount, HostError> {
        for step in [Step::RemoveVolume, Step::CreateVolume] {
            self.apply(spec, &step).await?;
        }
        let mount = self.volume_mount(spec).await?;
        mount.ok_or_else(|| HostError::unavailable("simulated: the new volume was removed"))
    }

    async fn repair(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        self.hang(spec, StepName::Repair.as_str()).await?;
        let fault = self.fault(None);
        fault.before().await?;
        self.state().instance(&spec.id).repair()?;
        fault.after().await
    }

    async fn quarantine_config(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        let fault = self.fault(None);
        fault.before().await?;
        self.state().instance(&spec.id).quarantine_config(spec);
        fault.after().await
    }

    async fn unfreeze(&self, spec: &InstanceSpec) -> Result<bool, HostError> {
        let fault = self.fault(Some(&Step::ResumeContainer));
        fault.before().await?;
        let went_on = self.state().resume(&spec.id, Timestamp::now());
        fault.after().await?;
        Ok(went_on)
    }

    async fn call(&self, spec: &InstanceSpec, request: &Request) -> Result<Probe, HostError> {
        let probe = self.probe(spec).await?;
        Ok(match probe {
            Probe::Answer { .. } => Probe::Answer {
                status: 200,
                body: self.state().answer(&request.body).unwrap_or_else(|| {
                    r#"{"ok":true,"payload":{"status":"ready","suspensionId":"1"}}"#.to_owned()
                }),
            },
            other => other,
        })
    }

    async fn disconnect(&self, slot: Slot) -> Result<(), HostError> {
        let fault = self.fault(None);
        fault.before().await?;
        self.state().disconnected.push(slot);
        fault.after().await
    }

    async fn inventory(&self) -> Result<Vec<InventoryItem>, HostError> {
        let fault = self.fault(None);
        fault.before().await?;
        let found = self.state().inventory();
        fault.after().await?;
        Ok(found)
    }

    async fn logs(
        &self,
        id: &InstanceId,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<String, HostError>>, HostError> {
        let lines = self.state().log(id, request.tail);
        Ok(stream::iter(lines.into_iter().map(Ok)).boxed())
    }

    fn watch(&self) -> BoxStream<'static, HostEvent> {
        BroadcastStream::new(self.shared.changes.subscribe())
            .map(|change| change.unwrap_or(HostEvent::Everything))
            .chain(stream::pending())
            .boxed()
    }
}

#[async_trait]
impl HostAdmin for SimulatedHost {
    async fn image(&self, image: &str) -> Result<ImageState, HostError> {
        let fault = self.fault(None);
        fault.before().await?;
        let missing = self.state().missing_images.contains(image);
        fault.after().await?;
        Ok(if missing { ImageState::Unknown } else { ImageState::Here })
    }

    async fn ensure_firewall(&self) -> Result<bool, HostError> {
        Ok(false)
    }

    async fn diagnose(&self, image: &str) -> Vec<Check> {
        let hangs = self.state().fault();
        let mut checks = vec![Check::ok("host", format!("simulated, with the image {image}"))];
        checks.extend(hangs.map(|fault| Check::error("docker calls", fault.detail, fault.remedy)));
        checks
    }

    async fn faults(&self) -> HostFaults {
        let mut state = self.state();
        state.fault_checks += 1;
        let unknown = state.unknown_faults.clone();
        let known = |fault: &HostFault| !unknown.contains(&fault.key);
        HostFaults { found: state.fault().into_iter().filter(known).collect(), unknown }
    }

    async fn usage(&self) -> Result<Vec<(InstanceId, Usage)>, HostError> {
        // Not subject to faults: no decision depends on it.
        Ok(self.state().usage())
    }

    async fn machine(&self) -> Result<Option<MachineUsage>, HostError> {
        Ok(Some(self.state().machine))
    }
}
