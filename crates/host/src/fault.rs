//! Faults of a host, which are not caused by a single instance.

/// A fault that affects many or all instances. It does not count as a failure of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFault {
    /// The kind of fault, which is the key of its alert.
    pub key: &'static str,
    /// What is wrong, and since when if known.
    pub detail: String,
    /// What to do.
    pub remedy: String,
}

/// The result of a look for faults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostFaults {
    /// The faults that were found.
    pub found: Vec<HostFault>,
    /// The keys of faults that could not be looked for: whether they last is unknown.
    pub unknown: Vec<&'static str>,
}

impl HostFault {
    /// The key of a fault of the container runtime itself: it hangs, for example.
    pub const DOCKER: &'static str = "docker";
    /// The key of a fault of the host's network: missing rules or settings.
    pub const NETWORK: &'static str = "docker-network";
    /// All keys.
    pub const KEYS: [&'static str; 2] = [Self::DOCKER, Self::NETWORK];
}
