//! Retention: which snapshots are kept in a repository, and why.

use std::{fmt, time::Duration};

use startclaw_backup::SnapshotInfo;
use startclaw_model::{Snapshot, SnapshotId, Timestamp};
use startclaw_store::Copy;

/// The part of a repository's snapshots that one run may delete: one in this many, and at least
/// [`AT_LEAST`]. If more expire at once, the clock may be wrong; the others go on later nights.
const SHARE: usize = 4;
const AT_LEAST: usize = 2;
/// How far a snapshot's time may be ahead of the clock.
const TOLERANCE: Duration = Duration::from_secs(3600);

/// The policy for one repository.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// How long snapshots are kept.
    pub keep: Duration,
    /// Which copies it is about.
    pub copy: Copy,
    /// Whether each snapshot also belongs into a second repository, in a bucket.
    pub has_bucket: bool,
    /// Whether nothing is deleted there, because the bucket is append-only.
    pub append_only: bool,
    /// The time, unless the clock is suspect.
    pub now: Option<Timestamp>,
}

/// Why a snapshot is kept or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Kept: it is the newest.
    Newest,
    /// Kept: it is not in the bucket yet.
    Unsent,
    /// Kept: it is not older than this many days.
    Young { days: u64 },
    /// Kept: the bucket is append-only.
    AppendOnly,
    /// Kept: its time is ahead of the clock.
    Ahead,
    /// Kept: the clock is suspect.
    ClockSuspect,
    /// Kept until a later night: enough are deleted in this one.
    Bounded,
    /// Deleted: it is older than this many days.
    Expired { days: u64 },
}

impl Reason {
    /// Whether the snapshot is kept.
    pub const fn keeps(self) -> bool {
        !matches!(self, Self::Expired { .. })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => write!(f, "kept: the newest"),
            Self::Unsent => write!(f, "kept: not in the bucket yet"),
            Self::Young { days } => write!(f, "kept: not older than {days} days"),
            Self::AppendOnly => write!(f, "kept: the bucket is append-only"),
            Self::Ahead => write!(f, "kept: its time is in the future"),
            Self::ClockSuspect => write!(f, "kept: the clock may be wrong"),
            Self::Bounded => write!(f, "kept until a later night: many expire at once"),
            Self::Expired { days } => write!(f, "deleted the next night: older than {days} days"),
        }
    }
}

/// Decides about the snapshots in a repository. `snapshots` are all of an instance, newest first;
/// the order is theirs, not that of their times, because clocks can be wrong.
pub(crate) fn decide(snapshots: &[Snapshot], policy: Policy) -> Vec<(SnapshotId, Reason)> {
    let held = snapshots.iter().filter(|s| match policy.copy {
        Copy::Local => s.local,
        Copy::Remote => s.remote,
    });
    let mut decided: Vec<_> = held
        .enumerate()
        .map(|(number, snapshot)| (snapshot.id.clone(), reason(number, snapshot, policy)))
        .collect();
    let mut left = share(decided.len());
    // The oldest go first.
    for (_, reason) in decided.iter_mut().rev().filter(|(_, reason)| !reason.keeps()) {
        if left == 0 {
            *reason = Reason::Bounded;
        } else {
            left -= 1;
        }
    }
    decided
}

/// How many of a repository's snapshots one run may delete.
fn share(snapshots: usize) -> usize {
    (snapshots / SHARE).max(AT_LEAST)
}

fn reason(number: usize, snapshot: &Snapshot, policy: Policy) -> Reason {
    let days = policy.keep.as_secs() / (24 * 3600);
    if number == 0 {
        return Reason::Newest;
    }
    if policy.copy == Copy::Local && policy.has_bucket && !snapshot.remote {
        return Reason::Unsent;
    }
    if policy.append_only {
        return Reason::AppendOnly;
    }
    let Some(now) = policy.now else { return Reason::ClockSuspect };
    if snapshot.taken_at > now.plus(TOLERANCE) {
        return Reason::Ahead;
    }
    if now.since(snapshot.taken_at) <= policy.keep {
        return Reason::Young { days };
    }
    Reason::Expired { days }
}

/// The snapshots of the control plane that are not needed any more: all are kept for a day, then one
/// a day, and none longer than `keep_days`. Newest first; the newest is always kept. As of other
/// repositories, a part at most in one run: the oldest ones.
pub(crate) fn thin(
    snapshots: &[SnapshotInfo],
    keep_days: u32,
    now: Option<Timestamp>,
) -> Vec<String> {
    let Some(now) = now else { return Vec::new() };
    let day = Duration::from_secs(24 * 3600);
    let mut kept: Option<Timestamp> = None;
    let mut gone = Vec::new();
    for snapshot in snapshots {
        let age = now.since(snapshot.taken_at);
        let needed = match kept {
            None => true,
            Some(_) if age <= day => true,
            Some(_) if age > day * keep_days => false,
            Some(next) => days(next) != days(snapshot.taken_at),
        };
        if needed {
            kept = Some(snapshot.taken_at);
        } else {
            gone.push(snapshot.id.clone());
        }
    }
    let later = gone.len().saturating_sub(share(snapshots.len()));
    gone.split_off(later)
}

fn days(time: Timestamp) -> i64 {
    time.as_millis().div_euclid(24 * 3600 * 1000)
}

#[cfg(test)]
mod tests {
    use startclaw_model::{InstanceId, Name};

    use super::*;

    const HOUR: i64 = 3600 * 1000;
    const DAY: i64 = 24 * HOUR;

    /// A repository over time: what was taken, and what the policy left.
    struct Simulation {
        snapshots: Vec<Snapshot>,
        taken: u64,
        policy: Policy,
    }

    impl Simulation {
        fn new(copy: Copy, keep_days: u64) -> Self {
            let keep = Duration::from_secs(keep_days * 24 * 3600);
            let policy = Policy { keep, copy, has_bucket: true, append_only: false, now: None };
            Self { snapshots: Vec::new(), taken: 0, policy }
        }

        /// A night: a backup at `clock`, which is sent or not, then retention; `trusted` is whether
        /// the clock is.
        fn night(&mut self, clock: i64, sent: bool, trusted: bool) {
            self.taken += 1;
            let at = Timestamp::from_millis(clock);
            self.snapshots.insert(
                0,
                Snapshot {
                    id: SnapshotId(format!("{:032x}", self.taken)),
                    instance: InstanceId("a".into()),
                    name: Name::parse("alice").unwrap(),
                    sequence: Some(self.taken),
                    taken_at: at,
                    files: 1,
                    bytes: 1,
                    added_bytes: 1,
                    local: true,
                    remote: sent,
                    verified_local: None,
                    verified_remote: None,
                },
            );
            let policy = Policy { now: trusted.then_some(at), ..self.policy };
            let gone: Vec<_> = decide(&self.snapshots, policy)
                .into_iter()
                .filter(|(_, reason)| !reason.keeps())
                .map(|(id, _)| id)
                .collect();
            self.snapshots.retain(|s| !gone.contains(&s.id));
        }

        /// The numbers of the snapshots that are left, newest first.
        fn left(&self) -> Vec<u64> {
            self.snapshots.iter().map(|s| s.sequence.unwrap()).collect()
        }
    }

    #[test]
    fn a_year_of_nights_keeps_thirty_days() {
        // Daylight saving: in summer a night begins an hour earlier in UTC.
        let begins = |night: i64| night * DAY - if (90..300).contains(&night) { HOUR } else { 0 };
        let mut sim = Simulation::new(Copy::Remote, 30);
        for night in 1..=365 {
            sim.night(begins(night), true, true);
            let young = |n: &i64| begins(night) - begins(*n) <= 30 * DAY;
            let expected: Vec<_> =
                (1..=night).rev().filter(young).map(|n| u64::try_from(n).unwrap()).collect();
            assert_eq!(sim.left(), expected, "night {night}");
        }
    }

    #[test]
    fn after_missed_nights_old_ones_go_a_quarter_a_night() {
        let mut sim = Simulation::new(Copy::Remote, 30);
        (1..=30).for_each(|night| sim.night(night * DAY, true, true));
        // The host is off for 100 days.
        sim.night(130 * DAY, true, true);
        assert_eq!(sim.left().len(), 31 - 7);
        let mut nights = 0;
        while sim.left().len() > nights + 1 {
            nights += 1;
            sim.night((130 + i64::try_from(nights).unwrap()) * DAY, true, true);
        }
        assert!((4..=12).contains(&nights), "{nights}");
        assert!(sim.left().iter().all(|n| *n > 30), "only those after it are left");
    }

    #[test]
    fn what_is_not_in_the_bucket_is_kept_however_old_it_becomes() {
        let mut sim = Simulation::new(Copy::Local, 7);
        (1..=5).for_each(|night| sim.night(night * DAY, true, true));
        (6..=40).for_each(|night| sim.night(night * DAY, false, true));
        assert_eq!(sim.left(), (6..=40).rev().collect::<Vec<_>>());
        sim.snapshots.iter_mut().for_each(|s| s.remote = true);
        (41..=60).for_each(|night| sim.night(night * DAY, true, true));
        assert_eq!(sim.left(), (53..=60).rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_clock_that_is_ahead_for_a_night_deletes_a_quarter_at_most_and_nothing_when_it_is_suspect()
    {
        for (trusted, lost) in [(true, 7), (false, 0)] {
            let mut sim = Simulation::new(Copy::Remote, 30);
            (1..=29).for_each(|night| sim.night(night * DAY, true, true));
            sim.night(90 * DAY, true, trusted);
            assert_eq!(sim.left().len(), 30 - lost);
            // The clock is right again: the one from the future is kept, and is not the newest.
            (31..=40).for_each(|night| sim.night(night * DAY, true, true));
            assert_eq!(sim.left()[0], 40);
            assert!(sim.left().contains(&30), "its time is in the future");
        }
    }

    #[test]
    fn a_clock_that_is_behind_deletes_nothing() {
        let mut sim = Simulation::new(Copy::Remote, 30);
        (1000..1020).for_each(|night| sim.night(night * DAY, true, true));
        sim.night(DAY, true, true);
        assert_eq!(sim.left().len(), 21);
        assert_eq!(sim.left()[0], 21, "the last one is the newest, whatever its time");
    }

    #[test]
    fn every_snapshot_has_a_reason() {
        let mut sim = Simulation::new(Copy::Remote, 2);
        (1..=3).for_each(|night| sim.night(night * DAY, true, true));
        let policy = Policy { now: Some(Timestamp::from_millis(4 * DAY)), ..sim.policy };
        let reasons: Vec<_> =
            decide(&sim.snapshots, policy).iter().map(|(_, r)| r.to_string()).collect();
        assert_eq!(
            reasons,
            [
                "kept: the newest",
                "kept: not older than 2 days",
                "deleted the next night: older than 2 days"
            ]
        );
    }

    #[test]
    fn a_clock_that_is_ahead_costs_a_quarter_of_the_control_plane_at_most() {
        let info = |number: i64| SnapshotInfo {
            id: number.to_string(),
            taken_at: Timestamp::from_millis(number * DAY),
            sequence: None,
            files: 1,
            bytes: 1,
            added_bytes: 1,
        };
        let all: Vec<_> = (0..28).rev().map(info).collect();
        let gone = thin(&all, 30, Some(Timestamp::from_millis(90 * DAY)));
        assert_eq!(gone, ["6", "5", "4", "3", "2", "1", "0"]);
    }

    #[test]
    fn the_control_plane_is_kept_hourly_for_a_day_and_daily_for_a_month() {
        let info = |hour: i64| SnapshotInfo {
            id: hour.to_string(),
            taken_at: Timestamp::from_millis(hour * HOUR),
            sequence: None,
            files: 1,
            bytes: 1,
            added_bytes: 1,
        };
        let mut kept: Vec<_> = Vec::new();
        for hour in 0..24 * 100 {
            kept.insert(0, info(hour));
            let now = Timestamp::from_millis(hour * HOUR);
            let gone = thin(&kept, 30, Some(now));
            kept.retain(|s| !gone.contains(&s.id));
            assert!(thin(&kept, 30, None).is_empty(), "not when the clock is suspect");
        }
        assert!((25 + 28..=25 + 31).contains(&kept.len()), "{}", kept.len());
        assert!(kept[..25].iter().zip(0..).all(|(s, n)| s.id == (24 * 100 - 1 - n).to_string()));
        assert!(
            kept[25..].iter().all(|s| s.id.parse::<i64>().unwrap() % 24 == 23),
            "the last of a day"
        );
    }
}
