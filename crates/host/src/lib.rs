//! A place where instances live: [`Host`] and its kinds.
//!
//! The engine decides; a host looks ([`Host::observe`]) and does single, idempotent steps
//! ([`Host::apply`]). What OpenClaw is, a host does not know: a [`Plan`] tells it all.

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
    /// Where the gateway's port is reached from this host.
    pub gateway: SocketAddr,
    /// Where the webhook's port is reached from this host.
    pub webhook: SocketAddr,
    /// The address from which the container sees our requests come.
    pub proxy: IpAddr,
}

/// Something changed outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostEvent {
    /// This instance's container, volume or network changed.
    Instance(InstanceId),
    /// Changes may have been missed: full sweep.
    Everything,
}

/// Where the data of an instance lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeMount {
    /// The root of its volume on this host.
    pub root: PathBuf,
    /// The user, and the group, whose everything in it is.
    pub uid: u32,
}

/// Something to ask of a running instance, as the platform itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    /// Headers besides the usual.
    pub headers: Vec<(String, String)>,
    /// The body, which is JSON.
    pub body: String,
    /// How many bytes of the answer are kept.
    pub answer_limit: usize,
}

/// Whether an instance can be made from an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageState {
    /// It is on the host.
    Here,
    /// It is not, and its name says where [`Step::FetchImage`] would look for it. Nobody has
    /// asked there.
    Fetchable,
    /// It is not, and there is nowhere to fetch it from.
    Unknown,
}

/// Which part of a log to read.
#[derive(Debug, Clone, Copy)]
pub struct LogRequest {
    /// The last so many lines to begin with.
    pub tail: usize,
    /// Go on with new lines as they come.
    pub follow: bool,
}

/// A place where instances live.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// How many slots there are.
    fn capacity(&self) -> u32;

    /// The addresses of `slot`; `None` beyond [`Host::capacity`].
    fn endpoints(&self, slot: Slot) -> Option<Endpoints>;

    /// What is there of one instance, asked again, its probe included.
    async fn observe(&self, plan: &Plan) -> Result<Observed, HostError>;

    /// Only asks the running container how it is; what a live instance gets every few seconds.
    async fn probe(&self, plan: &Plan) -> Result<Probe, HostError>;

    /// Where the data of the plan's volume lie; `None` when there is no such volume.
    async fn volume_mount(&self, plan: &Plan) -> Result<Option<VolumeMount>, HostError>;

    /// Lets a container go on that [`Step::PauseContainer`] froze. `false` when it went on
    /// before: then what was read of it meanwhile may not belong together.
    async fn resume(&self, plan: &Plan) -> Result<bool, HostError>;

    /// Asks something of the running instance; answers what [`Host::probe`] would.
    async fn call(&self, plan: &Plan, request: &Request) -> Result<Probe, HostError>;

    /// Ends what connections there are from this host to the gateway of `slot`: of those who
    /// may no longer be there, and of the others, who reconnect.
    async fn disconnect(&self, slot: Slot) -> Result<(), HostError>;

    /// Whether instances can be made from `image`; fetches nothing.
    async fn image(&self, image: &str) -> Result<ImageState, HostError>;

    /// Everything on this host that carries our marks, probes not included: also what
    /// belongs to no instance that the caller knows.
    async fn inventory(&self) -> Result<Vec<InventoryItem>, HostError>;

    /// Does one step. Doing it again, also after a crash half-way, does no harm.
    async fn apply(&self, plan: &Plan, step: &Step) -> Result<(), HostError>;

    /// The lines of an instance's log, oldest first, without their line ends; bytes that
    /// are no UTF-8 replaced. Ends at once when there is no container.
    async fn logs(
        &self,
        id: &InstanceId,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<String, HostError>>, HostError>;

    /// Changes as they happen. Never ends: it connects again on its own.
    fn watch(&self) -> BoxStream<'static, HostEvent>;

    /// Loads the firewall rules of instances if they are not in place. `true` when something was
    /// repaired.
    async fn ensure_firewall(&self) -> Result<bool, HostError>;

    /// Faults of the host that concern many instances, after a try to repair them. May take
    /// minutes, when the repair does.
    async fn faults(&self) -> Vec<HostFault> {
        Vec::new()
    }

    /// Checks what instances need of this host, the image `image` included.
    async fn diagnose(&self, image: &str) -> Vec<Check>;

    /// What each running instance uses, all at one look: also of those that the caller does not
    /// know. Nothing from a host that keeps no account of it.
    async fn usage(&self) -> Result<Vec<(InstanceId, Usage)>, HostError> {
        Ok(Vec::new())
    }

    /// What the host has and uses; `None` from a host that keeps no account of it.
    async fn machine(&self) -> Result<Option<MachineUsage>, HostError> {
        Ok(None)
    }
}
