//! Whether the clock can be trusted: one that is wrong for a night must not make backups expire.

use std::time::Duration;

use startclaw_engine::EngineError;
use startclaw_model::Timestamp;
use startclaw_store::{Property, StoreError};

use crate::Backups;

/// The interval of checks.
const INTERVAL: Duration = Duration::from_secs(300);
/// How far the clock may be from the bucket's, and may be set back.
const TOLERANCE: Duration = Duration::from_secs(3600);
/// How far it may be ahead of the time that was seen last: a host may be off for some days.
const LONGEST_ABSENCE: Duration = Duration::from_secs(3 * 24 * 3600);
/// How long a clock that jumped is suspect, unless the bucket's confirms it.
const SUSPICION: Duration = Duration::from_secs(7 * 24 * 3600);

const ALERT: &str = "clock";

/// What the database knows of the clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Known {
    seen: Option<Timestamp>,
    suspect_until: Option<Timestamp>,
}

/// What is stored after a look at the clock.
fn judge(known: Known, now: Timestamp, bucket: Option<Timestamp>) -> Known {
    let back = |a: Timestamp, b: Timestamp| b.plus(TOLERANCE) < a;
    let jumped = known.seen.is_some_and(|seen| back(seen, now) || seen.plus(LONGEST_ABSENCE) < now);
    let suspect_until = match bucket {
        Some(time) if back(time, now) || back(now, time) => Some(now.plus(SUSPICION)),
        Some(_) => None,
        None if jumped => Some(now.plus(SUSPICION)),
        // Times in the far future come from the wrong clock itself.
        None => known.suspect_until.filter(|until| (now..now.plus(SUSPICION * 2)).contains(until)),
    };
    Known { seen: Some(now), suspect_until }
}

impl Backups {
    /// The time, unless the clock is suspect.
    pub(crate) async fn trusted_now(&self) -> Result<Option<Timestamp>, EngineError> {
        let known = self.check_clock(None).await?;
        Ok(known.suspect_until.is_none().then(Timestamp::now))
    }

    /// Looks at the clock until the engine stops.
    pub(crate) async fn watch_clock(self) {
        loop {
            if let Err(e) = self.check_clock(None).await {
                tracing::error!(error = ?e, "the database failed; checking the clock later");
            }
            if !self.engine.pause(INTERVAL).await {
                return;
            }
        }
    }

    /// Compares the clock with the time that was seen last, and with the bucket's.
    /// Returns what is known then.
    pub(crate) async fn check_clock(
        &self,
        bucket: Option<Timestamp>,
    ) -> Result<Known, EngineError> {
        // Otherwise one could take back what another one found at the same time.
        let _one = self.inner.checking_clock.lock().await;
        let (store, now) = (self.engine.store(), Timestamp::now());
        let known = self.known_clock().await?;
        let next = judge(known, now, bucket);
        let text = |time: Option<Timestamp>| {
            time.map(|time| time.as_millis().to_string()).unwrap_or_default()
        };
        store.set_property(Property::ClockSeen, &text(next.seen)).await?;
        if next.suspect_until != known.suspect_until {
            store.set_property(Property::ClockSuspectUntil, &text(next.suspect_until)).await?;
        }
        let news = match next.suspect_until {
            None => store.resolve(ALERT).await?,
            Some(until) if known.suspect_until.is_none() => {
                let before = known.seen.map(|seen| format!(", and was at {seen} before"));
                let detail = format!(
                    "the clock is at {now}{}; until {until} no backup expires, unless the bucket's clock confirms it",
                    before.unwrap_or_default()
                );
                store.fire(ALERT, &detail).await?
            }
            Some(_) => false,
        };
        if news {
            self.engine.alerts_changed();
        }
        Ok(next)
    }

    async fn known_clock(&self) -> Result<Known, StoreError> {
        let read = async |property| {
            let text = self.engine.store().property(property).await?;
            let number = text.and_then(|text| text.parse().ok());
            Ok::<_, StoreError>(number.map(Timestamp::from_millis))
        };
        Ok(Known {
            seen: read(Property::ClockSeen).await?,
            suspect_until: read(Property::ClockSuspectUntil).await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * 1000;

    fn hour(n: i64) -> Timestamp {
        Timestamp::from_millis((100_000 + n) * HOUR)
    }

    /// Whether the clock is suspect after it showed these hours, one after the other.
    fn suspect(hours: &[i64]) -> bool {
        let known = hours.iter().fold(Known::default(), |known, n| judge(known, hour(*n), None));
        known.suspect_until.is_some()
    }

    #[test]
    fn a_clock_that_jumps_is_suspect_for_a_week() {
        assert!(!suspect(&[0, 1, 2, 50]), "the host was off for two days");
        assert!(
            !suspect(&[2, 1]),
            "daylight saving does not change UTC, but a mistake of an hour may"
        );
        assert!(suspect(&[0, 24 * 60]), "two months ahead");
        assert!(!suspect(&[24 * 60, 24 * 61]), "a platform that is new");
        assert!(suspect(&[0, 24 * 60, 24 * 61, 24 * 62]), "it stays suspect");
        assert!(suspect(&[0, 24 * 60, 1]), "also when it is set back");
        let week: Vec<i64> = [0].into_iter().chain((0..9).map(|day| 24 * (60 + day))).collect();
        assert!(!suspect(&week), "a week later it is believed");
    }

    #[test]
    fn the_clock_of_the_bucket_decides() {
        let ahead = judge(Known { seen: Some(hour(0)), suspect_until: None }, hour(2000), None);
        assert!(ahead.suspect_until.is_some());
        let confirmed = judge(ahead, hour(2000), Some(hour(2000)));
        assert_eq!(confirmed.suspect_until, None);
        let denied = judge(confirmed, hour(2001), Some(hour(30)));
        assert!(denied.suspect_until.is_some());
    }
}
