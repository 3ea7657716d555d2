//! What keeps repositories good: old snapshots go, and what is stored is read back.

use std::time::Duration;

use startclaw_backup::{BackupError, ReadData, Report, Repository, Work};
use startclaw_model::{InstanceId, Name, Operation, SnapshotId, Timestamp};
use startclaw_store::Copy;

use super::{finish, nightly};
use crate::{Engine, EngineError};

/// Every week one of so many parts is read back: all of them within 30 days.
const PARTS: u32 = 4;
const DAY_MS: i64 = 24 * 3600 * 1000;

impl Engine {
    /// What is done after a nightly backup.
    pub(super) async fn keep_up(
        &self,
        id: &InstanceId,
        name: &Name,
        operation: &mut Operation,
    ) -> Result<(), EngineError> {
        self.step(operation, "forget").await;
        self.forget_old(id, name).await?;
        if let Some(part) = part_of_today(Timestamp::now(), id) {
            self.step(operation, "read-back").await;
            self.read_back(id, name, ReadData::Part { n: part, of: PARTS }).await?;
        }
        Ok(())
    }

    /// Forgets the snapshots that are too old, in both places.
    pub(super) async fn forget_old(&self, id: &InstanceId, name: &Name) -> Result<(), EngineError> {
        let settings = &self.inner.settings.backup;
        let mut places =
            vec![(self.last_repository(id.as_str()), Copy::Remote, settings.keep_days)];
        if self.inner.places.has_bucket() {
            let local = self.first_repository(id.as_str());
            places.push((local, Copy::Local, settings.keep_local_days));
        }
        for (repository, copy, keep_days) in places {
            let trouble = format!("retention/{name}");
            match self.run(repository, Work::Forget { keep_days }).await {
                Ok(Report::Forgotten { kept, .. }) => {
                    let kept: Vec<_> = kept.into_iter().map(SnapshotId).collect();
                    self.store().set_copies(id, copy, &kept).await?;
                    self.store().clear(&trouble).await?;
                }
                Ok(_) => {}
                Err(e) => {
                    tracing::warn!(%name, error = %e.message, "old backups could not be forgotten");
                    self.store().raise(&trouble, &e.message).await?;
                }
            }
        }
        Ok(())
    }

    /// Forgets the old snapshots of instances that are gone, and in the end all of such an
    /// instance: the newest snapshot, which is kept of those that live, goes with its age here.
    pub(crate) async fn tidy_archives(&self) -> Result<(), EngineError> {
        let settings = &self.inner.settings.backup;
        let kept = Duration::from_secs(u64::from(settings.keep_days) * 24 * 3600);
        for archive in self.store().archives().await? {
            let Some(_claim) = self.inner.jobs.claim(&archive.id) else { continue };
            let newest = self.store().snapshots(&archive.id).await?.into_iter().next();
            let over = newest.is_none_or(|s| Timestamp::now().since(s.taken_at) > kept);
            if !over {
                self.forget_old(&archive.id, &archive.name).await?;
                continue;
            }
            let id = archive.id.as_str();
            let mut erased = self.run(self.last_repository(id), Work::Erase).await;
            if erased.is_ok() && self.inner.places.has_bucket() {
                erased = self.run(self.first_repository(id), Work::Erase).await;
            }
            match erased {
                Ok(_) => {
                    self.store().set_copies(&archive.id, Copy::Remote, &[]).await?;
                    self.store().set_copies(&archive.id, Copy::Local, &[]).await?;
                }
                Err(e) => {
                    tracing::warn!(name = %archive.name, error = %e.message, "old backups could not be forgotten");
                }
            }
        }
        Ok(self.store().drop_empty_archives().await?)
    }

    /// Forgets old snapshots of instances that are gone, once a day, until the engine stops.
    pub(crate) async fn tidy_daily(self) {
        while self.pause(Duration::from_secs(24 * 3600)).await {
            if let Err(e) = self.tidy_archives().await {
                tracing::error!(error = ?e, "the database failed; tidying backups tomorrow");
            }
        }
    }

    /// Reads stored data back.
    pub(super) async fn read_back(
        &self,
        id: &InstanceId,
        name: &Name,
        read: ReadData,
    ) -> Result<(), EngineError> {
        let trouble = format!("check/{name}");
        match self.run(self.last_repository(id.as_str()), Work::Check { read }).await {
            Ok(_) => self.store().clear(&trouble).await?,
            Err(e) => {
                tracing::error!(%name, error = %e.message, "its backups are not what they were");
                self.store().raise(&trouble, &e.message).await?;
            }
        }
        self.inner.alerts.wake();
        Ok(())
    }

    /// Does a job that asks nothing, to its end.
    pub(super) async fn run(
        &self,
        repository: Repository,
        work: Work,
    ) -> Result<Report, BackupError> {
        let mut session = self.inner.repositories.begin(&self.job(repository, work)).await?;
        let done = self.unless_stopped(finish(session.as_mut(), |_| {})).await;
        done.unwrap_or_else(|| Err(super::take::stopped()))
    }
}

/// The part that is to be read back today, if it is this repository's day of the week.
fn part_of_today(now: Timestamp, id: &InstanceId) -> Option<u32> {
    let day = now.as_millis().div_euclid(DAY_MS);
    let own = i64::try_from(nightly::number_of(id) % 7).unwrap_or(0);
    let week = day.div_euclid(7);
    (day.rem_euclid(7) == own)
        .then(|| u32::try_from(week.rem_euclid(i64::from(PARTS))).unwrap_or(0) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_are_read_within_thirty_days_whatever_the_day_begins_with() {
        for instance in 0..20 {
            let id = InstanceId(format!("i{instance}"));
            for begin in 0..40 {
                let mut parts: Vec<_> = (begin..begin + 30)
                    .filter_map(|day| part_of_today(Timestamp::from_millis(day * DAY_MS), &id))
                    .collect();
                parts.sort_unstable();
                parts.dedup();
                assert_eq!(parts, [1, 2, 3, 4], "{instance} {begin}");
            }
        }
    }
}
