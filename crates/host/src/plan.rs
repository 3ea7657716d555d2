//! Everything a host needs to know to make one instance.

use std::time::Duration;

use startclaw_model::{InstanceId, Limits, Name, Secret, Slot};

/// One instance as it is to be made.
#[derive(Debug, Clone)]
pub struct Plan {
    pub id: InstanceId,
    /// Its name, which is part of the names of its container, volume and network.
    pub name: Name,
    /// Its place.
    pub slot: Slot,
    /// Which of its volumes it lives on: a restore goes into a new one.
    pub volume: u64,
    /// Whether it only shows that it comes up: then it has no network and no port, its container
    /// and volume bear names of their own, and it never gets more than its share of the CPU.
    pub isolated: bool,
    /// The image, with its tag.
    pub image: String,
    /// What it may use.
    pub limits: Limits,
    /// A digest of all that a container cannot change while it lives: a container with
    /// another one is replaced. It never contains a secret.
    pub spec: String,
    /// The revision of `secrets`.
    pub secrets_revision: u64,
    /// The files with secrets, held in memory only.
    pub secrets: Vec<SecretFile>,
    /// What runs inside, the same for all instances of a version.
    pub workload: Workload,
}

/// A secret as a file that the container can read.
#[derive(Debug, Clone)]
pub struct SecretFile {
    /// The file's name, without a folder.
    pub name: String,
    /// Its content.
    pub value: Secret,
}

/// What runs inside a container, and how to ask it how it is.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The command; the image's own when empty.
    pub command: Vec<String>,
    /// Environment variables; never a secret.
    pub env: Vec<(String, String)>,
    /// Where the volume is seen inside.
    pub volume_path: String,
    /// The configuration file's name in the volume.
    pub config_file: String,
    /// Where the secrets are seen inside.
    pub secrets_path: String,
    /// Folders in memory that it may write: path, size in MiB, and whether programs in it
    /// may run. They belong to the instance's uid, except `/tmp`, which is open to all.
    pub scratch: Vec<(String, u32, bool)>,
    /// The gateway's port inside.
    pub gateway_port: u16,
    /// The webhook's port inside.
    pub webhook_port: u16,
    /// The path that says whether it has started.
    pub probe_path: String,
    /// How long it may take to stop before it is killed.
    pub stop_grace: Duration,
    /// The command that repairs a damaged state, run once in a container of its own on the volume.
    pub repair_command: Vec<String>,
}
