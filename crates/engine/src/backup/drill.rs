//! Drills: once a month it is tried whether an instance's newest backup would come back. Here is
//! when, and of which instance; `rehearse` does it.

use std::{collections::HashMap, time::Duration};

use rand::seq::IndexedRandom;
use startclaw_model::{
    Actor, Check, Instance, InstanceId, InstanceState, Name, Operation, OperationKind, Presence,
    Timestamp,
};
use startclaw_store::Drill;

use super::BackupSettings;
use crate::{Engine, EngineError};

/// Between two checks of whether one is due.
const POLL_INTERVAL: Duration = Duration::from_secs(60);
const MINUTE: i64 = 60 * 1000;
const HOUR: Duration = Duration::from_secs(3600);
const DAY_MS: i64 = 24 * 60 * MINUTE;
/// How long after the last of the nightly backups began drills begin, in minutes.
const AFTER_BACKUPS: i64 = 60;
const CHECK: &str = "drill";

impl Engine {
    /// Asks for a drill of this instance, or of one that is chosen. Asked again while one of the
    /// same instance is in progress, it answers that one.
    pub async fn drill(
        &self,
        actor: &Actor,
        name: Option<&Name>,
    ) -> Result<Operation, EngineError> {
        let stored = self.store().first_stored().await?;
        let instance = match name {
            Some(name) => {
                let found = self.store().instance(name).await;
                found.map_err(|e| EngineError::of(name, e))?
            }
            None => self.choose(&stored).await?.ok_or_else(|| {
                EngineError::Conflict(
                    "no instance has a backup that could be tried; make one with: startclaw backup NAME"
                        .into(),
                )
            })?,
        };
        if !stored.contains_key(&instance.id) {
            return Err(EngineError::Conflict(format!(
                "there is no backup of {0} where backups are kept; make one with: startclaw backup {0}",
                instance.name
            )));
        }
        let kind = OperationKind::Drill;
        let operation =
            Operation::new(kind, instance.id.clone(), instance.name.clone(), actor.clone());
        self.submit_job(operation).await
    }

    /// Asks for drills when they are due and nothing else is running, until the engine stops.
    pub(crate) async fn run_drills(self) {
        match self.store().drills().await {
            Ok(drills) => drills.first().into_iter().for_each(show),
            Err(e) => {
                tracing::error!(error = ?e, "the database failed; the last drill is not known")
            }
        }
        while self.pause(POLL_INTERVAL).await {
            if let Err(e) = self.request_drill(Timestamp::now()).await {
                tracing::error!(error = ?e, "a drill could not be asked for; retrying");
            }
        }
    }

    async fn request_drill(&self, now: Timestamp) -> Result<(), EngineError> {
        let settings = &self.inner.settings.backup;
        if settings.drill_days == 0 || !self.is_quiet() {
            return Ok(());
        }
        let stored = self.store().first_stored().await?;
        let drills = self.store().drills().await?;
        let first = stored.values().min().copied();
        if first.is_some_and(|first| is_due(now, settings, first, drills.first()))
            && let Some(instance) = self.choose(&stored).await?
        {
            self.drill(&Actor::system(), Some(&instance.name)).await?;
        }
        Ok(())
    }

    /// Whether nobody waits for anything.
    fn is_quiet(&self) -> bool {
        let settled = |state| matches!(state, InstanceState::Live | InstanceState::Failing);
        self.inner.jobs.is_idle()
            && self.inner.live.all().iter().all(|entry| settled(entry.shown_state()))
    }

    /// An instance to try. One that does not come up on its own would not come up on its backup
    /// either, and says so already.
    async fn choose(
        &self,
        stored: &HashMap<InstanceId, Timestamp>,
    ) -> Result<Option<Instance>, EngineError> {
        let drills = self.store().drills().await?;
        let drills: HashMap<_, _> = drills.iter().map(|d| (&d.instance, d)).collect();
        let candidates = self.inner.live.all().into_iter().filter(|entry| {
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

    /// Tells when the last drill was, and how it ended.
    pub(crate) async fn check_drill(&self) -> Check {
        let drills = match self.store().drills().await {
            Ok(drills) => drills,
            Err(e) => return Check::error(CHECK, e.to_string(), "see what the database says"),
        };
        // One that failed stands until the same instance's backup is found good.
        let Some(drill) = drills.iter().find(|d| d.error.is_some()).or_else(|| drills.first())
        else {
            return Check::ok(
                CHECK,
                match self.inner.settings.backup.drill_days {
                    0 => "no backup was tried yet, and none is by itself (backup.drill_days is 0)",
                    _ => "no backup was tried yet; the first is in the night after it was made",
                },
            );
        };
        let Drill { name, at, error, .. } = drill;
        match error {
            None => Check::ok(CHECK, format!("{name} came up on its backup at {at}")),
            Some(why) => Check::error(
                CHECK,
                format!("{name} did not come up on its backup at {at}: {why}"),
                format!(
                    "startclaw backup {name}, then: startclaw drill {name}; docs/backups.md tells what a drill does"
                ),
            ),
        }
    }
}

/// Shows the last drill in the metrics.
pub(super) fn show(drill: &Drill) {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds are exact in an f64")]
    let seconds = drill.at.as_millis() as f64 / 1000.0;
    metrics::gauge!("startclaw_last_drill_timestamp_seconds").set(seconds);
}

/// Those that failed come first, to be found good again; then those that were never tried, and
/// those that were tried long ago.
fn rank(last: Option<&Drill>) -> (bool, Option<Timestamp>) {
    (last.is_none_or(|d| d.error.is_none()), last.map(|d| d.at))
}

/// Those among whom chance decides: those that failed, or the half that was tried longest ago.
fn first_half<T>(ranked: &[((bool, Option<Timestamp>), T)]) -> &[((bool, Option<Timestamp>), T)] {
    let failed = ranked.iter().take_while(|((good, _), _)| !good).count();
    let never = ranked.iter().take_while(|((_, at), _)| at.is_none()).count();
    let many = if failed > 0 { failed } else { never.max(ranked.len().div_ceil(2)) };
    &ranked[..many]
}

/// Whether a drill is due. It has a time of its own each day, after the nightly backups; one that
/// was missed, because the host was off or busy, is made up for. What failed is retried the
/// next day.
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
    // What a clock that was ahead for a while left behind does not count.
    let last = last.filter(|d| d.at <= now);
    let wait = |d: &Drill| if d.error.is_some() { 1 } else { settings.drill_days };
    first_backup < due
        && last.is_none_or(|d| {
            // It took a while, or came late that day.
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
            name: Name::parse("alice").unwrap(),
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
