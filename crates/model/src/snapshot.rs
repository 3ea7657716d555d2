//! A snapshot: a volume's content at one time.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{InstanceId, Name, Timestamp};

/// The name of the control plane's repository and alerts. It cannot be an instance's id: those are
/// UUIDs.
pub const CONTROL_PLANE: &str = "control-plane";

/// Identifies a snapshot in its instance's repository: 64 hexadecimal digits.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct SnapshotId(pub String);

impl SnapshotId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The displayed prefix of the id; unique within an instance.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A snapshot, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// The instance that it was taken of.
    pub instance: InstanceId,
    /// The instance's name at that time.
    pub name: Name,
    /// Its number in the order of the instance's snapshots, which does not depend on the clock;
    /// `None` for those of older versions, which are older than all others.
    pub sequence: Option<u64>,
    /// When.
    pub taken_at: Timestamp,
    /// Files in it.
    pub files: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// Bytes that were new and had to be stored.
    pub added_bytes: u64,
    /// Whether there is a copy on this host.
    pub local: bool,
    /// Whether there is a copy in the bucket.
    pub remote: bool,
    /// When the copy on this host was last found whole.
    pub verified_local: Option<Timestamp>,
    /// When the copy in the bucket was last found whole.
    pub verified_remote: Option<Timestamp>,
}

/// Where a copy of a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackupPlace {
    /// On this host, besides the destination.
    Host,
    /// At the destination of backups.
    Destination,
}

impl BackupPlace {
    /// As in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Destination => "destination",
        }
    }
}

/// A copy of a snapshot that was found whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VerifiedBackup {
    /// When the snapshot was taken.
    #[schema(value_type = String, format = DateTime)]
    pub taken_at: Timestamp,
    /// When the copy was last found whole.
    #[schema(value_type = String, format = DateTime)]
    pub verified_at: Timestamp,
    /// Where the copy is.
    pub place: BackupPlace,
}

/// How long an instance was frozen for its last backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BackupPause {
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Its length, in milliseconds.
    pub millis: u64,
    /// Whether it took longer than `backup.longest_pause`: then the backup failed.
    pub exceeded: bool,
}

impl BackupPause {
    /// A warning if the pause exceeded this limit, or took more than half of it, so that a later
    /// backup may fail.
    pub fn warning(&self, limit: std::time::Duration) -> Option<String> {
        let (taken, seconds) = (self.millis, limit.as_secs());
        if self.exceeded {
            let text = "the last backup failed: it had to freeze the instance for more than";
            return Some(format!("{text} {} s; raise backup.longest_pause", taken / 1000));
        }
        let near = u128::from(taken) * 2 > limit.as_millis();
        near.then(|| {
            format!(
                "the last backup froze the instance for {}.{} s, and with more than {seconds} s it \
                 fails; raise backup.longest_pause",
                taken / 1000,
                taken % 1000 / 100
            )
        })
    }
}

/// A choice of a snapshot: `latest`, a day, a time, or an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotChoice {
    /// The newest.
    Latest,
    /// The newest of this day, in UTC: from its first moment to the next day's.
    Between(Timestamp, Timestamp),
    /// The one whose id has this prefix.
    Id(String),
}

impl Snapshot {
    /// Whether it has no copy: it was stored, and was not deleted by us.
    pub const fn is_missing(&self) -> bool {
        !self.local && !self.remote
    }

    /// The copy that was found whole; the one at the destination if both were.
    pub fn verified(&self) -> Option<VerifiedBackup> {
        let copy = |place, exists: bool, at: Option<Timestamp>| {
            let verified_at = at.filter(|_| exists)?;
            Some(VerifiedBackup { taken_at: self.taken_at, verified_at, place })
        };
        copy(BackupPlace::Destination, self.remote, self.verified_remote)
            .or_else(|| copy(BackupPlace::Host, self.local, self.verified_local))
    }
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
    "say which snapshot: latest, a day (2026-02-08), a time (2026-02-08T03:12Z or 2026-02-08T05:12+02:00), or an id of at least 6 digits; days, and times without an offset, are in UTC"
)]
pub struct SnapshotChoiceError;

impl SnapshotChoice {
    /// Parses a choice. A time may leave out its seconds and the `Z`, or have an offset or a time
    /// zone.
    pub fn parse(text: &str) -> Result<Self, SnapshotChoiceError> {
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
            return Ok(Self::Between(midnight(day)?, midnight(next)?));
        }
        let from = time(&text.replacen(' ', "T", 1))?;
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

/// A point in time: with a time zone or an offset, else in UTC.
fn time(text: &str) -> Result<Timestamp, SnapshotChoiceError> {
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
    stamp(text.parse().map_err(|_| SnapshotChoiceError)?)
}

fn midnight(day: jiff::civil::Date) -> Result<Timestamp, SnapshotChoiceError> {
    stamp(day.at(0, 0, 0, 0))
}

fn stamp(time: jiff::civil::DateTime) -> Result<Timestamp, SnapshotChoiceError> {
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| SnapshotChoiceError)?;
    Ok(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_near_its_limit_is_a_warning() {
        let pause = |millis, exceeded| {
            let pause = BackupPause { at: Timestamp::from_millis(0), millis, exceeded };
            pause.warning(std::time::Duration::from_secs(10))
        };
        assert_eq!(pause(5000, false), None);
        let near = pause(5150, false).unwrap();
        assert!(near.contains("for 5.1 s, and with more than 10 s it fails"), "{near}");
        assert!(pause(10_020, true).unwrap().contains("raise backup.longest_pause"));
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
        let chosen =
            |text: &str| SnapshotChoice::parse(text).unwrap().choose(&all).map(|s| s.id.as_str());
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
            let choice = SnapshotChoice::parse(text).expect(text);
            assert_eq!(choice.choose(&all).is_ok(), found, "{text}: {choice:?}");
        }
        for refused in ["2026-02-08T03:12:40[Nowhere/City]", "2026-02-08T03:12:40+99:00"] {
            assert!(SnapshotChoice::parse(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn an_ambiguous_id_and_a_missing_snapshot_are_refused() {
        let mut all =
            [taken("aaaaaa02", "2026-02-09T00:00:00Z"), taken("aaaaaa01", "2026-02-08T00:00:00Z")];
        let chosen = |all: &[Snapshot], text: &str| {
            let choice = SnapshotChoice::parse(text).unwrap();
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
            assert!(SnapshotChoice::parse(text).is_err(), "{text}");
        }
    }
}
