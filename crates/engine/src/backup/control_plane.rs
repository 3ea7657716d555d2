//! The control plane's own backup: the database, which knows every instance and holds their
//! sealed secrets. With it and the master key, everything else can be had back.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use startclaw_backup::{BackupError, Command, Event, Report, Work};

use crate::{Engine, EngineError};

/// The repository's name, which can be no instance's: those are UUIDs.
pub const CONTROL_PLANE: &str = "control-plane";
/// The database's name in its snapshots.
pub const DATABASE: &str = "startclaw.db";

/// Between two checks of whether it is time.
const POLL_INTERVAL: Duration = Duration::from_secs(20);
const ALERT: &str = "backup/control-plane";

/// Whether something changed that is in no backup of the control plane.
#[derive(Debug, Default)]
pub(crate) struct ControlPlane(AtomicBool);

impl ControlPlane {
    /// Something changed.
    pub fn note_change(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Engine {
    /// Backs the control plane up whenever backups were made and none is in progress any more: so
    /// it knows of each of them. Until the engine stops.
    pub(crate) async fn keep_control_plane(self) {
        while self.pause(POLL_INTERVAL).await {
            let due = self.inner.control_plane.0.load(Ordering::Acquire);
            if due && self.inner.jobs.is_idle() {
                self.inner.control_plane.0.store(false, Ordering::Release);
                if let Err(e) = self.back_up_control_plane().await {
                    tracing::warn!(error = ?e, "the control plane was not backed up; retrying");
                    self.inner.control_plane.note_change();
                    self.pause(self.inner.settings.timing.backup_again).await;
                }
            }
        }
    }

    /// Backs the control plane up.
    ///
    /// # Errors
    /// [`EngineError::Inside`]; also said as an alert.
    pub async fn back_up_control_plane(&self) -> Result<(), EngineError> {
        let folder: PathBuf = self.inner.settings.backup.folder.join("control-plane");
        let written = self.write_database(&folder).await;
        let done = match written {
            Ok(()) => self.store_control_plane(&folder).await,
            Err(e) => Err(e),
        };
        // It holds sealed secrets only, but nothing is left lying about.
        let _ = std::fs::remove_dir_all(&folder);
        match done {
            Ok(()) => {
                self.store().resolve(ALERT).await?;
                self.inner.alerts.wake();
                Ok(())
            }
            Err(e) => {
                self.store().fire(ALERT, &e.message).await?;
                self.inner.alerts.wake();
                Err(EngineError::inside(e))
            }
        }
    }

    async fn write_database(&self, folder: &std::path::Path) -> Result<(), BackupError> {
        use std::os::unix::fs::DirBuilderExt;
        let wrong = |message: String| BackupError {
            kind: startclaw_backup::BackupErrorKind::Unavailable,
            message: format!("the database cannot be copied: {message}"),
        };
        let _ = std::fs::remove_dir_all(folder);
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|e| wrong(e.to_string()))?;
        let copied = self.store().write_copy(&folder.join(DATABASE)).await;
        copied.map_err(|e| wrong(e.to_string()))
    }

    async fn store_control_plane(&self, folder: &std::path::Path) -> Result<(), BackupError> {
        let settings = &self.inner.settings.backup;
        let work =
            Work::Take { root: folder.to_owned(), live: false, exclude: Vec::new(), check: true };
        // Straight to where it is safe: what it describes is of no use without that.
        let repository = self.offsite_repository(CONTROL_PLANE);
        let mut session = self.inner.repositories.begin(&self.job(repository, work)).await?;
        loop {
            match session.next().await? {
                Event::Progress(_) => {}
                Event::Read => session.send(Command::Commit).await?,
                Event::Done(Report::Taken(_)) => break,
                other => return Err(super::unexpected(&other)),
            }
        }
        drop(session);
        let forget = Work::Forget { keep_days: settings.keep_days };
        self.run(self.offsite_repository(CONTROL_PLANE), forget).await?;
        Ok(())
    }
}
