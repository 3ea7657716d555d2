//! The choice of a snapshot, as people write it.

use crate::{Snapshot, TimeZone, Timestamp};

/// A choice of a snapshot: `latest`, a day, a time, or an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotChoice {
    /// The newest.
    Latest,
    /// The newest of this day or time: from its first moment to the next day's.
    Between(Timestamp, Timestamp),
    /// The one whose id has this prefix.
    Id(String),
}

/// Why no snapshot is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoChoice {
    /// None matches.
    Unknown,
    /// More than one matches.
    Ambiguous,
    /// It has no copy.
    Missing,
}

/// The text names no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "say which snapshot: latest, a day (2026-02-08), a time (2026-02-08T03:12Z or 2026-02-08T05:12+02:00), or an id of at least 6 digits; days, and times without an offset, are in the time zone of the setting backup.time_zone"
)]
pub struct SnapshotChoiceError;

impl SnapshotChoice {
    /// Parses a choice. A time may leave out its seconds, and have an offset or a zone of its own;
    /// days and other times are in `zone`.
    pub fn parse(text: &str, zone: &TimeZone) -> Result<Self, SnapshotChoiceError> {
        let text = text.trim();
        if text == "latest" {
            return Ok(Self::Latest);
        }
        let id = (6..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        // `20260208` could be both; it is read as a day, because eight decimal digits are unlikely
        // in an id.
        if id && !(text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit())) {
            return Ok(Self::Id(text.to_ascii_lowercase()));
        }
        if let Ok(day) = text.parse::<jiff::civil::Date>()
            && !text.contains(['T', ' ', ':'])
        {
            let next = day.tomorrow().map_err(|_| SnapshotChoiceError)?;
            let midnight = |day: jiff::civil::Date| instant(day.at(0, 0, 0, 0), zone);
            return Ok(Self::Between(midnight(day)?, midnight(next)?));
        }
        let from = time(&text.replacen(' ', "T", 1), zone)?;
        // The precision of the text: a minute or a second.
        let clock = text.get(11..).unwrap_or_default();
        let clock = clock.split(['+', '-', 'Z', 'z', '[']).next().unwrap_or_default();
        let wide = if clock.matches(':').count() >= 2 { 1_000 } else { 60_000 };
        Ok(Self::Between(from, Timestamp::from_millis(from.as_millis() + wide)))
    }

    /// The chosen one of `snapshots`, which are ordered newest first.
    ///
    /// # Errors
    /// When none matches, or an id's prefix matches several.
    pub fn choose<'a>(&self, snapshots: &'a [Snapshot]) -> Result<&'a Snapshot, NoChoice> {
        let mut all = snapshots.iter().filter(|s| match self {
            Self::Latest => true,
            Self::Between(from, to) => (*from..*to).contains(&s.taken_at),
            Self::Id(start) => s.id.as_str().starts_with(start),
        });
        if matches!(self, Self::Id(_)) {
            let first = all.next().ok_or(NoChoice::Unknown)?;
            return match all.next() {
                Some(_) => Err(NoChoice::Ambiguous),
                None if first.is_missing() => Err(NoChoice::Missing),
                None => Ok(first),
            };
        }
        let mut problem = NoChoice::Unknown;
        for snapshot in all {
            if !snapshot.is_missing() {
                return Ok(snapshot);
            }
            problem = NoChoice::Missing;
        }
        Err(problem)
    }
}

/// A point in time: with a time zone or an offset, else in `zone`.
fn time(text: &str, zone: &TimeZone) -> Result<Timestamp, SnapshotChoiceError> {
    if let Ok(zoned) = text.parse::<jiff::Zoned>() {
        return Ok(Timestamp::from_millis(zoned.timestamp().as_millisecond()));
    }
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp::from_millis(instant.as_millisecond()));
    }
    // What is left must have neither: a civil time would ignore them.
    if text.contains('[') || text.get(11..).is_some_and(|clock| clock.contains(['+', '-'])) {
        return Err(SnapshotChoiceError);
    }
    instant(text.parse().map_err(|_| SnapshotChoiceError)?, zone)
}

fn instant(time: jiff::civil::DateTime, zone: &TimeZone) -> Result<Timestamp, SnapshotChoiceError> {
    zone.instant(time).ok_or(SnapshotChoiceError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InstanceId, Name, SnapshotId};

    fn parse(text: &str) -> Result<SnapshotChoice, SnapshotChoiceError> {
        SnapshotChoice::parse(text, &TimeZone::default())
    }

    fn taken(id: &str, at: &str) -> Snapshot {
        let time: jiff::Timestamp = at.parse().unwrap();
        Snapshot {
            id: SnapshotId(id.into()),
            instance: InstanceId("i".into()),
            name: Name::parse("alice").unwrap(),
            sequence: None,
            taken_at: Timestamp::from_millis(time.as_millisecond()),
            files: 1,
            bytes: 1,
            added_bytes: 1,
            local: true,
            remote: false,
            verified_local: None,
            verified_remote: None,
        }
    }

    #[test]
    fn a_day_takes_its_newest_and_a_time_or_an_id_is_exact() {
        let all = [
            taken("cccccc01", "2026-02-09T00:00:00Z"),
            taken("bbbbbb01", "2026-02-08T23:59:59.999Z"),
            taken("aaaaaa01", "2026-02-08T03:12:40Z"),
        ];
        let chosen = |text: &str| parse(text).unwrap().choose(&all).map(|s| s.id.as_str());
        assert_eq!(chosen("latest"), Ok("cccccc01"));
        assert_eq!(chosen("2026-02-08"), Ok("bbbbbb01"));
        assert_eq!(chosen("2026-02-07"), Err(NoChoice::Unknown));
        assert_eq!(chosen("2026-02-08T03:12Z"), Ok("aaaaaa01"));
        assert_eq!(chosen("2026-02-08 03:12:40"), Ok("aaaaaa01"));
        assert_eq!(chosen("2026-02-08T03:12:41Z"), Err(NoChoice::Unknown));
        assert_eq!(chosen("BBBBBB"), Ok("bbbbbb01"));
    }

    #[test]
    fn offsets_and_zones_are_honoured() {
        let all = [taken("aaaaaa01", "2026-02-08T03:12:40Z")];
        for (text, found) in [
            ("2026-02-08T08:12:40+05:00", true),
            ("2026-02-08T08:12+05:00", true),
            ("2026-02-08T03:12:40+05:00", false),
            ("2026-02-08T04:12:40[Europe/Berlin]", true),
            ("2026-02-08T03:12:40[Europe/Berlin]", false),
            ("2026-02-07 22:12:40-05:00", true),
        ] {
            let choice = parse(text).expect(text);
            assert_eq!(choice.choose(&all).is_ok(), found, "{text}: {choice:?}");
        }
        for refused in ["2026-02-08T03:12:40[Nowhere/City]", "2026-02-08T03:12:40+99:00"] {
            assert!(parse(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn days_and_times_without_an_offset_are_in_the_zone() {
        let all =
            [taken("bbbbbb01", "2026-02-08T18:20:00Z"), taken("aaaaaa01", "2026-02-08T03:12:00Z")];
        let kathmandu = "Asia/Kathmandu".parse().unwrap();
        let chosen = |text: &str| {
            let choice = SnapshotChoice::parse(text, &kathmandu).unwrap();
            choice.choose(&all).map(|s| s.id.as_str())
        };
        assert_eq!(chosen("2026-02-09"), Ok("bbbbbb01"), "there it is five past midnight");
        assert_eq!(chosen("2026-02-08"), Ok("aaaaaa01"));
        assert_eq!(chosen("2026-02-08 08:57"), Ok("aaaaaa01"));
        assert_eq!(chosen("2026-02-08T03:12Z"), Ok("aaaaaa01"));
        assert_eq!(chosen("2026-02-08T03:12"), Err(NoChoice::Unknown));
    }

    #[test]
    fn an_ambiguous_id_and_a_missing_snapshot_are_refused() {
        let mut all =
            [taken("aaaaaa02", "2026-02-09T00:00:00Z"), taken("aaaaaa01", "2026-02-08T00:00:00Z")];
        let chosen = |all: &[Snapshot], text: &str| {
            let choice = parse(text).unwrap();
            choice.choose(all).map(|s| s.id.as_str().to_owned())
        };
        assert_eq!(chosen(&all, "aaaaaa"), Err(NoChoice::Ambiguous));
        all[0].local = false;
        assert_eq!(chosen(&all, "aaaaaa02"), Err(NoChoice::Missing));
        assert_eq!(chosen(&all, "latest").unwrap(), "aaaaaa01");
        assert_eq!(chosen(&all, "2026-02-09"), Err(NoChoice::Missing));
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for text in ["", "yesterday", "2026-02-30", "12345", "../x", "2026-02-08T25:00Z"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
