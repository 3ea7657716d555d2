//! Everything that a host needs to run an instance.

use std::time::Duration;

use bytes::Bytes;
use startclaw_model::{InstanceId, Limits, Name, Secret, Slot};

/// The spec of one instance.
#[derive(Debug, Clone)]
pub struct InstanceSpec {
    pub id: InstanceId,
    /// Its name: part of the names of its container, volume and network.
    pub name: Name,
    /// Its slot.
    pub slot: Slot,
    /// The generation of its volume: a restore uses a new one.
    pub volume: u64,
    /// Whether the volume holds data. Then it is never created: a volume that disappeared must not
    /// be replaced by an empty one.
    pub volume_holds_data: bool,
    /// The generations of its other volumes that are kept; the rest is removed as soon as the
    /// container does not use it.
    pub kept_volumes: Vec<u64>,
    /// Whether it is the instance of a restore test: it has no network and no port, its container
    /// and volume have names of their own, and its CPU limit is never lifted.
    pub isolated: bool,
    /// The image, with its tag.
    pub image: String,
    /// What it may use.
    pub limits: Limits,
    /// A digest of everything that cannot be changed in an existing container: a container with
    /// another digest is replaced. It does not depend on a secret.
    pub digest: String,
    /// The content of the configuration file to be written before the next start; `None` when it is
    /// up to date.
    pub config: Option<Bytes>,
    /// The revision of `secrets`.
    pub secrets_revision: u64,
    /// The files with secrets, kept in memory only. Needed only while the host has secrets of
    /// another revision.
    pub secrets: Vec<SecretFile>,
    /// What runs in the container, the same for all instances of a version.
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

/// What runs in a container, and how to probe it.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The command; the image's own when empty.
    pub command: Vec<String>,
    /// Environment variables; never a secret.
    pub env: Vec<(String, String)>,
    /// The host name in the container: the same for every instance, so that a volume that holds it
    /// can be restored as another instance.
    pub hostname: String,
    /// The path of the volume in the container.
    pub volume_path: String,
    /// The configuration file's name in the volume.
    pub config_file: String,
    /// The path of the secrets in the container.
    pub secrets_path: String,
    /// Writable folders in memory: path, size in MiB, and whether they may contain executables.
    /// They belong to the instance's uid, except `/tmp`, which is open to all.
    pub scratch: Vec<(String, u32, bool)>,
    /// The gateway's port in the container.
    pub gateway_port: u16,
    /// The webhook's port in the container.
    pub webhook_port: u16,
    /// The path of the startup probe.
    pub probe_path: String,
    /// How long it may take to stop before it is killed.
    pub stop_grace: Duration,
    /// The command that repairs a damaged state, run once in a separate container with the volume.
    pub repair_command: Vec<String>,
}
