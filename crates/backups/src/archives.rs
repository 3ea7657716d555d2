//! The backups of removed instances: they expire, or are deleted on request.

use std::time::Duration;

use startclaw_backup::{BackupError, BackupErrorKind, Work};
use startclaw_engine::EngineError;
use startclaw_model::{InstanceId, Timestamp};
use startclaw_store::{Archive, Property};

use crate::Backups;

/// The time from one collection to the next.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The wait after an error of the database.
const AGAIN: Duration = Duration::from_secs(600);

impl Backups {
    /// Deletes expired snapshots of removed instances, and finally their repositories: unlike that
    /// of an existing instance, the newest snapshot of a removed one expires too.
    pub(crate) async fn collect_archives(&self) -> Result<(), EngineError> {
        let settings = &self.inner.settings;
        let kept = Duration::from_secs(u64::from(settings.keep_days) * 24 * 3600);
        for archive in self.engine.store().archives().await? {
            let Some(_claim) = self.inner.jobs.claim(&archive.id) else { continue };
            let Some(archive) = self.unused_archive(&archive.id).await? else { continue };
            let snapshots = self.engine.store().snapshots(&archive.id).await?;
            // One without any is kept: its backups may be at a destination that comes back, and need
            // its key.
            let expires = !settings.append_only;
            let over = match self.trusted_now().await? {
                Some(now) => {
                    expires
                        && !snapshots.is_empty()
                        && snapshots.iter().all(|s| now.since(s.taken_at) > kept)
                        && now.since(archive.removed_at) > kept
                }
                None => false,
            };
            if over || archive.purge {
                self.engine.store().begin_erasing(&archive.id).await?;
                self.erase_archive(&archive).await?;
            } else {
                self.apply_retention(&archive.id, &archive.name).await?;
            }
        }
        Ok(())
    }

    /// Deletes the backups whose deletion was requested; what cannot be deleted now is retried daily.
    pub(crate) async fn purge_archives(&self) -> Result<(), EngineError> {
        for archive in self.engine.store().archives().await?.into_iter().filter(|a| a.purge) {
            let Some(_claim) = self.inner.jobs.claim(&archive.id) else { continue };
            if let Some(archive) = self.unused_archive(&archive.id).await?.filter(|a| a.purge) {
                self.erase_archive(&archive).await?;
            }
        }
        Ok(())
    }

    /// The archive of this instance as it is now, after it was claimed: the instance may have been
    /// restored since. `None` also while another instance is restored from it.
    async fn unused_archive(&self, id: &InstanceId) -> Result<Option<Archive>, EngineError> {
        let jobs = self.engine.store().open_jobs().await?;
        if jobs.iter().any(|job| job.source.as_ref() == Some(id)) {
            return Ok(None);
        }
        Ok(self.engine.store().archives().await?.into_iter().find(|archive| archive.id == *id))
    }

    /// Deletes all backups of a removed instance. A failure is an alert.
    async fn erase_archive(&self, archive: &Archive) -> Result<(), EngineError> {
        let id = archive.id.as_str();
        let erased = self.erase_repositories(id).await;
        // An instance that has the name now has its own alerts.
        let alert = format!("purge/{}/{id}", archive.name);
        match erased {
            Ok(_) => {
                self.engine.store().drop_archive(&archive.id).await?;
                self.engine.store().resolve(&alert).await?;
            }
            Err(_) if self.engine.is_stopping() => return Ok(()),
            Err(e) => {
                tracing::warn!(name = %archive.name, error = %e.message, "cannot delete the backups of a removed instance");
                self.engine.store().fire(&alert, &e.message).await?;
            }
        }
        self.engine.alerts_changed();
        Ok(())
    }

    /// Erases the repositories of an instance: that on this host also if the bucket refuses.
    pub(crate) async fn erase_repositories(&self, id: &str) -> Result<(), BackupError> {
        let offsite = match self.offsite_repository(id).await {
            Ok(offsite) => self.run(offsite, Work::Erase).await,
            Err(e) => Err(e),
        };
        if offsite.as_ref().is_err_and(|e| e.kind != BackupErrorKind::Refused) {
            return offsite.map(drop);
        }
        if let Some(local) = self.local_repository(id) {
            self.run(local, Work::Erase).await?;
        }
        offsite.map(drop)
    }

    /// Deletes expired snapshots of removed instances daily, until the engine stops. The day counts
    /// from the last time in the database, so that restarts of the daemon do not put it off.
    pub(crate) async fn collect_archives_daily(self) {
        loop {
            let wait = match self.next_collection().await {
                Ok(wait) => wait,
                Err(e) => {
                    tracing::error!(error = ?e, "the database failed; deleting expired backups later");
                    AGAIN
                }
            };
            if !self.engine.pause(wait).await {
                return;
            }
        }
    }

    /// Collects if it is due; returns how long to wait until it is the next time.
    async fn next_collection(&self) -> Result<Duration, EngineError> {
        let store = self.engine.store();
        let last = store.property(Property::ArchivesCollected).await?;
        let last = last.and_then(|text| text.parse().ok()).map(Timestamp::from_millis);
        let now = Timestamp::now();
        // A time in the future comes from a clock that was ahead for a while.
        if let Some(last) = last.filter(|last| *last <= now && now.since(*last) < DAY) {
            return Ok(DAY.saturating_sub(now.since(last)));
        }
        self.collect_archives().await?;
        if !self.engine.is_stopping() {
            let now = Timestamp::now().as_millis().to_string();
            store.set_property(Property::ArchivesCollected, &now).await?;
        }
        Ok(DAY)
    }
}
