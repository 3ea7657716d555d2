//! What a worker is asked, and what it says: one JSON object a line.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use startclaw_model::Timestamp;

use crate::{BackupError, RepositoryKey, Storage};

/// The snapshots of one instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Repository {
    /// Where it lies.
    pub storage: Storage,
    /// The folder in there; the instance's id.
    pub folder: String,
    /// The file on this machine whose holder alone may write to the repository.
    pub lock: PathBuf,
    /// What opens it.
    pub key: RepositoryKey,
}

/// What one worker does, from its start to its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The repository it works on; none for [`Work::CheckDatabases`], which opens what a tenant
    /// wrote and has no need of the place or key of a repository.
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
    /// Threads that compute, and CPUs that they are kept to.
    pub threads: usize,
}

/// What a worker does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Take a snapshot.
    Take {
        root: PathBuf,
        /// Whether somebody writes to the folder: then there are two passes, and before the second
        /// the worker says [`Event::Ready`] and waits for [`Command::Go`].
        live: bool,
        /// Names at the top of the folder that are left out.
        exclude: Vec<String>,
        /// Check the repository afterwards.
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
        /// Whose the files are to be, user and group.
        uid: u32,
    },
    /// Forget snapshots older than this, the newest never, and free what only they held.
    Forget {
        /// Days.
        keep_days: u32,
    },
    /// Remove the repository.
    Erase,
    /// Check that everything is there that snapshots need.
    Check {
        /// How much of the stored data is read for that.
        read: ReadData,
    },
    /// List the snapshots.
    List,
    /// Check every SQLite database in a folder that nobody else uses; the repository is not
    /// touched. What a crash of their writers left is repaired by that, as it is when they are
    /// opened.
    CheckDatabases {
        root: PathBuf,
        /// Whose the files are, user and group. The worker becomes that user first.
        uid: u32,
    },
}

/// How much of the stored data a check reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadData {
    /// None: names and sizes are compared.
    Nothing,
    /// One of so many parts, counted from 1; together they are all.
    Part {
        n: u32,
        /// Of how many.
        of: u32,
    },
    /// All.
    All,
}

/// What a worker says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// It works, and got so far.
    Progress(Progress),
    /// The first pass is over; the second waits for [`Command::Go`].
    Ready,
    /// Everything is read: the folder may change again. The snapshot counts after
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

/// What a worker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// The folder holds still: begin the second pass.
    Go,
    /// The folder held still until all was read: the snapshot counts.
    Commit,
    /// It did not: the snapshot does not count.
    Abort,
}

/// What came out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// A snapshot was taken.
    Taken(SnapshotInfo),
    /// These were copied.
    Copied(Vec<SnapshotInfo>),
    /// A snapshot was written.
    Restored {
        /// Files, folders and everything else in it.
        files: u64,
        /// Bytes.
        bytes: u64,
    },
    /// Snapshots were forgotten.
    Forgotten {
        /// The ids of those that are left.
        kept: Vec<String>,
        /// Bytes that were freed.
        freed_bytes: u64,
    },
    /// The repository is gone.
    Erased,
    /// Everything is there.
    Checked {
        /// Bytes of stored data that were read.
        read_bytes: u64,
    },
    /// The snapshots, newest first.
    Listed(Vec<SnapshotInfo>),
    /// The databases are good.
    DatabasesChecked {
        /// How many.
        good: u64,
        /// How many besides cannot be judged: their owner cannot read them, or they need a function
        /// that only their program has.
        unknown: u64,
    },
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// Its id, the same in every repository that it is copied to: 32 hexadecimal digits. In plain
    /// restic it is a tag.
    pub id: String,
    pub taken_at: Timestamp,
    /// Files in it.
    pub files: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// Bytes that had to be stored for it.
    pub added_bytes: u64,
}
