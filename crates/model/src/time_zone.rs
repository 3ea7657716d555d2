//! The time zone in which days and times of day are read and shown.

use std::{fmt, str::FromStr, time::Duration};

use jiff::{ToSpan, civil};
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A time zone of the IANA database, such as `Europe/Berlin`. The default is UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeZone(jiff::tz::TimeZone);

/// The text names no time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time zone: it is like Europe/Berlin, or UTC")]
pub struct TimeZoneError(String);

impl TimeZone {
    /// Its name in the IANA database.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The day in this zone.
    pub fn day(&self, at: Timestamp) -> civil::Date {
        self.zoned(at).date()
    }

    /// The point in time that clocks in this zone show as `time`. Of an hour that a clock change
    /// repeats, the first; times that it leaves out are read as after the change.
    ///
    /// `None` for years that cannot be represented.
    pub fn instant(&self, time: civil::DateTime) -> Option<Timestamp> {
        let zoned = time.to_zoned(self.0.clone()).ok()?;
        Some(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
    }

    /// `after` this time of day (minutes since midnight), on the last day on which that is at `now`
    /// or before: once for each day, also when clocks change.
    pub fn last(&self, now: Timestamp, minutes: u32, after: Duration) -> Timestamp {
        let minutes = i64::from(minutes);
        let of = |day: civil::Date| {
            Some(self.instant(day.at(0, 0, 0, 0) + minutes.minutes())?.plus(after))
        };
        let mut day = self.day(now);
        loop {
            match of(day) {
                Some(time) if time <= now => return time,
                _ => {}
            }
            let Ok(before) = day.yesterday() else { return Timestamp::default() };
            day = before;
        }
    }

    /// A text of the form of `strftime`, in which `%Z` is the zone.
    pub fn format(&self, at: Timestamp, form: &str) -> String {
        self.zoned(at).strftime(form).to_string()
    }

    fn zoned(&self, at: Timestamp) -> jiff::Zoned {
        let instant = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default();
        instant.to_zoned(self.0.clone())
    }
}

impl Default for TimeZone {
    fn default() -> Self {
        Self(jiff::tz::TimeZone::UTC)
    }
}

impl FromStr for TimeZone {
    type Err = TimeZoneError;

    fn from_str(text: &str) -> Result<Self, TimeZoneError> {
        let zone = jiff::tz::TimeZone::get(text).map_err(|_| TimeZoneError(text.to_owned()))?;
        Ok(Self(zone))
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<String> for TimeZone {
    type Error = TimeZoneError;
    fn try_from(text: String) -> Result<Self, TimeZoneError> {
        text.parse()
    }
}

impl From<TimeZone> for String {
    fn from(zone: TimeZone) -> Self {
        zone.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn zone(name: &str) -> TimeZone {
        name.parse().unwrap()
    }

    #[test]
    fn a_zone_is_read_and_written_alike() {
        for good in ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York"] {
            assert_eq!(zone(good).to_string(), good);
        }
        for bad in ["", "Berlin", "Europe/Nowhere", "+02:00", "../etc/passwd"] {
            assert!(bad.parse::<TimeZone>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_of_day_comes_once_a_day_also_when_clocks_change() {
        // In Berlin the night of 2026-03-29 has no 02:30, that of 2026-10-25 has two.
        let berlin = zone("Europe/Berlin");
        for (begin, days) in [("2026-03-27T12:00:00Z", 4), ("2026-10-23T12:00:00Z", 4)] {
            let begin = at(begin);
            let quarters = (1..=days * 96).map(|n| begin.plus(Duration::from_secs(n * 900)));
            let mut seen: Vec<_> =
                quarters.map(|now| berlin.last(now, 150, Duration::ZERO)).collect();
            seen.dedup();
            seen.retain(|time| *time > begin);
            assert_eq!(seen.len() as u64, days, "{seen:?}");
        }
        let shown = |text: &str| berlin.last(at(text), 150, Duration::ZERO).to_string();
        assert_eq!(shown("2026-03-29T12:00:00Z"), "2026-03-29T01:30:00.000Z");
        assert_eq!(shown("2026-10-25T12:00:00Z"), "2026-10-25T00:30:00.000Z");
        assert_eq!(shown("2026-07-01T00:29:00Z"), "2026-06-30T00:30:00.000Z");
    }

    #[test]
    fn a_time_after_the_next_midnight_belongs_to_the_day_before() {
        let hours = |n: u64| Duration::from_secs(n * 3600);
        let late = 23 * 60;
        let last = TimeZone::default().last(at("2026-02-02T04:00:00Z"), late, hours(6));
        assert_eq!(last, at("2026-02-01T05:00:00Z"));
        let last = TimeZone::default().last(at("2026-02-02T05:00:00Z"), late, hours(6));
        assert_eq!(last, at("2026-02-02T05:00:00Z"));
    }

    #[test]
    fn times_are_shown_with_the_zone() {
        let summer = at("2026-07-01T10:00:00Z");
        assert_eq!(zone("Europe/Berlin").format(summer, "%H:%M %Z"), "12:00 CEST");
        assert_eq!(TimeZone::default().format(summer, "%H:%M %Z"), "10:00 UTC");
    }
}
