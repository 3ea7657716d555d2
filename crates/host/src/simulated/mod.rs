//! A host in memory with the same trait as Docker's, whose state tests can change.
//!
//! It keeps instances as plain values and boots them in a fixed time. With [`Faults`] it fails,
//! lags or hangs at any call, before or after the effect.

mod faults;
mod state;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, stream, stream::BoxStream};
use startclaw_model::{Check, InstanceId, Slot, Timestamp};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

pub use faults::{Fault, Faults, Hang};
pub use state::{Behaviour, SimInstance, SimState};

use crate::{
    Endpoints, Host, HostError, HostEvent, HostFault, ImageState, InventoryItem, LogRequest,
    MachineUsage, Observed, Plan, Probe, Request, Step, Usage, VolumeMount,
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
}

impl SimulatedHost {
    /// An empty host with `capacity` slots, on which a boot takes `boot_time`.
    pub fn new(capacity: u32, boot_time: Duration) -> Self {
        let (changes, _) = broadcast::channel(1024);
        Self {
            shared: Arc::new(Shared {
                world: Mutex::default(),
                faults: Mutex::default(),
                calls: AtomicU64::new(0),
                changes,
                boot_time,
                capacity,
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
    async fn hang(&self, plan: &Plan, call: &'static str) -> Result<(), HostError> {
        let limit = self.state().begin(plan, call);
        let Some(limit) = limit else { return Ok(()) };
        tokio::time::sleep(limit).await;
        Err(HostError::unavailable(format!("simulated: {call} {} hangs", plan.name)))
    }

    async fn seen(&self, plan: &Plan) -> Result<Observed, HostError> {
        let fault = self.fault(None);
        fault.before().await?;
        let seen = self.state().observe(plan, self.shared.boot_time, Timestamp::now());
        fault.after().await?;
        Ok(seen)
    }
}

#[async_trait]
impl Host for SimulatedHost {
    fn capacity(&self) -> u32 {
        self.shared.capacity
    }

    fn endpoints(&self, slot: Slot) -> Option<Endpoints> {
        if slot.0 >= self.shared.capacity {
            return None;
        }
        let [a, b] = u16::try_from(slot.0 % 60_000).unwrap_or(0).to_be_bytes();
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Some(Endpoints {
            gateway: SocketAddr::new(local, u16::from_be_bytes([a, b]).saturating_add(1)),
            webhook: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, a, b)), 8787),
            proxy: IpAddr::V4(Ipv4Addr::new(10, 1, a, b)),
        })
    }

    async fn observe(&self, plan: &Plan) -> Result<Observed, HostError> {
        self.hang(plan, "observe").await?;
        self.seen(plan).await
    }

    async fn probe(&self, plan: &Plan) -> Result<Probe, HostError> {
        Ok(self.seen(plan).await?.probe)
    }

    async fn volume_mount(&self, plan: &Plan) -> Result<Option<VolumeMount>, HostError> {
        let fault = self.fault(None);
        fault.before().await?;
        let there = self.state().instance(&plan.id).volumes.contains_key(&plan.volume);
        fault.after().await?;
        let root = PathBuf::from(format!("/simulated/{}/{}", plan.id, plan.volume));
        Ok(there.then_some(VolumeMount { root, uid: plan.slot.uid(200_000) }))
    }

    async fn resume(&self, plan: &Plan) -> Result<bool, HostError> {
        let fault = self.fault(Some(&Step::ResumeContainer));
        fault.before().await?;
        let went_on = self.state().resume(&plan.id, Timestamp::now());
        fault.after().await?;
        Ok(went_on)
    }

    async fn call(&self, plan: &Plan, request: &Request) -> Result<Probe, HostError> {
        let probe = self.probe(plan).await?;
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

    async fn image(&self, image: &str) -> Result<ImageState, HostError> {
        let fault = self.fault(None);
        fault.before().await?;
        let missing = self.state().missing_images.contains(image);
        fault.after().await?;
        Ok(if missing { ImageState::Unknown } else { ImageState::Here })
    }

    async fn inventory(&self) -> Result<Vec<InventoryItem>, HostError> {
        let fault = self.fault(None);
        fault.before().await?;
        let found = self.state().inventory();
        fault.after().await?;
        Ok(found)
    }

    async fn apply(&self, plan: &Plan, step: &Step) -> Result<(), HostError> {
        self.hang(plan, step.name()).await?;
        let fault = self.fault(Some(step));
        fault.before().await?;
        self.state().apply(plan, step, Timestamp::now())?;
        fault.after().await
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

    async fn ensure_firewall(&self) -> Result<bool, HostError> {
        Ok(false)
    }

    async fn diagnose(&self, image: &str) -> Vec<Check> {
        let hangs = self.state().fault();
        let mut checks = vec![Check::ok("host", format!("simulated, with the image {image}"))];
        checks.extend(hangs.map(|fault| Check::error("docker calls", fault.detail, fault.remedy)));
        checks
    }

    async fn faults(&self) -> Vec<HostFault> {
        self.state().fault().into_iter().collect()
    }

    async fn usage(&self) -> Result<Vec<(InstanceId, Usage)>, HostError> {
        // Not subject to faults: no decision depends on it.
        Ok(self.state().usage())
    }

    async fn machine(&self) -> Result<Option<MachineUsage>, HostError> {
        Ok(Some(self.state().machine))
    }
}
