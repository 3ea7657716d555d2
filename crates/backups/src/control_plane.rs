//! The backup of the control plane: the database, which holds all instances and their sealed
//! secrets. With it and the master key, everything else can be recovered.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use startclaw_backup::{BackupError, Command, Event, Report, Work};
use startclaw_engine::EngineError;
use startclaw_model::CONTROL_PLANE;

use crate::Backups;

/// The database's name in its snapshots.
pub const DATABASE: &str = "startclaw.db";

/// The interval of checks whether a backup is due.
const POLL_INTERVAL: Duration = Duration::from_secs(20);
const ALERT: &str = "backup/control-plane";

/// Whether the database changed since its last backup.
#[derive(Debug, Default)]
pub(crate) struct ControlPlane(AtomicBool);

impl ControlPlane {
    /// Records a change.
    pub fn note_change(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Backups {
    /// Backs up the control plane after backups, when none is in progress any more, so that its
    /// backup includes all of them. Runs until the engine stops.
    pub(crate) async fn keep_control_plane(self) {
        while self.engine.pause(POLL_INTERVAL).await {
            let due = self.inner.control_plane.0.load(Ordering::Acquire);
            if due && self.inner.jobs.is_idle() {
                self.inner.control_plane.0.store(false, Ordering::Release);
                if let Err(e) = self.back_up_control_plane().await {
                    tracing::warn!(error = ?e, "the control plane was not backed up; retrying");
                    self.inner.control_plane.note_change();
                    self.engine.pause(self.engine.timing().backup_again).await;
                }
            }
        }
    }

    /// Backs up the control plane.
    ///
    /// # Errors
    /// [`EngineError::Inside`]; it also fires an alert.
    pub async fn back_up_control_plane(&self) -> Result<(), EngineError> {
        let folder: PathBuf = self.inner.settings.folder.join("control-plane");
        let written = self.write_database(&folder).await;
        let done = match written {
            Ok(()) => self.store_control_plane(&folder).await,
            Err(e) => Err(e),
        };
        // Its secrets are sealed, but the copy is removed anyway.
        let _ = tokio::fs::remove_dir_all(&folder).await;
        match done {
            Ok(()) => {
                self.engine.store().resolve(ALERT).await?;
                self.engine.alerts_changed();
                Ok(())
            }
            Err(e) => {
                self.engine.store().fire(ALERT, &e.message).await?;
                self.engine.alerts_changed();
                Err(EngineError::inside(e))
            }
        }
    }

    async fn write_database(&self, folder: &std::path::Path) -> Result<(), BackupError> {
        let wrong = |message: String| BackupError {
            kind: startclaw_backup::BackupErrorKind::Unavailable,
            message: format!("the database cannot be copied: {message}"),
        };
        let _ = tokio::fs::remove_dir_all(folder).await;
        let made = tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).await;
        made.map_err(|e| wrong(e.to_string()))?;
        let copied = self.engine.store().write_copy(&folder.join(DATABASE)).await;
        copied.map_err(|e| wrong(e.to_string()))
    }

    async fn store_control_plane(&self, folder: &std::path::Path) -> Result<(), BackupError> {
        let settings = &self.inner.settings;
        let work =
            Work::Take { root: folder.to_owned(), live: false, exclude: Vec::new(), check: true };
        // Directly to the destination: without it, the database is of no use.
        let repository = self.offsite_repository(CONTROL_PLANE);
        let mut session = self.inner.repositories.begin(&self.job(repository, work)).await?;
        loop {
            match session.next().await? {
                Event::Progress(_) => {}
                Event::Read => session.send(Command::Commit).await?,
                Event::Done(Report::Taken(_)) => break,
                other => return Err(crate::unexpected(&other)),
            }
        }
        drop(session);
        let forget = Work::Forget { keep_days: settings.keep_days };
        self.run(self.offsite_repository(CONTROL_PLANE), forget).await?;
        Ok(())
    }
}
