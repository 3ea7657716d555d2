//! What every host must do, as a test that a host's own tests run: [`check`]. It fails by a panic.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use startclaw_model::{InstanceId, Slot, StepName};

use crate::{
    ContainerState, Convergence, Enforced, Host, HostError, InstanceSpec, LogRequest, Observed,
    Probe, StepReporter, Target,
};

/// The limit of any wait.
const LIMIT: Duration = Duration::from_secs(60);
/// More steps than any target takes.
const STEPS: usize = 30;
const BOOTING: Target = Target::Running(Enforced::Nothing);
const FROZEN: Target = Target::Suspended { at_most: Some(Duration::from_secs(60)) };
const EMPTIED: Target = Target::Absent { keep_volumes: true };
const ABSENT: Target = Target::Absent { keep_volumes: false };

/// A host under test.
#[async_trait]
pub trait Subject: Sync {
    /// The host.
    fn host(&self) -> &dyn Host;

    /// The spec of a new instance in this slot, whose container runs until it is stopped and answers
    /// probes. There is room for the slots 0 to 9.
    fn spec(&self, name: &str, slot: u32) -> InstanceSpec;

    /// Removes the volume of an instance without a container, as an operator by mistake.
    async fn lose_volume(&self, spec: &InstanceSpec);
}

/// Tests everything, on instances in the slots 0 to 9, which it removes.
pub async fn check(subject: &dyn Subject) {
    every_target_leads_to_every_other(&Case::new(subject, "targets", 0)).await;
    a_reached_target_is_kept(&Case::new(subject, "kept", 1)).await;
    limits_are_only_tightened(&Case::new(subject, "limits", 2)).await;
    a_freeze_ends(&Case::new(subject, "freeze", 3)).await;
    what_changed_replaces_the_container_and_keeps_the_volume(&Case::new(subject, "changed", 4))
        .await;
    a_lost_volume_is_not_replaced(&Case::new(subject, "lost", 5)).await;
    volumes_live_beside_each_other(&Case::new(subject, "volumes", 6)).await;
    an_aborted_step_is_taken_again(&Case::new(subject, "aborted", 7)).await;
    a_test_instance_is_apart(&Case::new(subject, "drill", 8)).await;
    an_unknown_instance_is_nothing(&Case::new(subject, "unknown", 9)).await;
}

/// One instance on the host under test.
struct Case<'a> {
    subject: &'a dyn Subject,
    host: &'a dyn Host,
    spec: InstanceSpec,
}

/// Remembers the steps that began.
#[derive(Default)]
struct Log(Vec<StepName>);

#[async_trait]
impl StepReporter for Log {
    async fn begin(&mut self, step: StepName) {
        self.0.push(step);
    }
}

impl<'a> Case<'a> {
    fn new(subject: &'a dyn Subject, name: &str, slot: u32) -> Self {
        Self { subject, host: subject.host(), spec: subject.spec(name, slot) }
    }

    fn with(&self, change: impl FnOnce(&mut InstanceSpec)) -> Self {
        let mut spec = self.spec.clone();
        change(&mut spec);
        Self { subject: self.subject, host: self.host, spec }
    }

    async fn observe(&self) -> Observed {
        self.host.observe(&self.spec).await.unwrap()
    }

    /// One convergence; checks that a step was announced before it was taken.
    async fn step(&self, target: Target) -> Result<Convergence, HostError> {
        let (seen, mut log) = (self.observe().await, Log::default());
        let done = self.host.converge(&self.spec, target, &seen, &mut log).await?;
        match done {
            Convergence::Step(step) => assert_eq!(log.0.last(), Some(&step), "{target:?}"),
            _ => assert_eq!(log.0, [], "{target:?}"),
        }
        Ok(done)
    }

    /// Converges until the target is reached; returns the steps.
    async fn reach(&self, target: Target) -> Vec<StepName> {
        let begun = Instant::now();
        let mut steps = Vec::new();
        loop {
            match self.step(target).await {
                Ok(Convergence::Step(step)) => steps.push(step),
                Ok(Convergence::Done) => return steps,
                Ok(Convergence::Waiting(why)) => assert!(begun.elapsed() < LIMIT, "{why}"),
                // A step that was aborted may still be under way.
                Err(e) => assert!(begun.elapsed() < LIMIT, "{target:?}: {e}"),
            }
            assert!(steps.len() < STEPS, "{target:?} is never reached: {steps:?}");
        }
    }

    async fn until(&self, what: &str, good: impl Fn(&Observed) -> bool) -> Observed {
        let begun = Instant::now();
        loop {
            let seen = self.observe().await;
            if good(&seen) {
                return seen;
            }
            assert!(begun.elapsed() < LIMIT, "{what}: {seen:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn is_listed(&self) -> bool {
        self.host.inventory().await.unwrap().iter().any(|item| item.id == self.spec.id)
    }

    async fn remove(&self) {
        self.reach(ABSENT).await;
        assert!(!self.is_listed().await, "{} is left", self.spec.name);
    }
}

fn answers(seen: &Observed) -> bool {
    matches!(seen.probe, Probe::Answer { .. })
}

fn state(seen: &Observed) -> Option<&ContainerState> {
    seen.container.as_ref().map(|container| &container.state)
}

/// Whether this is what the target demands.
fn is_at(target: Target, seen: &Observed) -> bool {
    let alive = seen.container.as_ref().is_some_and(crate::Container::is_alive);
    match target {
        Target::Running(_) => seen.volume_ready && state(seen) == Some(&ContainerState::Running),
        Target::Suspended { .. } => state(seen) != Some(&ContainerState::Running),
        Target::Stopped => seen.volume_ready && seen.container.is_some() && !alive,
        Target::Absent { keep_volumes } => {
            let rest = seen.container.is_none() && !seen.network && seen.secrets.is_none();
            rest && (keep_volumes || !seen.volume)
        }
    }
}

/// Walks along every way from one target to another.
async fn every_target_leads_to_every_other(case: &Case<'_>) {
    let all = [BOOTING, Target::Running(Enforced::All), FROZEN, Target::Stopped, EMPTIED, ABSENT];
    let mut walk = Vec::new();
    for (n, one) in all.into_iter().enumerate() {
        walk.push(one);
        for other in all.into_iter().skip(n + 1) {
            walk.extend([other, one]);
        }
    }
    for target in walk {
        let from = case.observe().await;
        case.reach(target).await;
        let seen = case.observe().await;
        assert!(is_at(target, &seen), "{target:?}: {seen:?} from {from:?}");
    }
    case.remove().await;
}

async fn a_reached_target_is_kept(case: &Case<'_>) {
    case.reach(BOOTING).await;
    let seen = case.until("it answers", answers).await;
    assert_eq!(case.reach(BOOTING).await, []);
    let begun = |seen: &Observed| seen.container.as_ref().unwrap().started_at;
    assert_eq!(begun(&case.observe().await), begun(&seen), "it was not started again");
    assert!(case.is_listed().await);
    case.remove().await;
    assert_eq!(case.reach(ABSENT).await, []);
}

async fn limits_are_only_tightened(case: &Case<'_>) {
    let enforced = async || case.observe().await.container.unwrap().enforced;
    case.reach(BOOTING).await;
    assert_eq!(enforced().await, Enforced::Nothing);
    for (target, expected) in [
        (Enforced::Cpu, Enforced::Cpu),
        (Enforced::Nothing, Enforced::Cpu),
        (Enforced::All, Enforced::All),
        (Enforced::Cpu, Enforced::All),
    ] {
        case.reach(Target::Running(target)).await;
        assert_eq!(enforced().await, expected, "after {target:?}");
    }
    // A new run boots without them again.
    case.reach(Target::Stopped).await;
    case.reach(BOOTING).await;
    assert_eq!(enforced().await, Enforced::Nothing);
    case.remove().await;
}

async fn a_freeze_ends(case: &Case<'_>) {
    let paused = |seen: &Observed| state(seen) == Some(&ContainerState::Paused);
    assert_eq!(case.reach(FROZEN).await, [], "nothing runs");
    case.reach(BOOTING).await;
    case.until("it answers", answers).await;
    assert_eq!(case.reach(FROZEN).await, [StepName::Freeze]);
    assert!(paused(&case.observe().await));
    assert!(case.host.unfreeze(&case.spec).await.unwrap());
    assert!(!case.host.unfreeze(&case.spec).await.unwrap(), "it was unfrozen before");
    case.until("it answers again", answers).await;
    // By itself, when nobody does it.
    case.reach(Target::Suspended { at_most: Some(Duration::from_millis(500)) }).await;
    case.until("it is unfrozen in time", |seen| !paused(seen)).await;
    assert!(!case.host.unfreeze(&case.spec).await.unwrap());
    // Without a limit, until it is asked for.
    case.reach(Target::Suspended { at_most: None }).await;
    assert!(paused(&case.observe().await));
    assert_eq!(case.reach(BOOTING).await, [StepName::Unfreeze]);
    case.until("it answers again", answers).await;
    case.remove().await;
}

async fn what_changed_replaces_the_container_and_keeps_the_volume(case: &Case<'_>) {
    let config = Bytes::from_static(b"{\"a\":1}");
    let prepared = case.with(|spec| spec.config = Some(config.clone()));
    // Written before the start, again and again until it is what was asked for.
    while case.observe().await.config.as_ref() != Some(&config) {
        assert!(matches!(prepared.step(Target::Stopped).await.unwrap(), Convergence::Step(_)));
    }
    case.reach(BOOTING).await;
    let next = case.with(|spec| {
        spec.digest = format!("{}-next", spec.digest);
        spec.secrets_revision += 1;
        spec.volume_holds_data = true;
    });
    let steps = next.reach(BOOTING).await;
    assert!(steps.contains(&StepName::Stop) && steps.contains(&StepName::Secrets), "{steps:?}");
    assert!(!steps.contains(&StepName::Volume), "{steps:?}");
    let seen = next.observe().await;
    assert_eq!(seen.container.unwrap().digest, next.spec.digest);
    assert_eq!(seen.secrets, Some(next.spec.secrets_revision));
    next.reach(Target::Stopped).await;
    assert_eq!(next.observe().await.config, Some(config));
    next.host.quarantine_config(&next.spec).await.unwrap();
    assert_eq!(next.observe().await.config, None);
    next.host.repair(&next.spec).await.unwrap();
    next.remove().await;
}

async fn a_lost_volume_is_not_replaced(case: &Case<'_>) {
    case.reach(BOOTING).await;
    case.reach(EMPTIED).await;
    assert!(case.host.volume_mount(&case.spec).await.unwrap().is_some());
    case.subject.lose_volume(&case.spec).await;
    let used = case.with(|spec| spec.volume_holds_data = true);
    for target in [Target::Stopped, BOOTING] {
        assert!(used.step(target).await.is_err());
        assert!(!used.observe().await.volume);
    }
    assert_eq!(case.host.volume_mount(&case.spec).await.unwrap(), None);
    case.reach(BOOTING).await;
    assert!(case.observe().await.volume);
    case.remove().await;
}

async fn volumes_live_beside_each_other(case: &Case<'_>) {
    case.reach(BOOTING).await;
    let begun = case.until("it answers", answers).await.container.unwrap().started_at;
    let other = case.with(|spec| spec.volume = 1);
    let made = other.host.renew_volume(&other.spec).await.unwrap();
    assert_eq!(other.host.volume_mount(&other.spec).await.unwrap(), Some(made));
    other.host.renew_volume(&other.spec).await.unwrap();
    let seen = case.observe().await;
    assert_eq!((&seen.other_volumes[..], seen.container.unwrap().started_at), (&[1][..], begun));

    // Switched to it; the previous one is kept as long as the spec says so.
    let switched = other.with(|spec| {
        spec.digest = format!("{}-1", spec.digest);
        spec.kept_volumes = vec![0, 1];
        spec.volume_holds_data = true;
    });
    switched.reach(BOOTING).await;
    assert_eq!(switched.observe().await.other_volumes, [0]);
    let alone = switched.with(|spec| spec.kept_volumes = vec![1]);
    assert_eq!(alone.reach(BOOTING).await, [StepName::RemoveOldVolume]);
    other.host.renew_volume(&case.spec).await.unwrap();
    switched.reach(EMPTIED).await;
    let seen = switched.observe().await;
    assert!(seen.volume && seen.other_volumes == [0], "{seen:?}");
    switched.remove().await;
}

/// The caller may be dropped at any moment, as by a crash.
async fn an_aborted_step_is_taken_again(case: &Case<'_>) {
    for (target, end) in [(BOOTING, ABSENT), (ABSENT, ABSENT)] {
        for time in [0, 3, 27, 81] {
            if target == ABSENT {
                case.reach(BOOTING).await;
            }
            for _ in 0..STEPS {
                let (seen, mut log) = (case.observe().await, Log::default());
                let step = case.host.converge(&case.spec, target, &seen, &mut log);
                let done = tokio::time::timeout(Duration::from_millis(time), step).await;
                if matches!(done, Ok(Ok(Convergence::Done))) {
                    break;
                }
            }
            case.reach(target).await;
            assert!(is_at(target, &case.observe().await), "{target:?} after {time} ms");
            case.reach(end).await;
        }
    }
    case.remove().await;
}

async fn a_test_instance_is_apart(case: &Case<'_>) {
    case.reach(BOOTING).await;
    let begun = case.until("it answers", answers).await.container.unwrap().started_at;
    let test = case.with(|spec| {
        spec.id = InstanceId(format!("drill-{}", spec.id));
        spec.isolated = true;
    });
    let steps = test.reach(BOOTING).await;
    assert!(!steps.contains(&StepName::Network), "{steps:?}");
    test.until("the test instance answers", answers).await;
    test.remove().await;
    let seen = case.observe().await;
    assert!(answers(&seen) && seen.container.unwrap().started_at == begun);
    case.remove().await;
}

async fn an_unknown_instance_is_nothing(case: &Case<'_>) {
    let (host, spec) = (case.host, &case.spec);
    let seen = case.observe().await;
    assert_eq!(seen, Observed { volume_name: seen.volume_name.clone(), ..Observed::default() });
    assert!(!host.unfreeze(spec).await.unwrap());
    let request = LogRequest { tail: 10, follow: true };
    assert_eq!(host.logs(&spec.id, request).await.unwrap().count().await, 0);
    assert!(!case.is_listed().await);
    let slots = host.capacity().await.unwrap();
    assert!(host.endpoints(Slot(slots - 1)).await.unwrap().is_some());
    assert_eq!(host.endpoints(Slot(slots)).await.unwrap(), None);
}
