//! Limits of calls to Docker: each kind has a deadline, a hanging call blocks few callers, and
//! hanging calls are reported.
//!
//! Docker can hang in one call and answer all others: `volume ls` waits for a volume that is being
//! removed, for example. So a call of each kind is tracked for its object (the container or volume
//! it is about). While one hangs, a second call for the same object fails at once, and each kind
//! has a limited number of concurrent calls, so that it cannot block all workers of the engine.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bollard::errors::Error;
use startclaw_model::Timestamp;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout},
};

/// A hanging call that was not repeated for this long is dropped: its object may be gone.
const FORGOTTEN: Duration = Duration::from_secs(300);

/// The kinds of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Call {
    Connect,
    Info,
    ListContainers,
    InspectContainer,
    CreateContainer,
    StartContainer,
    StopContainer,
    UpdateContainer,
    PauseContainer,
    RemoveContainer,
    InspectImage,
    ListNetworks,
    InspectNetwork,
    CreateNetwork,
    RemoveNetwork,
    ListVolumes,
    InspectVolume,
    CreateVolume,
    RemoveVolume,
}

impl Call {
    /// The equivalent command of the Docker CLI.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connect => "docker version",
            Self::Info => "docker info",
            Self::ListContainers => "docker ps",
            Self::InspectContainer => "docker inspect",
            Self::CreateContainer => "docker create",
            Self::StartContainer => "docker start",
            Self::StopContainer => "docker stop",
            Self::UpdateContainer => "docker update",
            Self::PauseContainer => "docker pause",
            Self::RemoveContainer => "docker rm",
            Self::InspectImage => "docker image inspect",
            Self::ListNetworks => "docker network ls",
            Self::InspectNetwork => "docker network inspect",
            Self::CreateNetwork => "docker network create",
            Self::RemoveNetwork => "docker network rm",
            Self::ListVolumes => "docker volume ls",
            Self::InspectVolume => "docker volume inspect",
            Self::CreateVolume => "docker volume create",
            Self::RemoveVolume => "docker volume rm",
        }
    }

    /// The deadline. Reads take milliseconds, also on a busy host; a start takes seconds; the
    /// removal of a large volume takes longest.
    pub(super) fn limit(self) -> Duration {
        Duration::from_secs(match self {
            Self::Connect
            | Self::Info
            | Self::InspectContainer
            | Self::InspectImage
            | Self::InspectNetwork
            | Self::InspectVolume
            | Self::ListContainers
            | Self::ListNetworks
            | Self::ListVolumes => 10,
            Self::UpdateContainer | Self::PauseContainer | Self::CreateVolume => 30,
            Self::CreateContainer
            | Self::StartContainer
            | Self::CreateNetwork
            | Self::RemoveNetwork => 60,
            Self::StopContainer | Self::RemoveContainer | Self::RemoveVolume => 120,
        })
    }

    /// How long the oldest call in flight may take before others fail instead of waiting for it.
    fn patience(self) -> Duration {
        self.limit() / 4
    }

    /// The number of concurrent calls. An observation makes four kinds of reads at once, so six of
    /// each leave some of the engine's 32 workers for calls that do not hang.
    fn places(self) -> usize {
        match self {
            Self::StopContainer | Self::RemoveContainer => 12,
            _ => 6,
        }
    }
}

/// A call that hangs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hang {
    pub(super) call: Call,
    /// Its object; empty for a list of all.
    pub(super) object: String,
    pub(super) since: Timestamp,
}

/// All calls to one Docker.
#[derive(Debug, Default)]
pub(super) struct Calls {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    number: u64,
    flying: HashMap<Call, BTreeMap<u64, Flight>>,
    hanging: BTreeMap<(Call, String), Hanging>,
}

#[derive(Debug)]
struct Flight {
    object: String,
    begun: Instant,
    at: Timestamp,
}

#[derive(Debug)]
struct Hanging {
    since: Timestamp,
    seen: Instant,
}

/// A call in flight, until this is dropped.
struct Ticket<'a> {
    calls: &'a Calls,
    call: Call,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if let Some(flying) = self.calls.state().flying.get_mut(&self.call) {
            flying.remove(&self.number);
        }
        self.calls.freed.notify_waiters();
    }
}

impl Calls {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call about `object` within the kind's own limit.
    pub(super) async fn run<T>(
        &self,
        call: Call,
        object: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.run_within(call, object, call.limit(), work).await
    }

    /// Makes a call about `object`. [`Error::RequestTimeoutError`] after `limit`, or at once when
    /// calls of this kind hang.
    pub(super) async fn run_within<T>(
        &self,
        call: Call,
        object: &str,
        limit: Duration,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let ticket = self.begin(call, object).await.ok_or(Error::RequestTimeoutError)?;
        let at = Timestamp::now();
        let result = timeout(limit, work).await.unwrap_or(Err(Error::RequestTimeoutError));
        let key = (call, object.to_owned());
        let mut state = self.state();
        if matches!(result, Err(Error::RequestTimeoutError)) {
            let hanging = state.hanging.entry(key);
            hanging.or_insert(Hanging { since: at, seen: Instant::now() }).seen = Instant::now();
        } else {
            state.hanging.remove(&key);
        }
        drop(state);
        drop(ticket);
        result
    }

    /// Waits for a place; `None` when the calls in flight hang.
    async fn begin(&self, call: Call, object: &str) -> Option<Ticket<'_>> {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            let until = match self.try_begin(call, object) {
                Ok(number) => return Some(Ticket { calls: self, call, number }),
                Err(until) => until?,
            };
            tokio::select! {
                () = freed => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// The number of the call, or until when to wait for a place; `None` for no wait.
    fn try_begin(&self, call: Call, object: &str) -> Result<u64, Option<Instant>> {
        let mut state = self.state();
        state.hanging.retain(|_, hanging| hanging.seen.elapsed() < FORGOTTEN);
        let known = state.hanging.contains_key(&(call, object.to_owned()));
        let some_hang = state.hanging.keys().any(|(kind, _)| *kind == call);
        state.number += 1;
        let number = state.number;
        let flying = state.flying.entry(call).or_default();
        if known && flying.values().any(|flight| flight.object == object) {
            return Err(None);
        }
        if flying.len() < call.places() {
            let (object, at) = (object.to_owned(), Timestamp::now());
            flying.insert(number, Flight { object, begun: Instant::now(), at });
            return Ok(number);
        }
        let oldest = flying.values().map(|flight| flight.begun).min();
        let patience = if some_hang { Duration::ZERO } else { call.patience() };
        let until = oldest.map_or_else(Instant::now, |begun| begun + patience);
        Err((until > Instant::now()).then_some(until))
    }

    /// The hanging calls: those that timed out at the last try, and those that reached half of
    /// their limit.
    pub(super) fn hanging(&self) -> Vec<Hang> {
        let mut state = self.state();
        state.hanging.retain(|_, hanging| hanging.seen.elapsed() < FORGOTTEN);
        let mut all: BTreeMap<(Call, String), Timestamp> =
            state.hanging.iter().map(|(key, hanging)| (key.clone(), hanging.since)).collect();
        for (call, flying) in &state.flying {
            for flight in flying.values().filter(|f| f.begun.elapsed() >= call.limit() / 2) {
                all.entry((*call, flight.object.clone())).or_insert(flight.at);
            }
        }
        all.into_iter().map(|((call, object), since)| Hang { call, object, since }).collect()
    }
}

/// The hanging calls in one sentence; `None` when there are none.
pub(super) fn describe(hanging: &[Hang]) -> Option<String> {
    let first = hanging.iter().min_by_key(|hang| hang.since)?;
    let same = hanging.iter().filter(|hang| hang.call == first.call).count();
    let call = match (first.object.as_str(), same) {
        ("", _) | (_, 2..) => first.call.name().to_owned(),
        (object, _) => format!("{} {object}", first.call.name()),
    };
    let mut others: Vec<&str> =
        hanging.iter().filter(|h| h.call != first.call).map(|h| h.call.name()).collect();
    others.sort_unstable();
    others.dedup();
    let others =
        if others.is_empty() { String::new() } else { format!("; so do: {}", others.join(", ")) };
    Some(format!("Docker hangs: `{call}` has not been answered since {}{others}", first.since))
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc};

    use super::*;

    async fn hang(calls: Arc<Calls>, call: Call, object: String) -> Result<(), Error> {
        calls.run(call, &object, pending()).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_has_the_limit_of_its_kind_and_is_known_to_hang_until_it_answers() {
        let calls = Arc::new(Calls::default());
        let begun = Instant::now();
        let result = hang(calls.clone(), Call::InspectVolume, "a".into()).await;
        assert!(matches!(result, Err(Error::RequestTimeoutError)));
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
        let text = describe(&calls.hanging()).unwrap();
        assert!(text.contains("`docker volume inspect a`"), "{text}");
        calls.run(Call::InspectVolume, "b", async { Ok(()) }).await.unwrap();
        assert_eq!(calls.hanging().len(), 1, "another volume's answer says nothing of this one");
        calls.run(Call::InspectVolume, "a", async { Ok(()) }).await.unwrap();
        assert_eq!(describe(&calls.hanging()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_caller_of_a_call_that_hangs_is_refused_at_once() {
        let calls = Arc::new(Calls::default());
        hang(calls.clone(), Call::RemoveVolume, "a".into()).await.unwrap_err();
        let first = tokio::spawn(hang(calls.clone(), Call::RemoveVolume, "a".into()));
        tokio::task::yield_now().await;
        let begun = Instant::now();
        hang(calls.clone(), Call::RemoveVolume, "a".into()).await.unwrap_err();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        first.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn hanging_calls_of_one_kind_hold_few_callers_and_none_of_another_kind() {
        let calls = Arc::new(Calls::default());
        let tasks: Vec<_> = (0..32)
            .map(|n| tokio::spawn(hang(calls.clone(), Call::CreateVolume, n.to_string())))
            .collect();
        // Longer than callers wait for a place, and much shorter than the call's limit.
        tokio::time::sleep(Duration::from_secs(8)).await;
        let held = tasks.iter().filter(|task| !task.is_finished()).count();
        assert_eq!(held, Call::CreateVolume.places());
        calls.run(Call::InspectContainer, "x", async { Ok(()) }).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(tasks.iter().all(tokio::task::JoinHandle::is_finished));
        calls.run(Call::CreateVolume, "new", async { Ok(()) }).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn quick_calls_wait_for_a_place_and_none_is_refused() {
        let calls = Arc::new(Calls::default());
        let tasks: Vec<_> = (0..100)
            .map(|n: u32| {
                let calls = calls.clone();
                tokio::spawn(async move {
                    let work = async {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        Ok(())
                    };
                    calls.run(Call::InspectContainer, &n.to_string(), work).await
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    }
}
