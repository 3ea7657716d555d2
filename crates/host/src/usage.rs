//! Usage of running instances and of their host.

use std::time::Duration;

/// Usage of a running instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Memory in bytes, without inactive page cache, which the kernel reclaims first.
    pub memory: u64,
    /// CPU time since its container started, of all cores together.
    pub cpu: Duration,
}

/// A file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disk {
    /// Its size, in bytes.
    pub total: u64,
    /// Available space, in bytes.
    pub available: u64,
}

/// Resources of a host, and their usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MachineUsage {
    /// Memory, in bytes.
    pub memory_total: u64,
    /// Memory that is available without swapping, in bytes.
    pub memory_available: u64,
    /// CPUs.
    pub cpus: u32,
    /// Busy time of all CPUs together since the host started.
    pub cpu_busy: Duration,
    /// The file system of the daemon's data, if known.
    pub data: Option<Disk>,
    /// The file system of the instances' data.
    pub instances: Option<Disk>,
}
