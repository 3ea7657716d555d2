//! Backups: schedule, freeze, upload, restore, restore tests, recovery. This is the service that
//! carries out the jobs which the engine stores. Repositories are the concern of
//! `startclaw-backup`, whose workers do the work.

#![warn(missing_docs)]

mod alerts;
mod archives;
mod attempts;
mod bucket;
mod check;
mod clock;
mod control_plane;
mod destination;
mod drill;
mod held;
mod jobs;
mod layout;
mod maintenance;
mod nightly;
mod nightly_again;
mod pre_delete;
mod quiesce;
mod recover;
mod repair;
mod restore;
mod restore_test;
mod retention;
mod service;
mod settings;
mod simulated;
mod space;
mod take;
mod upload;
mod verified;

use async_trait::async_trait;
use startclaw_backup::{BackupError, BackupErrorKind, Command, Event, Job, Report, Workers};
use startclaw_model::StepProgress;

pub use control_plane::DATABASE;
pub use recover::{Recovered, RecoveredDatabase, Recovery};
pub use service::BackupService;
pub use settings::{BackupSettings, TimeOfDay, TimeOfDayError};
pub use simulated::{Contents, SimulatedRepositories};

pub(crate) use layout::RepositoryLayout;
pub(crate) use service::Backups;

/// Runs jobs on repositories: worker processes, or a simulation.
#[async_trait]
pub trait Repositories: Send + Sync + 'static {
    /// Begins a job.
    async fn begin(&self, job: &Job) -> Result<Box<dyn Session>, BackupError>;
}

/// A running job. Dropping it ends it; a snapshot that was not committed is not valid then.
#[async_trait]
pub trait Session: Send {
    /// Waits for the next event.
    async fn next(&mut self) -> Result<Event, BackupError>;
    /// Sends a command.
    async fn send(&mut self, command: Command) -> Result<(), BackupError>;
}

#[async_trait]
impl Repositories for Workers {
    async fn begin(&self, job: &Job) -> Result<Box<dyn Session>, BackupError> {
        Ok(Box::new(self.start(job).await?))
    }
}

#[async_trait]
impl Session for startclaw_backup::Running {
    async fn next(&mut self) -> Result<Event, BackupError> {
        Self::next(self).await
    }

    async fn send(&mut self, command: Command) -> Result<(), BackupError> {
        Self::send(self, command).await
    }
}

/// The error for an event that violates the protocol.
fn unexpected(event: &Event) -> BackupError {
    BackupError {
        kind: BackupErrorKind::Died,
        message: format!("a defect in StartClaw: the worker sent an unexpected {event:?}"),
    }
}

/// The error for a report that violates the protocol.
fn unexpected_report(report: Report) -> BackupError {
    unexpected(&Event::Done(report))
}

/// Whether a retry may succeed.
fn passes(error: &BackupError) -> bool {
    use BackupErrorKind::{Busy, Died, Memory, Stalled, Unavailable};
    matches!(error.kind, Unavailable | Busy | Died | Memory | Stalled)
}

/// Waits for the end of a job that needs no commands, and reports its progress to `progress`.
async fn finish(
    session: &mut dyn Session,
    mut progress: impl FnMut(startclaw_backup::Progress) + Send,
) -> Result<Report, BackupError> {
    loop {
        match session.next().await? {
            Event::Progress(now) => progress(now),
            Event::Done(report) => return Ok(report),
            other => return Err(unexpected(&other)),
        }
    }
}

/// The progress of a worker, as the progress of a step.
const fn shown(now: startclaw_backup::Progress) -> StepProgress {
    StepProgress { files: now.files, bytes: now.bytes, total_bytes: now.total_bytes }
}
