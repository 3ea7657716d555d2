//! What running instances and their machine use.

use std::time::Duration;

/// What a running instance uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Memory that it holds, in bytes, without the cached files that the kernel lets go of first.
    pub memory: u64,
    /// CPU time that it took since its container started, of all cores together.
    pub cpu: Duration,
}

/// A file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disk {
    /// Its size, in bytes.
    pub total: u64,
    /// What can still be written to it, in bytes.
    pub available: u64,
}

/// What a machine has, and what of it is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MachineUsage {
    /// Memory, in bytes.
    pub memory_total: u64,
    /// Memory that could be had without swapping, in bytes.
    pub memory_available: u64,
    /// CPUs.
    pub cpus: u32,
    /// For how long CPUs were busy since the host started, all of them together.
    pub cpu_busy: Duration,
    /// Where the daemon's data lie, if the host knows.
    pub data: Option<Disk>,
    /// Where the data of instances lie.
    pub instances: Option<Disk>,
}
