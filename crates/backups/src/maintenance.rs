//! Maintenance of repositories: retention of snapshots, and verification of stored data.

use std::{collections::HashMap, time::Duration};

use startclaw_backup::{BackupError, BackupErrorKind, ReadData, Report, Repository, Work};
use startclaw_engine::EngineError;
use startclaw_model::{InstanceId, Name, Operation, Snapshot, SnapshotId, StepName, Timestamp};
use startclaw_store::Copy;

use crate::{
    Backups,
    alerts::About,
    bucket::is_away,
    finish,
    held::{DAMAGED, Held},
    retention::{self, Policy},
    take::expired,
};

/// The alert that stored data are damaged.
pub(crate) const CHECK: &str = "check";
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
    /// Maintenance after a nightly backup. The inner error says why the night failed although the
    /// backup was taken.
    pub(crate) async fn run_maintenance(
        &self,
        id: &InstanceId,
        name: &Name,
        operation: &mut Operation,
    ) -> Result<Result<(), String>, EngineError> {
        // Once a night, because it deletes a limited part each time.
        if !expired(operation) {
            self.engine.step(operation, StepName::Forget).await;
            self.apply_retention(id, name).await?;
        }
        let now = Timestamp::now();
        let Some(part) = part_due(now, &self.engine.store().verified_parts(id).await?) else {
            return Ok(Ok(()));
        };
        self.engine.step(operation, StepName::Verify).await;
        let verified = self.verify(id, name, part).await?;
        if verified == Ok(true) {
            self.engine.store().note_verified(id, part, now).await?;
        }
        Ok(verified.map(drop))
    }

    /// The repositories of an instance.
    async fn places(&self, id: &InstanceId) -> Vec<(Copy, Result<Repository, BackupError>)> {
        let mut places = vec![(Copy::Remote, self.offsite_repository(id.as_str()).await)];
        if let Some(local) = self.local_repository(id.as_str()) {
            places.push((Copy::Local, Ok(local)));
        }
        places
    }

    /// Deletes expired snapshots in both repositories.
    pub(crate) async fn apply_retention(
        &self,
        id: &InstanceId,
        name: &Name,
    ) -> Result<(), EngineError> {
        for (copy, repository) in self.places(id).await {
            if copy == Copy::Remote && self.inner.bucket.is_away() {
                continue;
            }
            let about = About { kind: "retention", id, name, copy };
            let done = match repository {
                Ok(repository) => self.expire(id, name, copy, repository).await?,
                Err(e) => Err(e),
            };
            if copy == Copy::Remote {
                self.inner.bucket.note(&done);
                self.note_destination_error(&done).await?;
            }
            match done {
                Ok(()) => self.set_alert(about, None).await?,
                Err(_) if self.engine.is_stopping() => return Ok(()),
                // It has an alert already. What is stored there is not known, so nothing that is on
                // this host expires either.
                Err(e) if e.kind == BackupErrorKind::Foreign => return Ok(()),
                Err(e) => {
                    tracing::warn!(%name, error = %e.message, "cannot delete expired backups");
                    self.set_alert(about, Some(&e.message)).await?;
                }
            }
        }
        if let Some(now) = self.trusted_now().await? {
            let keep = self.keep_days(Copy::Remote);
            self.engine.store().drop_missing(id, now.minus(keep)).await?;
        }
        self.check_missing(id, name).await
    }

    /// Deletes expired snapshots in one repository, after a comparison with the database.
    async fn expire(
        &self,
        id: &InstanceId,
        name: &Name,
        copy: Copy,
        repository: Repository,
    ) -> Result<Result<(), BackupError>, EngineError> {
        let mut held = match self.list(repository.clone()).await {
            Ok(held) => held,
            Err(e) => return Ok(Err(e)),
        };
        // While there is a damaged snapshot nothing is freed: its data may be needed.
        if !held.damaged.is_empty() && self.repair(id, name, copy).await?.is_ok() {
            held = match self.list(repository.clone()).await {
                Ok(held) => held,
                Err(e) => return Ok(Err(e)),
            };
        }
        self.note_held(id, name, copy, &held).await?;
        let snapshots = self.engine.store().snapshots(id).await?;
        let decided = retention::decide(&snapshots, self.policy(copy).await?);
        let expired: Vec<_> =
            decided.into_iter().filter(|(_, why)| !why.keeps()).map(|(id, _)| id).collect();
        let mut ids: Vec<_> = expired.iter().map(|id| id.0.clone()).collect();
        ids.extend(self.expired_damaged(About { kind: DAMAGED, id, name, copy }, &held).await?);
        // First here: what is not deleted there, because of a failure or a crash, is learned again.
        self.engine.store().drop_copies(id, copy, &expired).await?;
        // Also without any: a run that failed may have left data that nothing uses.
        let done = self.run(repository.clone(), Work::Forget { snapshots: ids }).await.map(drop);
        // What the bucket refuses to delete is still there: it must not be missing in the list until
        // the next night.
        if done.as_ref().is_err_and(|e| e.kind == BackupErrorKind::Refused)
            && let Ok(held) = self.list(repository).await
        {
            self.note_held(id, name, copy, &held).await?;
        }
        Ok(done)
    }

    /// The damaged snapshot files that no retention would have kept until now. Of when they are
    /// cannot be read. But each was there before its alert fired, and what the database knew of it is
    /// listed as missing until it expires. While they are there, nothing is freed.
    async fn expired_damaged(
        &self,
        about: About<'_>,
        held: &Held,
    ) -> Result<Vec<String>, EngineError> {
        let (Some(since), Some(now)) = (self.fires_since(about).await?, self.trusted_now().await?)
        else {
            return Ok(Vec::new());
        };
        let known = self.engine.store().snapshots(about.id).await?;
        let is_young = now.since(since) <= self.keep_days(Copy::Remote);
        if held.damaged.is_empty() || is_young || known.iter().any(Snapshot::is_missing) {
            return Ok(Vec::new());
        }
        let name = about.name;
        tracing::warn!(%name, files = ?held.damaged, "deleting damaged snapshot files that expired");
        Ok(held.damaged.clone())
    }

    /// Frees what backups that failed left in the repository that they are written to.
    pub(crate) async fn free_unused(&self, id: &InstanceId, name: &Name) {
        let freed = match self.first_repository(id.as_str()).await {
            Ok(first) => self.run(first, Work::Forget { snapshots: Vec::new() }).await,
            Err(e) => Err(e),
        };
        if let Err(e) = freed {
            tracing::warn!(%name, error = %e.message, "what a failed backup left is not freed yet");
        }
    }

    fn keep_days(&self, copy: Copy) -> Duration {
        let settings = &self.inner.settings;
        DAY * match copy {
            Copy::Remote => settings.keep_days,
            Copy::Local => settings.keep_local_days,
        }
    }

    async fn policy(&self, copy: Copy) -> Result<Policy, EngineError> {
        Ok(Policy {
            keep: self.keep_days(copy),
            copy,
            has_bucket: self.inner.layout.has_bucket(),
            append_only: copy == Copy::Remote && self.inner.settings.append_only,
            now: self.trusted_now().await?,
        })
    }

    /// Why each of an instance's snapshots is kept or deleted, newest first.
    pub(crate) async fn explain(&self, snapshots: &[Snapshot]) -> Result<Vec<String>, EngineError> {
        let mut reasons: HashMap<SnapshotId, String> = HashMap::new();
        for (copy, place) in [(Copy::Remote, "destination"), (Copy::Local, "this host")] {
            if copy == Copy::Local && !self.inner.layout.has_bucket() {
                continue;
            }
            for (id, reason) in retention::decide(snapshots, self.policy(copy).await?) {
                let text = reasons.entry(id).or_default();
                if !text.is_empty() {
                    text.push_str("; ");
                }
                text.push_str(&format!("{place}: {reason}"));
            }
        }
        let missing = || "missing: StartClaw did not delete it".to_owned();
        Ok(snapshots.iter().map(|s| reasons.remove(&s.id).unwrap_or_else(missing)).collect())
    }

    /// Verifies a part of the stored data in both repositories, and repairs one that is damaged from
    /// the other. The inner error says what is damaged or cannot be read: then the same part is
    /// verified again the next night. `false`: the destination, which has an alert of its own, was not
    /// verified. An intact part resolves the alert only when the others were verified too: it may be
    /// about one of those.
    async fn verify(
        &self,
        id: &InstanceId,
        name: &Name,
        part: u32,
    ) -> Result<Result<bool, String>, EngineError> {
        let mut outcome = Ok(true);
        let others = self.engine.store().verified_parts(id).await?;
        let all = (1..=PARTS).all(|other| other == part || others.contains_key(&other));
        let read = ReadData::Part { n: part, of: PARTS };
        for (copy, repository) in self.places(id).await {
            let about = About { kind: CHECK, id, name, copy };
            // Before it, because another job may store one meanwhile.
            let held = self.held_in(id, copy).await?;
            match self.verify_one(id, name, copy, repository, read).await? {
                Ok(true) => {
                    self.note_whole(id, copy, &held).await?;
                    if all {
                        self.set_alert(about, None).await?;
                    }
                }
                Ok(false) => outcome = outcome.map(|_| false),
                Err(_) if self.engine.is_stopping() => {
                    return Ok(Err("the daemon is stopping".into()));
                }
                Err(why) => {
                    tracing::error!(%name, error = %why, "verification of its backups failed");
                    self.set_alert(about, Some(&why)).await?;
                    outcome = Err(format!(
                        "the backup is stored, but the verification of older ones failed: {why}"
                    ));
                }
            }
        }
        Ok(outcome)
    }

    async fn verify_one(
        &self,
        id: &InstanceId,
        name: &Name,
        copy: Copy,
        repository: Result<Repository, BackupError>,
        read: ReadData,
    ) -> Result<Result<bool, String>, EngineError> {
        if copy == Copy::Remote && self.inner.bucket.is_away() {
            return Ok(Ok(false));
        }
        let done = match repository {
            Ok(repository) => self.run(repository, Work::Check { read }).await,
            Err(e) => Err(e),
        };
        if copy == Copy::Remote {
            self.inner.bucket.note(&done);
            self.note_destination_error(&done).await?;
        }
        match done {
            Ok(_) => Ok(Ok(true)),
            // It has an alert of its own.
            Err(e) if e.kind == BackupErrorKind::Foreign => Ok(Ok(false)),
            Err(e) if copy == Copy::Remote && self.inner.layout.has_bucket() && is_away(&e) => {
                Ok(Ok(false))
            }
            Err(e) if e.kind == BackupErrorKind::Damaged => {
                let repaired = self.repair(id, name, copy).await?;
                Ok(repaired.map(|()| true).map_err(|why| format!("{}; {why}", e.message)))
            }
            Err(e) => Ok(Err(e.message)),
        }
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
