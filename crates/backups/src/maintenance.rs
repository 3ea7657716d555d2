//! Maintenance of repositories: retention of snapshots, and verification of stored data.

use std::{collections::HashMap, time::Duration};

use startclaw_backup::{BackupError, ReadData, Report, Repository, Work};
use startclaw_engine::EngineError;
use startclaw_model::{InstanceId, Name, Operation, SnapshotId, StepName, Timestamp};
use startclaw_store::{Archive, Copy};

use crate::{Backups, finish};

/// The stored data are verified in this many parts.
const PARTS: u32 = 4;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The time from one part to the next. It is half a day less than a week, because the times of
/// nightly backups vary.
const WEEK: Duration = Duration::from_secs(13 * 12 * 3600);
/// The age of a part's last verification after which it is verified without waiting for its week:
/// so all parts are verified within 30 days, even if nights are missed.
const LONGEST: Duration = Duration::from_secs(55 * 12 * 3600);

impl Backups {
    /// Maintenance after a nightly backup.
    pub(crate) async fn run_maintenance(
        &self,
        id: &InstanceId,
        name: &Name,
        operation: &mut Operation,
    ) -> Result<(), EngineError> {
        self.engine.step(operation, StepName::Forget).await;
        self.apply_retention(id, name).await?;
        let now = Timestamp::now();
        if let Some(part) = part_due(now, &self.engine.store().verified_parts(id).await?) {
            self.engine.step(operation, StepName::Verify).await;
            if self.verify(id, name, ReadData::Part { n: part, of: PARTS }).await? {
                self.engine.store().note_verified(id, part, now).await?;
            }
        }
        Ok(())
    }

    /// Deletes expired snapshots in both repositories.
    pub(crate) async fn apply_retention(
        &self,
        id: &InstanceId,
        name: &Name,
    ) -> Result<(), EngineError> {
        let settings = &self.inner.settings;
        let mut places =
            vec![(self.offsite_repository(id.as_str()), Copy::Remote, settings.keep_days)];
        if self.inner.layout.has_bucket() {
            let local = self.local_repository(id.as_str());
            places.push((local, Copy::Local, settings.keep_local_days));
        }
        for (repository, copy, keep_days) in places {
            let alert = match copy {
                Copy::Remote => format!("retention/{name}"),
                Copy::Local => format!("retention/{name}/local"),
            };
            match self.run(repository, Work::Forget { keep_days }).await {
                Ok(Report::Forgotten { kept, .. }) => {
                    let kept: Vec<_> = kept.into_iter().map(SnapshotId).collect();
                    self.engine.store().set_copies(id, copy, &kept).await?;
                    self.engine.store().resolve(&alert).await?;
                }
                Ok(_) => {}
                Err(e) => {
                    tracing::warn!(%name, error = %e.message, "cannot delete expired backups");
                    self.engine.store().fire(&alert, &e.message).await?;
                }
            }
        }
        self.engine.alerts_changed();
        Ok(())
    }

    /// Deletes expired snapshots of removed instances, and finally their repositories: unlike that
    /// of an existing instance, the newest snapshot of a removed one expires too.
    pub(crate) async fn collect_archives(&self) -> Result<(), EngineError> {
        let settings = &self.inner.settings;
        let kept = Duration::from_secs(u64::from(settings.keep_days) * 24 * 3600);
        for archive in self.engine.store().archives().await? {
            let Some(_claim) = self.inner.jobs.claim(&archive.id) else { continue };
            let Some(archive) = self.unused_archive(&archive.id).await? else { continue };
            let newest = self.engine.store().snapshots(&archive.id).await?.into_iter().next();
            let over = newest.is_none_or(|s| Timestamp::now().since(s.taken_at) > kept);
            if over || archive.purge {
                self.erase_archive(&archive).await?;
            } else {
                self.apply_retention(&archive.id, &archive.name).await?;
            }
        }
        Ok(self.engine.store().drop_empty_archives().await?)
    }

    /// Deletes the backups whose deletion was requested; what cannot be deleted now is retried daily.
    pub(crate) async fn purge_archives(&self) -> Result<(), EngineError> {
        for archive in self.engine.store().archives().await?.into_iter().filter(|a| a.purge) {
            let Some(_claim) = self.inner.jobs.claim(&archive.id) else { continue };
            if let Some(archive) = self.unused_archive(&archive.id).await?.filter(|a| a.purge) {
                self.erase_archive(&archive).await?;
            }
        }
        Ok(self.engine.store().drop_empty_archives().await?)
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
        let mut erased = self.run(self.offsite_repository(id), Work::Erase).await;
        if erased.is_ok() && self.inner.layout.has_bucket() {
            erased = self.run(self.local_repository(id), Work::Erase).await;
        }
        // An instance that has the name now has its own alerts.
        let alert = format!("purge/{}/{id}", archive.name);
        match erased {
            Ok(_) => {
                self.engine.store().set_copies(&archive.id, Copy::Remote, &[]).await?;
                self.engine.store().set_copies(&archive.id, Copy::Local, &[]).await?;
                self.engine.store().resolve(&alert).await?;
            }
            Err(e) => {
                tracing::warn!(name = %archive.name, error = %e.message, "cannot delete the backups of a removed instance");
                self.engine.store().fire(&alert, &e.message).await?;
            }
        }
        self.engine.alerts_changed();
        Ok(())
    }

    /// Deletes expired snapshots of removed instances daily, until the engine stops.
    pub(crate) async fn collect_archives_daily(self) {
        while self.engine.pause(DAY).await {
            if let Err(e) = self.collect_archives().await {
                tracing::error!(error = ?e, "the database failed; deleting expired backups tomorrow");
            }
        }
    }

    /// Verifies stored data; `false` when they are damaged or cannot be read. Then the same part is
    /// verified again the next night: another, intact part would resolve the alert.
    pub(crate) async fn verify(
        &self,
        id: &InstanceId,
        name: &Name,
        read: ReadData,
    ) -> Result<bool, EngineError> {
        let alert = format!("check/{name}");
        let done = self.run(self.offsite_repository(id.as_str()), Work::Check { read }).await;
        match &done {
            Ok(_) => drop(self.engine.store().resolve(&alert).await?),
            Err(_) if self.engine.is_stopping() => return Ok(false),
            Err(e) => {
                tracing::error!(%name, error = %e.message, "verification of its backups failed");
                self.engine.store().fire(&alert, &e.message).await?;
            }
        }
        self.engine.alerts_changed();
        Ok(done.is_ok())
    }

    /// Runs a job that needs no commands.
    pub(crate) async fn run(
        &self,
        repository: impl Into<Option<Repository>>,
        work: Work,
    ) -> Result<Report, BackupError> {
        let mut session = self.inner.repositories.begin(&self.job(repository, work)).await?;
        let done = self.engine.unless_stopped(finish(session.as_mut(), |_| {})).await;
        done.unwrap_or_else(|| Err(crate::take::stopped()))
    }
}

/// The part that is due for verification, if any: the one that was verified longest ago, or never.
/// One part a week, so that nights take equally long; but no part waits longer than [`LONGEST`],
/// even if nights were missed.
fn part_due(now: Timestamp, read: &HashMap<u32, Timestamp>) -> Option<u32> {
    // Times in the future come from a clock that was ahead for a while, and are ignored.
    let ago = |part: &u32| read.get(part).filter(|at| **at <= now).map(|at| now.since(*at));
    let oldest =
        (1..=PARTS).max_by_key(|part| (ago(part).unwrap_or(Duration::MAX), PARTS - part))?;
    let newest = (1..=PARTS).filter_map(|part| ago(&part)).min();
    let week_is_over = newest.is_none_or(|ago| ago >= WEEK);
    (week_is_over || ago(&oldest).is_none_or(|ago| ago >= LONGEST)).then_some(oldest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 24 * 3600 * 1000;

    /// The nights in which a part is verified, and the part.
    fn nights(nights: impl IntoIterator<Item = i64>) -> Vec<(i64, u32)> {
        let mut read = HashMap::new();
        let mut found = Vec::new();
        for night in nights {
            // Backups take longer in some nights.
            let now = Timestamp::from_millis((night + 100) * DAY_MS + night % 3 * 600_000);
            if let Some(part) = part_due(now, &read) {
                read.insert(part, now);
                found.push((night, part));
            }
        }
        found
    }

    #[test]
    fn one_part_is_read_each_week_once_all_were_read() {
        let found = nights(0..60);
        assert_eq!(found[..4], [(0, 1), (1, 2), (2, 3), (3, 4)], "all that is new at first");
        let later: Vec<_> = found[4..].iter().map(|(night, part)| (*night, *part)).collect();
        assert_eq!(later[..5], [(10, 1), (17, 2), (24, 3), (31, 4), (38, 1)]);
    }

    #[test]
    fn all_parts_are_read_within_thirty_days_whatever_nights_are_missed() {
        // Only some nights of a week, and up to a month in which the host is off.
        for seen in [[true; 7], [true, false, true, false, true, false, true]] {
            for off in [0..0, 40..47, 40..75] {
                let on = |n: &i64| seen[usize::try_from(n % 7).unwrap()] && !off.contains(n);
                let found = nights((0..200).filter(on));
                for begin in 0..170 {
                    let window = begin..begin + 30;
                    let meets = window.start < off.end + 8 && off.start < window.end;
                    if !off.is_empty() && meets {
                        continue;
                    }
                    let mut parts: Vec<_> =
                        found.iter().filter(|(n, _)| window.contains(n)).map(|(_, p)| *p).collect();
                    parts.sort_unstable();
                    parts.dedup();
                    assert_eq!(parts, [1, 2, 3, 4], "{seen:?} {off:?} {begin}: {found:?}");
                }
            }
        }
    }
}
