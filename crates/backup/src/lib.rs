//! Snapshots of volumes: repositories, what is done with them, and the process that does it.
//!
//! A repository has restic's format, so that plain restic reads it. The work is done by
//! `rustic_core` in a process of its own ([`run_worker`]), under limits and watched: it reads what
//! tenants wrote and what strangers may have changed, and may panic or hang. The daemon only talks
//! to it ([`Workers`]).

mod bucket;
mod check;
mod copy;
mod databases;
mod destination;
mod error;
mod folder;
mod forget;
mod job;
mod key;
mod lock;
mod meter;
mod objects;
mod repository;
mod restore;
mod snapshot;
mod source;
mod take;
mod worker;

pub use destination::{Destination, DestinationError, Storage};
pub use error::{BackupError, BackupErrorKind};
pub use job::{
    Command, Event, Job, Progress, ReadData, Report, Repository, SnapshotInfo, Work, WorkerLimits,
};
pub use key::RepositoryKey;
pub use worker::{Running, Workers, run_worker};
