//! Hosts, on which instances run: the traits [`Host`] and [`HostAdmin`] and their types.
//!
//! The engine keeps an instance's life cycle (failures, boots, deletion), and asks a host for one
//! of four targets ([`Host::converge`]). A host knows which objects that takes and in which order.
//! It knows nothing of OpenClaw: everything it needs is in the [`InstanceSpec`].

mod admin;
mod converge;
mod error;
mod fault;
pub mod objects;
mod observed;
mod spec;
mod usage;

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(any(test, feature = "conformance"))]
mod sample;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use startclaw_model::{InstanceId, Slot};

pub use admin::{HostAdmin, ImageState};
pub use converge::{Convergence, NoReport, StepReporter, Target};
pub use error::{HostError, HostErrorKind};
pub use fault::{HostFault, HostFaults};
pub use observed::{
    Container, ContainerState, Enforced, Exit, InventoryItem, Observed, Probe, excerpt,
};
#[cfg(any(test, feature = "conformance"))]
pub use sample::sample_spec;
pub use spec::{InstanceSpec, SecretFile, Workload};
pub use usage::{Disk, MachineUsage, Usage};

/// The addresses of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoints {
    /// The address of the gateway's port, from the edge.
    pub gateway: SocketAddr,
    /// The address of the webhook's port, from the edge.
    pub webhook: SocketAddr,
    /// The source address of our requests, as the container sees it.
    pub proxy: IpAddr,
}

/// A change on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostEvent {
    /// This instance's container, volume or network changed.
    Instance(InstanceId),
    /// Events may have been missed: run a full sweep.
    Everything,
}

/// The location of an instance's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeMount {
    /// The path of its volume on this host.
    pub root: PathBuf,
    /// The user and group id of all files in it.
    pub uid: u32,
}

/// A request of the platform to a running instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    /// Additional headers.
    pub headers: Vec<(String, String)>,
    /// The body, which is JSON.
    pub body: String,
    /// How many bytes of the answer are kept.
    pub answer_limit: usize,
}

/// Which part of a log to read.
#[derive(Debug, Clone, Copy)]
pub struct LogRequest {
    /// The number of last lines to begin with.
    pub tail: usize,
    /// Continue with new lines.
    pub follow: bool,
}

/// A host, on which instances run. What it must do is tested by [`conformance`](crate).
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// The administration of the host itself.
    fn admin(&self) -> &dyn HostAdmin;

    /// The number of slots.
    async fn capacity(&self) -> Result<u32, HostError>;

    /// The addresses of the instance in `slot`; `None` beyond [`Host::capacity`]. Also known of an
    /// instance that does not exist yet, because they are part of its configuration, and while the
    /// container runtime does not answer.
    async fn endpoints(&self, slot: Slot) -> Result<Option<Endpoints>, HostError>;

    /// Observes one instance, including a probe. The result is never cached.
    async fn observe(&self, spec: &InstanceSpec) -> Result<Observed, HostError>;

    /// Takes at most one step from the observed state towards the target. Every step is idempotent,
    /// also after a crash in between. The caller observes again, and converges until
    /// [`Convergence::Done`].
    ///
    /// `report` is called before the step begins.
    async fn converge(
        &self,
        spec: &InstanceSpec,
        target: Target,
        observed: &Observed,
        report: &mut dyn StepReporter,
    ) -> Result<Convergence, HostError>;

    /// Only probes the running container; used for live instances every few seconds.
    async fn probe(&self, spec: &InstanceSpec) -> Result<Probe, HostError>;

    /// Sends a request to the running instance; returns its answer as [`Host::probe`] does.
    async fn call(&self, spec: &InstanceSpec, request: &Request) -> Result<Probe, HostError>;

    /// Unfreezes a container that [`Target::Suspended`] froze. `false` when it was unfrozen before:
    /// then data that was read meanwhile may be inconsistent.
    async fn unfreeze(&self, spec: &InstanceSpec) -> Result<bool, HostError>;

    /// Runs the repair command on the volume; the container is stopped.
    async fn repair(&self, spec: &InstanceSpec) -> Result<(), HostError>;

    /// Renames the unreadable configuration file, so that it is kept and a new one can be written;
    /// the container is stopped.
    async fn quarantine_config(&self, spec: &InstanceSpec) -> Result<(), HostError>;

    /// The location of the spec's volume; `None` when there is no such volume.
    async fn volume_mount(&self, spec: &InstanceSpec) -> Result<Option<VolumeMount>, HostError>;

    /// Creates the spec's volume, empty, for a restore. One of the same generation, which an
    /// earlier attempt left, is removed first; no container uses it.
    async fn renew_volume(&self, spec: &InstanceSpec) -> Result<VolumeMount, HostError>;

    /// Closes all connections from this host to the gateway of `slot`, including those of
    /// authorized users, who reconnect.
    async fn disconnect(&self, slot: Slot) -> Result<(), HostError>;

    /// Everything on this host that carries our labels, without probes; also objects of instances
    /// that the caller does not know.
    async fn inventory(&self) -> Result<Vec<InventoryItem>, HostError>;

    /// The lines of an instance's log, oldest first, without newlines; invalid UTF-8 is replaced.
    /// Ends at once when there is no container.
    async fn logs(
        &self,
        id: &InstanceId,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<String, HostError>>, HostError>;

    /// A stream of changes. It never ends: it reconnects automatically.
    fn watch(&self) -> BoxStream<'static, HostEvent>;
}
