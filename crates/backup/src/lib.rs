//! Snapshots of volumes: repositories, operations on them, and the worker process that runs them.
//!
//! A repository has restic's format, so that restic can read it. The work is done by `rustic_core`
//! in a separate process ([`run_worker`]), with limits and a watchdog, because it reads untrusted
//! files of tenants and possibly modified repositories, and may panic or hang. The daemon only
//! communicates with it ([`Workers`]).

mod bucket;
mod check;
mod checkpoints;
mod copy;
mod databases;
mod destination;
mod error;
mod folder;
mod forget;
mod frozen;
mod job;
mod key;
mod keys;
mod listing;
mod lock;
mod meta;
mod meter;
mod objects;
mod packs;
mod panics;
mod reader;
mod recorded;
mod repair;
mod repository;
mod restore;
mod root;
mod snapshot;
mod source;
mod spool;
mod take;
mod text;
mod unchanged;
mod work_list;
mod worker;

pub use destination::{Destination, DestinationError, Storage};
pub use error::{BackupError, BackupErrorKind};
pub use job::{
    Command, Event, Job, Progress, ReadData, Report, Repository, SnapshotInfo, Work, WorkerLimits,
};
pub use key::RepositoryKey;
pub use worker::{Running, Workers, run_worker};
