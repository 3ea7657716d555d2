//! Which copies were found whole, and the diagnostic check that none waits too long for it.

use std::time::Duration;

use startclaw_engine::{EngineError, LiveEntry};
use startclaw_model::{Check, InstanceId, Name, Presence, SnapshotId, Timestamp};
use startclaw_store::Copy;

use crate::Backups;

const CHECK: &str = "verification";
/// A week from one verification to the next, a night, and two nights that were missed.
const LATE: Duration = Duration::from_secs(10 * 24 * 3600);
/// How many instances a check names.
const NAMED: usize = 3;

impl Backups {
    /// The snapshots of an instance that a repository holds according to the database.
    pub(crate) async fn held_in(
        &self,
        id: &InstanceId,
        copy: Copy,
    ) -> Result<Vec<SnapshotId>, EngineError> {
        let snapshots = self.engine.store().snapshots(id).await?.into_iter();
        let held = snapshots.filter(|s| match copy {
            Copy::Local => s.local,
            Copy::Remote => s.remote,
        });
        Ok(held.map(|s| s.id).collect())
    }

    /// Stores that these snapshots were found whole now.
    pub(crate) async fn note_whole(
        &self,
        id: &InstanceId,
        copy: Copy,
        whole: &[SnapshotId],
    ) -> Result<(), EngineError> {
        self.engine.store().note_verified_copies(id, copy, whole, Timestamp::now()).await?;
        self.engine.show_backups().await
    }

    /// Checks that each instance's newest verified backup is recent.
    pub(crate) fn check_verification(&self) -> Check {
        if !self.inner.settings.nightly {
            let text = "backups are not verified, because nightly backups are off";
            return Check::warning(CHECK, text, "set backup.nightly to true");
        }
        let present = |entry: &LiveEntry| entry.instance.desired.presence == Presence::Present;
        let instances = self.engine.instances().into_iter().filter(present);
        let known = instances.map(|entry| Known {
            name: entry.instance.name.clone(),
            created: entry.instance.created_at,
            verified: entry.verified_backup.map(|verified| verified.taken_at),
        });
        recent(Timestamp::now(), &known.collect::<Vec<_>>())
    }
}

/// An instance, and when its newest verified backup was taken.
struct Known {
    name: Name,
    created: Timestamp,
    verified: Option<Timestamp>,
}

impl Known {
    fn is_late(&self, now: Timestamp) -> bool {
        now.since(self.verified.unwrap_or(self.created)) > LATE
    }
}

fn recent(now: Timestamp, all: &[Known]) -> Check {
    let late: Vec<_> = all.iter().filter(|known| known.is_late(now)).collect();
    if late.is_empty() {
        let text = match all.iter().filter_map(|known| known.verified).min() {
            Some(oldest) => format!("the oldest of the last verified backups is of {oldest}"),
            None => "no backup was verified yet; it is done in the first nights".to_owned(),
        };
        return Check::ok(CHECK, text);
    }
    let named = late.iter().take(NAMED).map(|known| match known.verified {
        Some(at) => format!("{} (the last is of {at})", known.name),
        None => format!("{} (none)", known.name),
    });
    let text = format!(
        "{} instances have no verified backup of the last {} days: {}{}",
        late.len(),
        LATE.as_secs() / (24 * 3600),
        named.collect::<Vec<_>>().join(", "),
        if late.len() > NAMED { ", ..." } else { "" },
    );
    Check::error(CHECK, text, "see startclaw alerts, and startclaw operations for failed backups")
}

#[cfg(test)]
mod tests {
    use startclaw_model::CheckStatus;

    use super::*;

    #[test]
    fn an_instance_whose_backups_were_not_verified_for_long_is_named() {
        let at = |day: i64| Timestamp::from_millis(day * 24 * 3600 * 1000);
        let known = |name: &str, created, verified: Option<i64>| Known {
            name: Name::parse(name).unwrap(),
            created: at(created),
            verified: verified.map(at),
        };
        let now = at(100);
        let good = recent(now, &[known("alice", 1, Some(91)), known("young", 95, None)]);
        assert_eq!(good.status, CheckStatus::Ok, "{good:?}");
        assert!(good.detail.contains(&at(91).to_string()), "{good:?}");
        let late = recent(
            now,
            &[known("alice", 1, Some(99)), known("bob", 1, Some(89)), known("carol", 1, None)],
        );
        assert_eq!(late.status, CheckStatus::Error, "{late:?}");
        assert!(
            late.detail.starts_with("2 instances") && !late.detail.contains("alice"),
            "{late:?}"
        );
        assert!(late.detail.contains("bob (the last") && late.detail.contains("carol (none)"));
    }
}
