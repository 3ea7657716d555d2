//! The present run of a container: which one it is, and how long it lasts. Durations are of the
//! monotonic clock, because the wall clock is set back and forth (a resumed VM, NTP).

use std::time::Duration;

use startclaw_host::{Container, ContainerState};
use startclaw_model::Timestamp;
use tokio::time::Instant;

/// What a worker knows of the run of an instance's container.
#[derive(Debug, Default)]
pub(crate) struct RunClock {
    run: Option<Run>,
    /// This daemon started the container and has not observed it since.
    started: bool,
    silent_since: Option<Instant>,
}

#[derive(Debug)]
struct Run {
    /// Identifies the run: no two runs of a container start at the same time.
    started_at: Timestamp,
    began: Instant,
}

impl RunClock {
    /// This daemon started the container.
    pub fn start(&mut self) {
        self.started = true;
    }

    /// Follows what was observed.
    pub fn observe(&mut self, container: Option<&Container>, now: Timestamp) {
        let Some(container) = container else { return };
        let Some(started_at) = container.started_at else { return };
        if self.run.as_ref().is_some_and(|run| run.started_at == started_at) {
            return;
        }
        let started = std::mem::take(&mut self.started);
        if !started && container.state != ContainerState::Running {
            return;
        }
        // One that an earlier daemon started has run before.
        let before = if started { Duration::ZERO } else { now.since(started_at) };
        let began = Instant::now().checked_sub(before).unwrap_or_else(Instant::now);
        self.run = Some(Run { started_at, began });
    }

    /// Whether this daemon started the container's present or last run, or saw it running.
    pub fn saw(&self, container: &Container) -> bool {
        self.run.as_ref().is_some_and(|run| Some(run.started_at) == container.started_at)
    }

    /// How long the run lasts.
    pub fn lasts(&self) -> Duration {
        self.run.as_ref().map_or(Duration::ZERO, |run| run.began.elapsed())
    }

    /// It does not answer.
    pub fn silent(&mut self) {
        self.silent_since.get_or_insert_with(Instant::now);
    }

    /// It answers, or cannot.
    pub fn heard(&mut self) {
        self.silent_since = None;
    }

    /// How long it has not answered.
    pub fn silent_for(&self) -> Option<Duration> {
        self.silent_since.map(|since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use startclaw_host::{Enforced, Exit};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn container(state: ContainerState, started_at: i64) -> Container {
        Container {
            state,
            digest: String::new(),
            enforced: Enforced::Nothing,
            limits_changed: false,
            cpu_used: None,
            started_at: Some(at(started_at)),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_changes_no_duration() {
        let mut clock = RunClock::default();
        clock.start();
        let running = container(ContainerState::Running, 1000);
        clock.observe(Some(&running), at(1000));
        tokio::time::advance(Duration::from_secs(10)).await;
        // Set forward by an hour, and back by two.
        for now in [4610, 1010 - 7200] {
            clock.observe(Some(&running), at(now));
            assert_eq!(clock.lasts(), Duration::from_secs(10));
        }
        let exit = Exit { code: 1, oom_killed: false, at: at(-6190) };
        assert!(clock.saw(&container(ContainerState::Exited(exit), 1000)));
        assert!(!clock.saw(&container(ContainerState::Exited(exit), 900)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_began_before_this_daemon_counts_from_its_start() {
        let mut clock = RunClock::default();
        let exit = Exit { code: 1, oom_killed: false, at: at(50) };
        clock.observe(Some(&container(ContainerState::Exited(exit), 40)), at(60));
        assert!(!clock.saw(&container(ContainerState::Exited(exit), 40)), "it ended before");
        let running = container(ContainerState::Running, 100);
        clock.observe(Some(&running), at(130));
        assert!(clock.saw(&running));
        assert_eq!(clock.lasts(), Duration::from_secs(30));
    }
}
