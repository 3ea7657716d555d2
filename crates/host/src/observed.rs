//! What a host says is there.

use std::time::Duration;

use bytes::Bytes;
use startclaw_model::{InstanceId, Timestamp};

/// What is there of one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Its volume exists, with our marks.
    pub volume: bool,
    /// The name of its volume, for people.
    pub volume_name: String,
    /// Its volume exists and nothing at all is in it. Looked at only while no container runs.
    pub volume_empty: bool,
    /// Its volume can be used: it is there and its user's. Otherwise it is made to the end by
    /// [`Step::CreateVolume`](crate::Step::CreateVolume), which a running container does not
    /// notice.
    pub volume_ready: bool,
    /// The others of its volumes that exist, by their generations.
    pub other_volumes: Vec<u64>,
    /// Whether the host did not say just now which others exist: `other_volumes` is empty then.
    pub other_volumes_unknown: bool,
    /// Its network exists, as planned.
    pub network: bool,
    /// The revision of the secrets that lie ready for the container; none when there are none,
    /// `u64::MAX` when what lies there is incomplete (a crash came between): write or remove it.
    pub secrets: Option<u64>,
    /// The configuration file in the volume. Read only while no container runs, so that
    /// nobody writes it at the same time; otherwise, and when there is none, `None`. Also
    /// `None` when what bears its name is no plain file of at most 1 MiB (a tenant can put a
    /// link, a folder or a FIFO there): writing it again keeps a large file or folder aside.
    pub config: Option<Bytes>,
    /// Its container.
    pub container: Option<Container>,
    /// What the running container answered.
    pub probe: Probe,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// What it does.
    pub state: ContainerState,
    /// The [`Plan::spec`](crate::Plan::spec) it was made from.
    pub spec: String,
    /// Which of its limits are in force.
    pub enforced: Enforced,
    /// CPU time that it used since it was started, of all cores together. Read only while the CPU
    /// limit is lifted; `None` also when the host cannot say.
    pub cpu_used: Option<Duration>,
    /// When it was started last.
    pub started_at: Option<Timestamp>,
}

/// Which limits of a container are in force. They are lifted for its boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Enforced {
    /// None: it boots.
    #[default]
    Nothing,
    /// The CPU limit: it used more than a boot needs, and has not booted.
    Cpu,
    /// The CPU limit and the soft memory limit: it has booted.
    All,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Ended.
    Exited(Exit),
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code of its first process.
    pub code: i64,
    /// Whether the kernel ended it for memory.
    pub oom_killed: bool,
    pub at: Timestamp,
}

/// What a request to the running container gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Probe {
    /// Not asked, because nothing runs.
    #[default]
    NotAsked,
    /// The connection was refused or closed: it does not listen yet, or no more.
    Refused,
    /// It took the connection and said nothing in time.
    Silent,
    /// It answers, but not at the address that the edge uses: the network of the host is at
    /// fault and not the instance.
    Blocked,
    /// It answered.
    Answer {
        status: u16,
        /// The body, at most 4 KiB of it.
        body: String,
    },
}

/// Something on the host that carries our marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryItem {
    /// The instance it is marked with.
    pub id: InstanceId,
    /// The name it is marked with; for people.
    pub name: String,
    /// There is a volume.
    pub volume: bool,
    /// There is a network.
    pub network: bool,
    /// The [`Plan::spec`](crate::Plan::spec) of its container and whether that runs.
    pub container: Option<(String, bool)>,
}

/// The longest line of an instance's output that is stored or made part of a message, in
/// characters. A line itself can be as long as its log lets it be.
const EXCERPT: usize = 500;

/// As much of a line of an instance's output as is stored.
pub fn excerpt(mut line: String) -> String {
    if let Some((end, _)) = line.char_indices().nth(EXCERPT) {
        line.truncate(end);
        line.push('…');
    }
    line
}
