//! Observed state of instances.

use std::time::Duration;

use bytes::Bytes;
use startclaw_model::{InstanceId, Timestamp};

/// The observed state of one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Its volume exists, with our labels.
    pub volume: bool,
    /// The name of its volume, for messages.
    pub volume_name: String,
    /// Its volume exists and is empty. Checked only while no container runs.
    pub volume_empty: bool,
    /// Its volume exists and belongs to its user. Otherwise it is completed before the next start.
    pub volume_ready: bool,
    /// Its other existing volumes, by their generations.
    pub other_volumes: Vec<u64>,
    /// Whether the host could not list its other volumes: `other_volumes` is empty then.
    pub other_volumes_unknown: bool,
    /// Its network exists, as specified.
    pub network: bool,
    /// The revision of the secrets that are ready for the container; none when there are none,
    /// `u64::MAX` when they are incomplete (after a crash): write or remove them.
    pub secrets: Option<u64>,
    /// The configuration file in the volume. Read only while no container runs, because the
    /// instance may write it; otherwise, and when there is none, `None`. Also `None` when it is not
    /// a regular file of at most 1 MiB (a tenant can put a link, a folder or a FIFO there): writing
    /// it quarantines a large file or folder.
    pub config: Option<Bytes>,
    /// Its container.
    pub container: Option<Container>,
    /// The result of the probe.
    pub probe: Probe,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its state.
    pub state: ContainerState,
    /// The [`InstanceSpec::digest`](crate::InstanceSpec::digest) that it was created from.
    pub digest: String,
    /// Which of its limits are in force.
    pub enforced: Enforced,
    /// Whether a limit is another one than specified: somebody changed it while it runs.
    pub limits_changed: bool,
    /// CPU time since its start, of all cores together. Read only while the CPU limit is lifted;
    /// also `None` when it is unknown.
    pub cpu_used: Option<Duration>,
    /// The last start.
    pub started_at: Option<Timestamp>,
}

/// Which limits of a container are in force, from none to all. They are lifted for its boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Enforced {
    /// None: it boots.
    #[default]
    Nothing,
    /// The CPU limit: it used more than a boot needs, and has not booted.
    Cpu,
    /// The CPU limit and the soft memory limit: it has booted.
    All,
}

impl Container {
    /// Whether it has processes.
    pub fn is_alive(&self) -> bool {
        matches!(self.state, ContainerState::Running | ContainerState::Paused)
    }
}

/// State of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// Created, never started.
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    Exited(Exit),
}

/// The end of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code of its first process.
    pub code: i64,
    /// Whether the kernel killed it because of its memory limit.
    pub oom_killed: bool,
    pub at: Timestamp,
}

/// The result of a request to a running container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Probe {
    /// Not probed, because nothing runs.
    #[default]
    NotAsked,
    /// The connection was refused or closed: it does not listen.
    Refused,
    /// The connection was accepted, but it did not answer in time.
    Silent,
    /// It answers, but not at the address that the edge uses: a fault of the host's network and not
    /// of the instance.
    Blocked,
    /// It answered.
    Answer {
        status: u16,
        /// The body, at most 4 KiB of it.
        body: String,
    },
}

/// The objects of one instance on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryItem {
    /// The instance in their labels.
    pub id: InstanceId,
    /// The name in their labels, for messages.
    pub name: String,
    /// There is a volume.
    pub volume: bool,
    /// There is a network.
    pub network: bool,
    /// The [`InstanceSpec::digest`](crate::InstanceSpec::digest) of its container and whether that runs.
    pub container: Option<(String, bool)>,
}

/// The longest excerpt of a line of an instance's output that is stored or part of a message, in
/// characters.
const EXCERPT: usize = 500;

/// Truncates a line of an instance's output.
pub fn excerpt(mut line: String) -> String {
    if let Some((end, _)) = line.char_indices().nth(EXCERPT) {
        line.truncate(end);
        line.push('…');
    }
    line
}
