//! Faults of a host that no single instance is to blame for.

/// A fault that concerns many instances, or all. It counts for no instance as a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFault {
    /// What kind of fault; the key of its alert.
    pub key: &'static str,
    /// What is wrong, and since when if that is known.
    pub detail: String,
    /// What to do.
    pub remedy: String,
}

impl HostFault {
    /// The key of a fault of the container runtime itself: it hangs, for example.
    pub const DOCKER: &'static str = "docker";
    /// The key of missing rules or settings of the host's network.
    pub const NETWORK: &'static str = "docker-network";
    /// Every key there is.
    pub const KEYS: [&'static str; 2] = [Self::DOCKER, Self::NETWORK];
}
