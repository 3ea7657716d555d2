//! Drills: once a month the newest backup of an instance is tested. This module decides when, and
//! of which instance; `restore_test` runs the test.

use std::{collections::HashMap, time::Duration};

use rand::seq::IndexedRandom;
use startclaw_engine::EngineError;
use startclaw_model::{Actor, Check, Instance, InstanceId, InstanceState, Presence, Timestamp};
use startclaw_store::Drill;

use crate::{BackupSettings, Backups};

/// The interval of checks whether a drill is due.
const POLL_INTERVAL: Duration = Duration::from_secs(60);
const MINUTE: i64 = 60 * 1000;
const HOUR: Duration = Duration::from_secs(3600);
const DAY_MS: i64 = 24 * 60 * MINUTE;
/// The time from the start of the last nightly backup to drills, in minutes.
const AFTER_BACKUPS: i64 = 60;
const CHECK: &str = "drill";

impl Backups {
    /// Requests drills when they are due and nothing else is running, until the engine stops.
    pub(crate) async fn run_drills(self) {
        match self.engine.store().drills().await {
            Ok(drills) => drills.first().into_iter().for_each(show),
            Err(e) => {
                tracing::error!(error = ?e, "the database failed; the last drill is not known")
            }
        }
        while self.engine.pause(POLL_INTERVAL).await {
            if let Err(e) = self.request_drill(Timestamp::now()).await {
                tracing::error!(error = ?e, "cannot request a drill; retrying");
            }
        }
    }

    async fn request_drill(&self, now: Timestamp) -> Result<(), EngineError> {
        let settings = &self.inner.settings;
        if settings.drill_days == 0 || !self.is_quiet() {
            return Ok(());
        }
        let stored = self.engine.store().first_stored().await?;
        let drills = self.engine.store().drills().await?;
        let first = stored.values().min().copied();
        if first.is_some_and(|first| is_due(now, settings, first, drills.first()))
            && let Some(instance) = self.choose(&stored).await?
        {
            self.engine.verbs().drill(&Actor::system(), Some((&instance).into())).await?;
        }
        Ok(())
    }

    /// Whether no job runs and no instance is starting or being removed.
    fn is_quiet(&self) -> bool {
        let settled = |state| matches!(state, InstanceState::Live | InstanceState::Failing);
        self.inner.jobs.is_idle()
            && self.engine.instances().iter().all(|entry| settled(entry.shown_state()))
    }

    pub(crate) async fn choose_for_drill(&self) -> Result<Option<Instance>, EngineError> {
        self.choose(&self.engine.store().first_stored().await?).await
    }

    /// An instance to test. Failing instances are skipped: they would also fail on their backup,
    /// and have an alert already.
    async fn choose(
        &self,
        stored: &HashMap<InstanceId, Timestamp>,
    ) -> Result<Option<Instance>, EngineError> {
        let drills = self.engine.store().drills().await?;
        let drills: HashMap<_, _> = drills.iter().map(|d| (&d.instance, d)).collect();
        let candidates = self.engine.instances().into_iter().filter(|entry| {
            let desired = &entry.instance.desired;
            desired.presence == Presence::Present
                && !desired.volumes.awaits_restore()
                && entry.state != InstanceState::Failing
                && stored.contains_key(&entry.instance.id)
        });
        let mut candidates: Vec<_> = candidates
            .map(|entry| (rank(drills.get(&entry.instance.id).copied()), entry.instance))
            .collect();
        candidates.sort_by_key(|(rank, _)| *rank);
        let chosen = first_half(&candidates).choose(&mut rand::rng());
        Ok(chosen.map(|(_, instance)| Instance::clone(instance)))
    }

    /// Reports the time and the result of the last drill.
    pub(crate) async fn check_drill(&self) -> Check {
        let drills = match self.engine.store().drills().await {
            Ok(drills) => drills,
            Err(e) => {
                return Check::error(
                    CHECK,
                    e.to_string(),
                    "check the disk that holds the data folder, then restart the daemon",
                );
            }
        };
        // A failed drill is reported until a drill of the same instance succeeds.
        let Some(drill) = drills.iter().find(|d| d.error.is_some()).or_else(|| drills.first())
        else {
            return Check::ok(
                CHECK,
                match self.inner.settings.drill_days {
                    0 => {
                        "no backup was tested yet; automatic drills are off (backup.drill_days is 0)"
                    }
                    _ => {
                        "no backup was tested yet; the first drill is in the night after the first backup"
                    }
                },
            );
        };
        let Drill { name, at, error, .. } = drill;
        match error {
            None => Check::ok(CHECK, format!("{name} started on its backup at {at}")),
            Some(why) => Check::error(
                CHECK,
                format!("{name} did not start on its backup at {at}: {why}"),
                format!(
                    "startclaw backup {name}, then: startclaw drill {name}; docs/backups.md says what a drill does"
                ),
            ),
        }
    }
}

/// Sets the metric of the last drill.
pub(crate) fn show(drill: &Drill) {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds are exact in an f64")]
    let seconds = drill.at.as_millis() as f64 / 1000.0;
    metrics::gauge!("startclaw_last_drill_timestamp_seconds").set(seconds);
}

/// Failed ones come first, to be tested again; then those that were never tested, then the longest
/// ago.
fn rank(last: Option<&Drill>) -> (bool, Option<Timestamp>) {
    (last.is_none_or(|d| d.error.is_none()), last.map(|d| d.at))
}

/// The candidates of the random choice: the failed ones, or else the half that was tested longest
/// ago, which includes all that were never tested.
fn first_half<T>(ranked: &[((bool, Option<Timestamp>), T)]) -> &[((bool, Option<Timestamp>), T)] {
    let failed = ranked.iter().take_while(|((good, _), _)| !good).count();
    let never = ranked.iter().take_while(|((_, at), _)| at.is_none()).count();
    let many = if failed > 0 { failed } else { never.max(ranked.len().div_ceil(2)) };
    &ranked[..many]
}

/// Whether a drill is due. It has a fixed time of day, after the nightly backups; a missed one (the
/// host was off or busy) is made up for. A failed one is retried the next day.
fn is_due(
    now: Timestamp,
    settings: &BackupSettings,
    first_backup: Timestamp,
    last: Option<&Drill>,
) -> bool {
    let minutes = i64::from(settings.at.minutes()) + i64::from(settings.spread_minutes);
    let of_day = (minutes + AFTER_BACKUPS) * MINUTE % DAY_MS;
    let days = (now.as_millis() - of_day).div_euclid(DAY_MS);
    let due = Timestamp::from_millis(days * DAY_MS + of_day);
    // Times in the future come from a clock that was ahead for a while, and are ignored.
    let last = last.filter(|d| d.at <= now);
    let wait = |d: &Drill| if d.error.is_some() { 1 } else { settings.drill_days };
    first_backup < due
        && last.is_none_or(|d| {
            // The tolerance is for drills that took long or started late.
            due.since(d.at) + 12 * HOUR >= 24 * HOUR * wait(d)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn drilled(when: &str, error: Option<&str>) -> Drill {
        Drill {
            instance: InstanceId("a".into()),
            name: startclaw_model::Name::parse("alice").unwrap(),
            snapshot: None,
            at: at(when),
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn a_drill_is_due_once_a_month_in_the_night_and_made_up_for_when_it_was_missed() {
        let settings = BackupSettings::default();
        let due = |now: &str, last: Option<&Drill>| {
            is_due(at(now), &settings, at("2026-02-01T12:00:00Z"), last)
        };
        assert!(!due("2026-02-01T23:00:00Z", None), "not on the day of the first backup");
        assert!(!due("2026-02-02T04:59:00Z", None));
        assert!(due("2026-02-02T05:01:00Z", None));
        let last = drilled("2026-02-02T05:02:00Z", None);
        for not_yet in ["2026-02-02T05:03:00Z", "2026-02-03T05:01:00Z", "2026-03-04T04:59:00Z"] {
            assert!(!due(not_yet, Some(&last)), "{not_yet}");
        }
        assert!(due("2026-03-04T05:01:00Z", Some(&last)));
        assert!(due("2026-06-01T17:00:00Z", Some(&last)), "the machine was off");
        let ahead = drilled("2031-01-01T00:00:00Z", None);
        assert!(due("2026-03-04T05:01:00Z", Some(&ahead)), "the clock had been wrong");
    }

    #[test]
    fn what_failed_is_tried_again_the_next_day() {
        let settings = BackupSettings::default();
        let last = drilled("2026-02-02T05:02:00Z", Some("damaged"));
        let due = |now: &str| is_due(at(now), &settings, at("2026-02-01T12:00:00Z"), Some(&last));
        assert!(!due("2026-02-02T17:00:00Z"));
        assert!(due("2026-02-03T05:01:00Z"));
    }

    #[test]
    fn chance_decides_among_those_that_failed_or_were_not_tried_for_long() {
        let chosen = |drills: &[Option<Drill>]| {
            let mut ranked: Vec<_> =
                drills.iter().enumerate().map(|(n, d)| (rank(d.as_ref()), n)).collect();
            ranked.sort_by_key(|(rank, _)| *rank);
            first_half(&ranked).iter().map(|(_, n)| *n).collect::<Vec<_>>()
        };
        let (old, new) =
            (drilled("2026-01-01T05:00:00Z", None), drilled("2026-02-01T05:00:00Z", None));
        let bad = drilled("2026-02-03T05:00:00Z", Some("damaged"));
        assert_eq!(chosen(&[]), [0; 0]);
        assert_eq!(chosen(&[Some(new.clone())]), [0]);
        assert_eq!(chosen(&[Some(new.clone()), Some(old.clone())]), [1]);
        assert_eq!(chosen(&[Some(new.clone()), None, Some(old.clone()), None]), [1, 3]);
        assert_eq!(chosen(&[Some(new), None, Some(bad), Some(old)]), [2]);
    }
}
