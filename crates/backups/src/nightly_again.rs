//! Nightly backups that failed are tried again in the same night, after those of other instances.

use std::time::Duration;

use startclaw_engine::EngineError;
use startclaw_model::{Actor, InstanceId, Operation, Presence, Timestamp};

use crate::{Backups, nightly};

/// How often an instance's backup is requested in one night. Each request has attempts of its own,
/// which follow each other within minutes.
const TRIES: usize = 3;
/// How long after the first request the last one may begin.
const NIGHT: Duration = Duration::from_secs(6 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The factor by which each pause is longer than the one before.
const LONGER: u32 = 3;

/// What follows the failed tries of a night.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Nothing, or nothing yet.
    Wait,
    Retry,
    /// The night is over before another try was possible.
    GiveUp,
}

/// What follows `tries`, the requests of one night that did not succeed, oldest first. `pause` is
/// the first pause.
fn next(now: Timestamp, tries: &[&Operation], pause: Duration, others_first: bool) -> Next {
    let (Some(first), Some(last)) = (tries.first(), tries.last()) else { return Next::Wait };
    let Some(ended) = last.finished_at else { return Next::Wait };
    // The last try fires the alert itself.
    if tries.len() >= TRIES {
        return Next::Wait;
    }
    if first.created_at.plus(NIGHT) < now {
        return Next::GiveUp;
    }
    let pauses = u32::try_from(tries.len() - 1).unwrap_or(u32::MAX);
    let due = ended.plus(pause.saturating_mul(LONGER.saturating_pow(pauses)));
    if others_first || now < due { Next::Wait } else { Next::Retry }
}

/// Whether first tries of the night are open or still to begin.
fn others_are_first(unsuccessful: &[Operation], window: bool) -> bool {
    let open = |o: &&Operation| o.finished_at.is_none();
    let first = |o: &Operation| {
        let earlier = |e: &Operation| e.instance == o.instance && e.created_at < o.created_at;
        !unsuccessful.iter().any(earlier)
    };
    window || unsuccessful.iter().filter(open).any(first)
}

impl Backups {
    /// Requests the backups that failed tonight again, when it is time.
    pub(crate) async fn retry_nightly(&self, now: Timestamp) -> Result<(), EngineError> {
        let unsuccessful = self.engine.store().unsuccessful_nightly(now.minus(DAY)).await?;
        let window = nightly::is_window(now, &self.inner.settings);
        let others_first = others_are_first(&unsuccessful, window);
        let pause = self.engine.timing().nightly_again;
        for last in newest_of_each(&unsuccessful) {
            let tries = self.tries_of(&unsuccessful, &last.instance, now);
            match next(now, &tries, pause, others_first) {
                Next::Wait => {}
                _ if !self.is_still_wanted(last).await => {}
                Next::Retry => {
                    self.place_nightly(&last.instance, &last.name).await?;
                }
                Next::GiveUp => self.give_up(last).await?,
            }
        }
        Ok(())
    }

    /// Whether a failed backup will be requested again tonight: then it is no alert yet.
    pub(crate) async fn is_tried_again(&self, failed: &Operation) -> Result<bool, EngineError> {
        if !self.inner.settings.nightly || failed.actor != Actor::system() {
            return Ok(false);
        }
        let now = Timestamp::now();
        let unsuccessful = self.engine.store().unsuccessful_nightly(now.minus(DAY)).await?;
        let tries = self.tries_of(&unsuccessful, &failed.instance, now);
        let in_time = tries.first().is_some_and(|first| now < first.created_at.plus(NIGHT));
        Ok(in_time && tries.len() < TRIES)
    }

    /// The unsuccessful requests of an instance's night, oldest first.
    fn tries_of<'a>(
        &self,
        unsuccessful: &'a [Operation],
        id: &InstanceId,
        now: Timestamp,
    ) -> Vec<&'a Operation> {
        let due = nightly::due_at(now, &self.inner.settings, id);
        unsuccessful.iter().filter(|o| o.instance == *id && o.created_at >= due).collect()
    }

    /// Whether the instance is there, has data, and has no newer backup.
    async fn is_still_wanted(&self, failed: &Operation) -> bool {
        let Some(entry) = self.engine.instance(&failed.instance) else { return false };
        let desired = &entry.instance.desired;
        let saved = failed.snapshot.is_some()
            || entry.last_backup.is_some_and(|taken| taken > failed.created_at);
        !saved
            && desired.presence == Presence::Present
            && !desired.volumes.awaits_restore()
            // It has an alert already.
            && self.engine.lost_data(&entry.instance).await.is_none()
    }

    /// Fires the alert that was held back for another try.
    async fn give_up(&self, failed: &Operation) -> Result<(), EngineError> {
        let alert = format!("backup/{}", failed.name);
        if self.engine.verbs().alerts().await?.iter().any(|a| a.key == alert) {
            return Ok(());
        }
        let why = failed.error.as_deref().unwrap_or("the reason is not known");
        self.engine.store().fire(&alert, why).await?;
        self.engine.alerts_changed();
        Ok(())
    }
}

/// The newest request of each instance.
fn newest_of_each(unsuccessful: &[Operation]) -> impl Iterator<Item = &Operation> {
    unsuccessful.iter().enumerate().filter_map(|(at, operation)| {
        let newer = unsuccessful.get(at + 1..).unwrap_or_default();
        (!newer.iter().any(|o| o.instance == operation.instance)).then_some(operation)
    })
}

#[cfg(test)]
mod tests {
    use startclaw_model::{Name, OperationKind};

    use super::*;

    const MINUTE: i64 = 60 * 1000;

    /// A request at this minute, which took one if it is over.
    fn tried(instance: &str, minute: i64, over: bool) -> Operation {
        let name = Name::parse(instance).unwrap();
        let id = InstanceId(instance.into());
        let mut operation = Operation::new(OperationKind::Backup, id, name, Actor::system());
        operation.created_at = at(minute);
        operation.finished_at = over.then(|| at(minute + 1));
        operation
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(minute * MINUTE)
    }

    fn after(minute: i64, tries: &[Operation], others_first: bool) -> Next {
        let tries: Vec<_> = tries.iter().collect();
        next(at(minute), &tries, Duration::from_secs(15 * 60), others_first)
    }

    #[test]
    fn the_pauses_grow_and_the_third_failure_is_the_last() {
        let mut tries = vec![tried("alice", 0, true)];
        assert_eq!(after(15, &tries, false), Next::Wait);
        assert_eq!(after(16, &tries, false), Next::Retry);
        assert_eq!(after(16, &tries, true), Next::Wait);
        tries.push(tried("alice", 16, false));
        assert_eq!(after(300, &tries, false), Next::Wait, "it runs");
        tries[1].finished_at = Some(at(20));
        assert_eq!(after(64, &tries, false), Next::Wait);
        assert_eq!(after(65, &tries, false), Next::Retry);
        tries.push(tried("alice", 65, true));
        assert_eq!(after(300, &tries, false), Next::Wait);
    }

    #[test]
    fn a_night_that_leaves_no_time_for_another_try_ends_with_the_alert() {
        let tries = [tried("alice", 0, true)];
        assert_eq!(after(6 * 60, &tries, true), Next::Wait);
        assert_eq!(after(6 * 60 + 1, &tries, true), Next::GiveUp);
    }

    #[test]
    fn first_tries_of_other_instances_come_first() {
        let failed = tried("alice", 0, true);
        let alone = std::slice::from_ref(&failed);
        assert!(others_are_first(alone, true));
        assert!(!others_are_first(alone, false));
        assert!(others_are_first(&[failed.clone(), tried("bob", 5, false)], false));
        let retried = [failed, tried("bob", 5, true), tried("bob", 30, false)];
        assert!(!others_are_first(&retried, false), "retries run side by side");
    }

    #[test]
    fn each_instance_is_looked_at_once() {
        let all = [tried("alice", 0, true), tried("bob", 1, true), tried("alice", 9, true)];
        let newest: Vec<_> =
            newest_of_each(&all).map(|o| (o.name.as_str(), o.created_at)).collect();
        assert_eq!(newest, [("bob", at(1)), ("alice", at(9))]);
    }
}
