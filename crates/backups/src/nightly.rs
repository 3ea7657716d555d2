//! Nightly backups: when each instance's is due.

use std::time::Duration;

use sha2::{Digest, Sha256};
use startclaw_engine::EngineError;
use startclaw_model::{Actor, InstanceId, Name, Operation, OperationKind, Presence, Timestamp};
use startclaw_store::StoreError;

use crate::{BackupSettings, Backups};

/// A hash that spreads instances evenly and is always the same.
pub(crate) fn number_of(id: &InstanceId) -> u64 {
    let digest = Sha256::digest(id.as_str());
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// When the instance's backup was due last, at `now` or before.
pub(crate) fn due_at(now: Timestamp, settings: &BackupSettings, id: &InstanceId) -> Timestamp {
    let spread = u64::from(settings.spread_minutes.max(1)) * 60;
    let offset = Duration::from_secs(number_of(id) % spread);
    settings.time_zone.last(now, settings.at.minutes(), offset)
}

/// Whether nightly backups begin at `now`: an instance has its minute within this time.
pub(crate) fn is_window(now: Timestamp, settings: &BackupSettings) -> bool {
    let begin = settings.time_zone.last(now, settings.at.minutes(), Duration::ZERO);
    now.since(begin) < Duration::from_secs(u64::from(settings.spread_minutes.max(1)) * 60)
}

/// Whether a backup is due. A missed night (the host was off) is made up for; an instance that was
/// created after its last due time waits for the next.
pub(crate) fn is_due(
    now: Timestamp,
    settings: &BackupSettings,
    id: &InstanceId,
    created: Timestamp,
    last: Option<Timestamp>,
) -> bool {
    let due = due_at(now, settings, id);
    created < due && last.is_none_or(|last| last < due)
}

impl Backups {
    /// Requests nightly backups when they are due, until the engine stops.
    pub(crate) async fn run_nightly(self) {
        if !self.inner.settings.nightly {
            self.engine.stopped().await;
            return;
        }
        while self.engine.pause(self.engine.timing().nightly_every).await {
            if let Err(e) = self.request_nightly(Timestamp::now()).await {
                tracing::error!(error = ?e, "the database failed; checking for due backups later");
            }
        }
    }

    /// Requests the backups that are due at `now`, and those that are tried again.
    pub(crate) async fn request_nightly(&self, now: Timestamp) -> Result<(), EngineError> {
        let last = self.engine.store().last_nightly(now).await?;
        let settings = &self.inner.settings;
        for entry in self.engine.instances() {
            let instance = &entry.instance;
            let id = &instance.id;
            let wanted = instance.desired.presence == Presence::Present
                && !instance.desired.volumes.awaits_restore()
                && is_due(now, settings, id, instance.created_at, last.get(id).copied());
            if !wanted {
                continue;
            }
            self.place_nightly(id, &instance.name).await?;
        }
        self.retry_nightly(now).await
    }

    /// Requests a nightly backup of an instance.
    pub(crate) async fn place_nightly(
        &self,
        id: &InstanceId,
        name: &Name,
    ) -> Result<(), EngineError> {
        let kind = OperationKind::Backup;
        let operation = Operation::new(kind, id.clone(), name.clone(), Actor::system());
        match self.engine.store().place_job(&operation).await {
            Ok(_) => self.inner.jobs.wake(),
            // It was removed meanwhile.
            Err(StoreError::NoInstance | StoreError::Removing) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn settings() -> BackupSettings {
        BackupSettings { spread_minutes: 1, ..BackupSettings::default() }
    }

    #[test]
    fn a_backup_is_due_each_night_at_three_and_once() {
        let (settings, id) = (settings(), InstanceId("a".into()));
        let born = at("2026-02-01T12:00:00Z");
        let due =
            |now: &str, last: Option<&str>| is_due(at(now), &settings, &id, born, last.map(at));
        assert!(!due("2026-02-01T23:00:00Z", None), "it is younger than its last time");
        assert!(!due("2026-02-02T02:59:59Z", None));
        assert!(due("2026-02-02T03:01:00Z", None));
        assert!(!due("2026-02-02T03:02:00Z", Some("2026-02-02T03:01:00Z")));
        assert!(!due("2026-02-03T02:59:00Z", Some("2026-02-02T03:01:00Z")));
        assert!(due("2026-02-03T03:01:00Z", Some("2026-02-02T03:01:00Z")));
        assert!(due("2026-02-09T17:00:00Z", Some("2026-02-02T03:01:00Z")), "the machine was off");
    }

    #[test]
    fn the_night_is_that_of_the_time_zone() {
        let settings =
            BackupSettings { time_zone: "America/New_York".parse().unwrap(), ..settings() };
        let due = |now: &str| due_at(at(now), &settings, &InstanceId("a".into())).to_string();
        assert!(due("2026-02-02T12:00:00Z").starts_with("2026-02-02T08:00:"));
        assert!(due("2026-07-02T12:00:00Z").starts_with("2026-07-02T07:00:"), "in summer");
        assert!(is_window(at("2026-07-02T07:00:30Z"), &settings));
        assert!(!is_window(at("2026-07-02T08:00:30Z"), &settings));
    }

    #[test]
    fn the_window_is_the_time_in_which_backups_begin() {
        let settings = BackupSettings::default();
        for (time, inside) in
            [("02:59:59", false), ("03:00:00", true), ("03:59:59", true), ("04:00:00", false)]
        {
            let now = at(&format!("2026-02-02T{time}Z"));
            assert_eq!(is_window(now, &settings), inside, "{time}");
        }
    }

    #[test]
    fn instances_are_spread_over_the_hour_and_each_keeps_its_minute() {
        let settings = BackupSettings::default();
        let now = at("2026-02-02T12:00:00Z");
        let three = at("2026-02-02T03:00:00Z").as_millis();
        let minutes: Vec<i64> = (0..600)
            .map(|n| due_at(now, &settings, &InstanceId(n.to_string())).as_millis() - three)
            .map(|ms| ms / 60_000)
            .collect();
        assert!(minutes.iter().all(|m| (0..60).contains(m)));
        for quarter in 0..4 {
            let here = minutes.iter().filter(|m| **m / 15 == quarter).count();
            assert!((100..200).contains(&here), "{here} in one quarter of the hour");
        }
    }
}
