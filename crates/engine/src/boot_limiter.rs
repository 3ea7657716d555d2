//! Limits concurrent boots. A boot takes seconds of one CPU, so only a few run in parallel: a
//! hundred instances that start at once must not starve each other and the live ones.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use startclaw_model::{InstanceId, Timestamp};

/// The limiter.
#[derive(Debug)]
pub(crate) struct BootLimiter {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    inside: HashSet<InstanceId>,
    /// Waiting instances that did not fail recently; they go before the failed ones.
    fresh: VecDeque<InstanceId>,
    failed: VecDeque<InstanceId>,
}

impl State {
    fn front(&self) -> Option<&InstanceId> {
        self.fresh.front().or_else(|| self.failed.front())
    }

    fn forget(&mut self, id: &InstanceId) {
        self.fresh.retain(|i| i != id);
        self.failed.retain(|i| i != id);
    }
}

impl BootLimiter {
    /// Allows `capacity` boots at a time.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an instance boot, or appends it to the waiting line; [`Self::release`] returns the next
    /// one.
    pub fn acquire(&self, id: &InstanceId, failed: bool) -> bool {
        let mut state = self.state();
        if state.inside.contains(id) {
            return true;
        }
        let first =
            state.front().is_none_or(|front| front == id || (!failed && state.fresh.is_empty()));
        if first && state.inside.len() < self.capacity {
            state.forget(id);
            state.inside.insert(id.clone());
            return true;
        }
        let waits = state.fresh.contains(id) || state.failed.contains(id);
        if !waits {
            let line = if failed { &mut state.failed } else { &mut state.fresh };
            line.push_back(id.clone());
        }
        false
    }

    /// Ends an instance's boot or its waiting; returns the instance to reconcile next.
    pub fn release(&self, id: &InstanceId) -> Option<InstanceId> {
        let mut state = self.state();
        let was_first = state.front() == Some(id);
        let was_inside = state.inside.remove(id);
        state.forget(id);
        let room = state.inside.len() < self.capacity;
        (room && (was_inside || was_first)).then(|| state.front().cloned()).flatten()
    }
}

/// The number of starts of an instance in an hour that boot without limits. A boot has at most 30
/// CPU-seconds, so these are 5 % of one CPU.
const UNLIMITED_STARTS: usize = 6;
const HOUR: Duration = Duration::from_secs(3600);

/// The recent starts of an instance. Without them, an instance that restarts repeatedly would use
/// the CPU without a limit all the time.
#[derive(Debug, Default)]
pub(crate) struct RecentStarts(VecDeque<Timestamp>);

impl RecentStarts {
    pub fn note(&mut self, now: Timestamp) {
        if self.0.len() > UNLIMITED_STARTS {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }

    /// Whether it was started so often in the last hour that it boots with its CPU limit.
    pub fn are_many(&self, now: Timestamp) -> bool {
        self.0.iter().filter(|at| now.since(**at) < HOUR).count() > UNLIMITED_STARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> InstanceId {
        InstanceId(n.to_string())
    }

    #[test]
    fn who_leaves_names_the_next_in_line() {
        let boots = BootLimiter::new(1);
        assert!(boots.acquire(&id(1), false));
        assert!(boots.acquire(&id(1), false), "it is inside already");
        assert!(!boots.acquire(&id(2), false) && !boots.acquire(&id(3), false));
        assert_eq!(boots.release(&id(1)), Some(id(2)));
        assert!(!boots.acquire(&id(3), false), "it is not its turn");
        assert!(boots.acquire(&id(2), false));
        assert_eq!(boots.release(&id(2)), Some(id(3)));
    }

    #[test]
    fn the_seventh_start_in_an_hour_is_one_too_many() {
        let at = |minute: i64| Timestamp::from_millis(minute * 60_000);
        let mut starts = RecentStarts::default();
        for minute in 0..6 {
            starts.note(at(minute));
        }
        assert!(!starts.are_many(at(6)));
        starts.note(at(6));
        assert!(starts.are_many(at(6)));
        assert!(!starts.are_many(at(60)), "the first is an hour ago");
        for minute in 61..70 {
            starts.note(at(minute));
        }
        assert!(starts.are_many(at(70)) && starts.0.len() == 7);
    }

    #[test]
    fn those_that_failed_go_last_and_a_line_does_not_stop_at_one_that_gave_up() {
        let boots = BootLimiter::new(1);
        assert!(boots.acquire(&id(1), false));
        assert!(!boots.acquire(&id(2), true) && !boots.acquire(&id(3), false));
        assert_eq!(boots.release(&id(1)), Some(id(3)));
        assert_eq!(boots.release(&id(3)), Some(id(2)), "3 gave up");
        assert!(boots.acquire(&id(4), false), "one that did not fail goes before 2");
        assert_eq!(boots.release(&id(4)), Some(id(2)));
        assert!(boots.acquire(&id(2), true));
        assert_eq!(boots.release(&id(2)), None);
    }
}
