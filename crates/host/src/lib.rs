//! Hosts, on which instances run: the trait [`Host`] and its implementations.
//!
//! The engine decides; a host observes ([`Host::observe`]) and applies single, idempotent steps
//! ([`Host::apply`]). A host knows nothing of OpenClaw: everything it needs is in the [`Plan`].

mod error;
mod fault;
mod observed;
mod plan;
mod step;
mod usage;

pub mod docker;
pub mod simulated;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use startclaw_model::{Check, InstanceId, Slot};

pub use error::{HostError, HostErrorKind};
pub use fault::HostFault;
pub use observed::{
    Container, ContainerState, Enforced, Exit, InventoryItem, Observed, Probe, excerpt,
};
pub use plan::{Plan, SecretFile, Workload};
pub use step::Step;
pub use usage::{Disk, MachineUsage, Usage};

/// The addresses that follow from a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoints {
    /// The address of the gateway's port, from this host.
    pub gateway: SocketAddr,
    /// The address of the webhook's port, from this host.
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

/// Availability of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageState {
    /// It is on the host.
    Here,
    /// It is not on the host, but its name contains a registry from which [`Step::FetchImage`]
    /// would pull it. The registry was not queried.
    Fetchable,
    /// It is not on the host, and its name contains no registry.
    Unknown,
}

/// Which part of a log to read.
#[derive(Debug, Clone, Copy)]
pub struct LogRequest {
    /// The number of last lines to begin with.
    pub tail: usize,
    /// Continue with new lines.
    pub follow: bool,
}

/// A host, on which instances run.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// The number of slots.
    fn capacity(&self) -> u32;

    /// The addresses of `slot`; `None` beyond [`Host::capacity`].
    fn endpoints(&self, slot: Slot) -> Option<Endpoints>;

    /// Observes one instance, including a probe. The result is never cached.
    async fn observe(&self, plan: &Plan) -> Result<Observed, HostError>;

    /// Only probes the running container; used for live instances every few seconds.
    async fn probe(&self, plan: &Plan) -> Result<Probe, HostError>;

    /// The location of the plan's volume; `None` when there is no such volume.
    async fn volume_mount(&self, plan: &Plan) -> Result<Option<VolumeMount>, HostError>;

    /// Unfreezes a container that [`Step::PauseContainer`] froze. `false` when it was unfrozen
    /// before: then data that was read meanwhile may be inconsistent.
    async fn resume(&self, plan: &Plan) -> Result<bool, HostError>;

    /// Sends a request to the running instance; returns its answer as [`Host::probe`] does.
    async fn call(&self, plan: &Plan, request: &Request) -> Result<Probe, HostError>;

    /// Closes all connections from this host to the gateway of `slot`, including those of
    /// authorized users, who reconnect.
    async fn disconnect(&self, slot: Slot) -> Result<(), HostError>;

    /// The availability of `image`; pulls nothing.
    async fn image(&self, image: &str) -> Result<ImageState, HostError>;

    /// Everything on this host that carries our labels, without probes; also objects of instances
    /// that the caller does not know.
    async fn inventory(&self) -> Result<Vec<InventoryItem>, HostError>;

    /// Applies one step. Steps are idempotent, also after a crash in between.
    async fn apply(&self, plan: &Plan, step: &Step) -> Result<(), HostError>;

    /// The lines of an instance's log, oldest first, without newlines; invalid UTF-8 is replaced.
    /// Ends at once when there is no container.
    async fn logs(
        &self,
        id: &InstanceId,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<String, HostError>>, HostError>;

    /// A stream of changes. It never ends: it reconnects automatically.
    fn watch(&self) -> BoxStream<'static, HostEvent>;

    /// Loads the firewall rules of instances if they are not in place. `true` when something was
    /// repaired.
    async fn ensure_firewall(&self) -> Result<bool, HostError>;

    /// Faults of the host that affect many instances, after an attempt to repair them, which may
    /// take minutes.
    async fn faults(&self) -> Vec<HostFault> {
        Vec::new()
    }

    /// Checks the requirements of instances on this host, including the image `image`.
    async fn diagnose(&self, image: &str) -> Vec<Check>;

    /// The usage of each running instance, also of those that the caller does not know. Empty if
    /// the host does not measure it.
    async fn usage(&self) -> Result<Vec<(InstanceId, Usage)>, HostError> {
        Ok(Vec::new())
    }

    /// The resources and usage of the host; `None` if it does not measure them.
    async fn machine(&self) -> Result<Option<MachineUsage>, HostError> {
        Ok(None)
    }
}
