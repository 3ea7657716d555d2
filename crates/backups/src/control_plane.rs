//! The backup of the control plane: the database, which holds all instances and their sealed
//! secrets. With it and the master key, everything else can be recovered.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use startclaw_backup::{BackupError, BackupErrorKind, Command, Event, Report, Work};
use startclaw_engine::EngineError;
use startclaw_model::CONTROL_PLANE;
use startclaw_store::Property;
use tokio::time::Instant;

use crate::{
    Backups, retention,
    take::{inside, stopped},
};

/// The database's name in its snapshots.
pub const DATABASE: &str = "startclaw.db";

/// The interval of checks whether a backup is due.
const POLL_INTERVAL: Duration = Duration::from_secs(20);
/// The time between two backups of changes that are not urgent.
const SPACING: Duration = Duration::from_secs(300);
/// The time after which a change is backed up also while jobs are running.
const LONGEST: Duration = Duration::from_secs(3000);
const ALERT: &str = "backup/control-plane";

/// Whether a change should be backed up without delay: snapshots were taken or deleted.
#[derive(Debug, Default)]
pub(crate) struct ControlPlane(AtomicBool);

impl ControlPlane {
    /// Records such a change.
    pub fn note_change(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// Whether a backup is due: `changed` since the last one, which ended `since` ago, if this daemon made
/// any.
fn is_due(changed: bool, urgent: bool, idle: bool, since: Option<Duration>) -> bool {
    let after = |time| since.is_none_or(|since| since >= time);
    changed && (idle && (urgent || after(SPACING)) || after(LONGEST))
}

impl Backups {
    /// Keeps the backup of the control plane less than an hour older than the database: after
    /// backups, when none is in progress any more, so that it includes all of them, and after other
    /// changes. Runs until the engine stops.
    pub(crate) async fn keep_control_plane(self) {
        let mut last: Option<Instant> = None;
        while self.engine.pause(POLL_INTERVAL).await {
            match self.save_control_plane(last.map(|at| at.elapsed())).await {
                Ok(true) => last = Some(Instant::now()),
                Ok(false) => {}
                Err(e) => {
                    tracing::warn!(error = ?e, "the control plane was not backed up; retrying");
                    self.inner.control_plane.note_change();
                    self.engine.pause(self.engine.timing().backup_again).await;
                }
            }
        }
    }

    /// Backs up the control plane if that is due; `since` is how long ago it was done last.
    async fn save_control_plane(&self, since: Option<Duration>) -> Result<bool, EngineError> {
        let store = self.engine.store();
        // Read before the copy is made: what changes meanwhile is backed up the next time.
        let revision = store.revision().await?.to_string();
        let changed = store.property(Property::SavedRevision).await? != Some(revision.clone());
        let urgent = self.inner.control_plane.take();
        if !is_due(changed, urgent, self.inner.jobs.is_idle(), since) {
            if urgent && changed {
                self.inner.control_plane.note_change();
            }
            return Ok(false);
        }
        self.back_up_control_plane().await?;
        store.set_property(Property::SavedRevision, &revision).await?;
        Ok(true)
    }

    /// Backs up the control plane.
    ///
    /// # Errors
    /// [`EngineError::Inside`]; it also fires an alert.
    pub async fn back_up_control_plane(&self) -> Result<(), EngineError> {
        let folder: PathBuf = self.inner.settings.folder.join("control-plane");
        let written = self.write_database(&folder).await;
        let done = match written {
            Ok(()) => {
                let stored = self.store_control_plane(&folder).await;
                self.inner.bucket.note(&stored);
                self.note_destination_error(&stored).await?;
                stored
            }
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
            Err(e) if self.engine.is_stopping() => Err(EngineError::inside(e)),
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
        let work =
            Work::Take { root: folder.to_owned(), live: false, exclude: Vec::new(), check: true };
        // Directly to the destination: without it, the database is of no use.
        let repository = self.offsite_repository(CONTROL_PLANE).await?;
        let mut session =
            self.inner.repositories.begin(&self.job(repository.clone(), work)).await?;
        loop {
            let event = self.engine.unless_stopped(session.next()).await;
            match event.unwrap_or_else(|| Err(stopped()))? {
                Event::Progress(_) => {}
                Event::Read => session.send(Command::Commit).await?,
                Event::Done(Report::Taken(_)) => break,
                other => return Err(crate::unexpected(&other)),
            }
        }
        drop(session);
        let held = self.list(repository.clone()).await?;
        let now = self.trusted_now().await.map_err(inside)?;
        let snapshots = retention::thin(&held.snapshots, self.inner.settings.keep_days, now);
        match self.run(repository, Work::Forget { snapshots }).await {
            // The backup is stored, and another one would not help.
            Err(e) if e.kind == BackupErrorKind::Refused => {
                self.note_expiry(Some(&e.message)).await
            }
            Ok(_) => self.note_expiry(None).await,
            Err(e) => Err(e),
        }
    }

    /// Fires the alert that old backups of the database are not deleted, or resolves it.
    async fn note_expiry(&self, refused: Option<&str>) -> Result<(), BackupError> {
        let key = format!("retention/{CONTROL_PLANE}");
        if self.set_key(&key, refused).await.map_err(inside)? {
            self.engine.alerts_changed();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_backed_up_within_the_hour_and_after_backups_at_once() {
        let minutes = |n: u64| Some(Duration::from_secs(n * 60));
        for (changed, urgent, idle, since, due) in [
            (false, true, true, None, false),
            (true, false, true, None, true),
            (true, false, true, minutes(1), false),
            (true, true, true, minutes(1), true),
            (true, false, true, minutes(5), true),
            (true, true, false, minutes(40), false),
            (true, false, false, minutes(50), true),
        ] {
            assert_eq!(
                is_due(changed, urgent, idle, since),
                due,
                "{changed} {urgent} {idle} {since:?}"
            );
        }
    }
}
