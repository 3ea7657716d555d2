//! The protocol between daemon and worker: one JSON object per line.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use startclaw_model::Timestamp;

use crate::{BackupError, RepositoryKey, Storage};

/// The snapshots of one instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Repository {
    /// Where it is stored.
    pub storage: Storage,
    /// Its folder there: the instance's id.
    pub folder: String,
    /// The lock file on this host: only its holder may write to the repository.
    pub lock: PathBuf,
    /// What opens it.
    pub key: RepositoryKey,
    /// The identity of the destination, if it is known. The worker verifies it before it does
    /// anything else: an unmounted folder must not be taken for an empty destination.
    #[serde(default)]
    pub destination_id: Option<String>,
}

/// What one worker does, from its start to its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The repository it works on; none for [`Work::CheckDatabases`], which opens files of a tenant
    /// and must not know the location or key of a repository.
    pub repository: Option<Repository>,
    /// What it may use.
    pub limits: WorkerLimits,
    /// What it does.
    pub work: Work,
}

/// What a worker may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerLimits {
    /// Memory of its own, in MiB.
    pub memory_mib: u64,
    /// Compute threads, and CPUs that they are pinned to.
    pub threads: usize,
}

/// What a worker does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Take a snapshot.
    Take {
        root: PathBuf,
        /// Whether the folder is in use: then there are two passes, and before the second one the
        /// worker sends [`Event::Ready`] and waits for [`Command::Go`].
        live: bool,
        /// Names at the top of the folder to leave out.
        exclude: Vec<String>,
        /// Check that all data of the snapshot is there before it becomes valid.
        check: bool,
    },
    /// Copy the snapshots that another repository does not have yet, oldest first.
    Copy {
        /// The other repository.
        to: Repository,
    },
    /// Write a snapshot into an empty folder.
    Restore {
        /// The snapshot's id, or `latest`.
        snapshot: String,
        root: PathBuf,
        /// User and group id of the restored files.
        uid: u32,
    },
    /// Delete these snapshots, and free the data that no snapshot uses, which unfinished runs may
    /// have left as well.
    Forget {
        /// Their ids, or names of damaged snapshot files. Those that do not exist are ignored.
        snapshots: Vec<String>,
    },
    /// Repair the repository with the content of another one that has the same snapshots, or some
    /// of them. Nothing that is readable is lost by it.
    Repair {
        /// The other repository.
        from: Repository,
    },
    /// Remove the repository.
    Erase,
    /// Check that all data of the snapshots is there.
    Check {
        /// How much of the stored data to read.
        read: ReadData,
    },
    /// List the snapshots.
    List,
    /// Read the identity of the destination.
    Identify {
        /// The identity to give to a destination that has none.
        create: Option<String>,
    },
    /// Write, list, read and delete a small object at the root of the destination.
    Probe,
    /// Check every SQLite database in a folder that is not in use; the repository is not touched.
    /// This also recovers databases after a crash of their writers, as opening them does.
    CheckDatabases {
        root: PathBuf,
        /// User and group id of the files. The worker switches to that user first.
        uid: u32,
    },
}

/// How much of the stored data a check reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadData {
    /// None: names and sizes are compared.
    Nothing,
    /// Part `n` of `of` parts, counted from 1; together they are all data.
    Part { n: u32, of: u32 },
    /// All.
    All,
}

/// A message of a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// Its progress.
    Progress(Progress),
    /// The first pass is over; the second waits for [`Command::Go`].
    Ready,
    /// Everything is read: the folder may change again. The snapshot becomes valid by
    /// [`Command::Commit`].
    Read,
    /// It is done.
    Done(Report),
}

/// A line of a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Line {
    Event(Event),
    Failed(BackupError),
}

/// How far a worker got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Files done.
    pub files: u64,
    /// Bytes done.
    pub bytes: u64,
    /// Files to do, where that is known.
    pub total_files: Option<u64>,
    /// Bytes to do, where that is known.
    pub total_bytes: Option<u64>,
}

/// A message to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// The folder is frozen: begin the second pass.
    Go,
    /// The folder was frozen until everything was read: the snapshot is valid.
    Commit,
    /// It was not: discard the snapshot.
    Abort,
}

/// The result of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// A snapshot was taken.
    Taken(SnapshotInfo),
    /// Snapshots were copied.
    Copied {
        /// Those that were copied.
        copied: Vec<SnapshotInfo>,
        /// Ids of those that cannot be copied because stored data are missing or damaged, and why.
        failed: Vec<(String, String)>,
    },
    /// A snapshot was written.
    Restored {
        /// Files, folders and everything else in it.
        files: u64,
        /// Bytes.
        bytes: u64,
    },
    /// Snapshots were deleted.
    Forgotten {
        /// Freed bytes.
        freed_bytes: u64,
    },
    /// The repository was repaired, as far as possible.
    Repaired {
        /// What was brought back.
        repaired: Vec<String>,
        /// What was not.
        lost: Vec<String>,
    },
    /// The repository is gone.
    Erased,
    /// All data is there.
    Checked {
        /// Bytes of stored data that were read.
        read_bytes: u64,
    },
    /// The snapshots.
    Listed {
        /// Newest first.
        snapshots: Vec<SnapshotInfo>,
        /// Names of snapshot files that cannot be read.
        damaged: Vec<String>,
    },
    /// The identity of the destination was read.
    Identified {
        /// `None` when it has none.
        id: Option<String>,
        /// Whether repositories of StartClaw are there.
        has_repositories: bool,
    },
    /// The destination can be written to and read.
    Probed {
        /// The clock of the bucket's provider.
        server_time: Option<Timestamp>,
    },
    /// The databases are intact.
    DatabasesChecked {
        /// How many.
        good: u64,
        /// How many others cannot be checked: their owner cannot read them, or they need a function
        /// that only their program has.
        unknown: u64,
    },
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// Its id, the same in every repository that it is copied to: 32 hexadecimal digits. restic
    /// shows it as a tag.
    pub id: String,
    pub taken_at: Timestamp,
    /// Its number, which grows by one with each snapshot of the repository. Older versions gave
    /// none.
    #[serde(default)]
    pub sequence: Option<u64>,
    /// Files in it.
    pub files: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// Bytes that had to be stored for it.
    pub added_bytes: u64,
}
