//! The administration of a host: what concerns the machine and not one instance.

use async_trait::async_trait;
use startclaw_model::{Check, InstanceId};

use crate::{HostError, HostFaults, MachineUsage, Usage};

/// Availability of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageState {
    /// It is on the host.
    Here,
    /// It is not on the host, but its name contains a registry, from which it would be pulled. The
    /// registry was not queried.
    Fetchable,
    /// It is not on the host, and its name contains no registry.
    Unknown,
}

/// The administration of a host.
#[async_trait]
pub trait HostAdmin: Send + Sync + 'static {
    /// Loads the firewall rules of instances if they are not in place. `true` when something was
    /// repaired.
    async fn ensure_firewall(&self) -> Result<bool, HostError>;

    /// Faults of the host that affect many instances, after an attempt to repair them, which may
    /// take minutes.
    async fn faults(&self) -> HostFaults;

    /// Checks the requirements of instances on this host, including the image `image`.
    async fn diagnose(&self, image: &str) -> Vec<Check>;

    /// The availability of `image`; pulls nothing.
    async fn image(&self, image: &str) -> Result<ImageState, HostError>;

    /// The usage of each running instance, also of those that the caller does not know. Empty if
    /// the host does not measure it.
    async fn usage(&self) -> Result<Vec<(InstanceId, Usage)>, HostError>;

    /// The resources and usage of the host; `None` if it does not measure them.
    async fn machine(&self) -> Result<Option<MachineUsage>, HostError>;
}
