//! Decisions from every state of a host.

use bytes::Bytes;
use futures::executor::block_on;
use proptest::prelude::*;
use startclaw_host::{Convergence, Host, InstanceSpec, NoReport, sample_spec};
use startclaw_model::StepName;
use startclaw_simulated::{SimInstance, SimulatedHost};

use super::*;

const DIGEST: &str = "digest";
const REVISION: u64 = 3;
/// The first volume is in use, and a replaced one is kept.
const VOLUMES: Volumes = Volumes {
    current: 0,
    last: 2,
    filling: None,
    earlier: None,
    replaced: Some(startclaw_model::Replaced {
        generation: 2,
        until: Timestamp::from_millis(0),
        on_probation: false,
    }),
    unused: true,
};

fn spec() -> InstanceSpec {
    InstanceSpec {
        volume_holds_data: VOLUMES.holds_data(),
        kept_volumes: VOLUMES.kept(),
        digest: DIGEST.into(),
        secrets_revision: REVISION,
        ..sample_spec("alice", 0)
    }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn any_enforced() -> impl Strategy<Value = Enforced> {
    prop_oneof![Just(Enforced::Nothing), Just(Enforced::Cpu), Just(Enforced::All)]
}

fn any_container() -> impl Strategy<Value = Container> {
    let state = prop_oneof![
        Just(ContainerState::Created),
        Just(ContainerState::Running),
        Just(ContainerState::Paused),
        (prop_oneof![Just(0i64), Just(1), Just(78), Just(137)], any::<bool>()).prop_map(
            |(code, oom_killed)| ContainerState::Exited(Exit { code, oom_killed, at: at(1000) })
        ),
    ];
    (state, prop_oneof![Just(DIGEST), Just("old")], any_enforced(), any::<bool>()).prop_map(
        |(state, digest, enforced, started)| Container {
            started_at: (started || !matches!(state, ContainerState::Created)).then(|| at(500)),
            state,
            digest: digest.into(),
            enforced,
            limits_changed: false,
            cpu_used: None,
        },
    )
}

fn any_thing() -> impl Strategy<Value = SimInstance> {
    let secrets = prop_oneof![Just(None), Just(Some(1)), Just(Some(REVISION))];
    let config = prop_oneof![Just(None), Just(Some(Bytes::from("old")))];
    let volumes = prop::collection::btree_map(0u64..4, config, 0..4);
    (volumes, any::<bool>(), secrets, prop::option::of(any_container())).prop_map(
        |(volumes, network, secrets, container)| SimInstance {
            volumes,
            network,
            secrets,
            container,
            ..SimInstance::default()
        },
    )
}

fn any_health() -> impl Strategy<Value = Health> {
    (0u32..6, prop::option::of(0i64..3000), prop::option::of(0i64..3000), any::<bool>()).prop_map(
        |(failures, last, retry, repaired)| Health {
            failures,
            last_failure_at: last.map(at),
            retry_at: retry.map(at),
            repaired,
            ..Health::default()
        },
    )
}

/// What is decided from; by default an instance that is to be live, at the time 0.
struct Case {
    presence: Presence,
    volumes: Volumes,
    deletion_policy: DeletionPolicy,
    unreadable: bool,
    observed: Observed,
    health: Health,
    job_busy: bool,
    boots_limited: bool,
    saw_run: bool,
    silent_for: Option<Duration>,
    started_at: Timestamp,
    now: Timestamp,
    timing: Timing,
}

impl Case {
    fn of(observed: &Observed) -> Self {
        Self {
            presence: Presence::Present,
            volumes: VOLUMES,
            deletion_policy: DeletionPolicy::None,
            unreadable: false,
            observed: observed.clone(),
            health: Health::default(),
            job_busy: false,
            boots_limited: false,
            saw_run: false,
            silent_for: None,
            started_at: at(0),
            now: at(0),
            timing: Timing::default(),
        }
    }

    fn at(observed: &Observed, now: Timestamp) -> Self {
        Self { now, ..Self::of(observed) }
    }

    fn decide(&self) -> Decision {
        let started_at = self.observed.container.as_ref().and_then(|c| c.started_at);
        next_step(&Inputs {
            presence: self.presence,
            volumes: &self.volumes,
            deletion_policy: self.deletion_policy,
            digest: DIGEST,
            secrets_revision: REVISION,
            unreadable: self.unreadable,
            observed: &self.observed,
            health: &self.health,
            job_busy: self.job_busy,
            boots_limited: self.boots_limited,
            saw_run: self.saw_run,
            // With a clock that nobody sets.
            run_lasts: started_at.map_or(Duration::ZERO, |at| self.now.since(at)),
            silent_for: self.silent_for,
            started_at: self.started_at,
            now: self.now,
            timing: &self.timing,
        })
    }
}

/// What a run did: the decisions and the steps of the host, in order.
#[derive(Debug, Default)]
struct Taken {
    decisions: Vec<Decision>,
    steps: Vec<StepName>,
}

/// Converges on a host with this state until nothing is left to do; returns what was done and the
/// final state.
fn run(presence: Presence, thing: SimInstance, health: Health) -> (Taken, SimInstance) {
    let host = SimulatedHost::new(10, Duration::ZERO);
    let mut spec = spec();
    *host.state().instance(&spec.id) = thing;
    let wanted = Bytes::from("new");
    let mut taken = Taken::default();
    let mut case = Case {
        presence,
        health,
        started_at: at(700),
        now: at(2000),
        ..Case::of(&Observed::default())
    };
    for _ in 0..30 {
        case.observed = block_on(host.observe(&spec)).unwrap();
        let observed = case.observed.clone();
        spec.config = (observed.config.as_ref() != Some(&wanted)).then(|| wanted.clone());
        case.unreadable = observed.config.as_deref() == Some(b"old");
        let mut converge = |target| {
            let done = block_on(host.converge(&spec, target, &observed, &mut NoReport)).unwrap();
            if let Convergence::Step(step) = done {
                taken.steps.push(step);
            }
            done
        };
        let decision = case.decide();
        taken.decisions.push(decision.clone());
        match decision {
            Decision::Converge(target, then) => match (converge(target), then) {
                (Convergence::Done, Then::Start) => {
                    converge(Target::Running(Enforced::Nothing));
                }
                (Convergence::Done, Then::Wait(time, _)) => case.now = case.now.plus(time),
                (Convergence::Done, Then::Live | Then::Gone | Then::RunPreDelete) => break,
                _ => {}
            },
            Decision::End(_) => drop(converge(Target::Stopped)),
            Decision::Repair => {
                case.health.repaired = true;
                block_on(host.repair(&spec)).unwrap();
            }
            Decision::QuarantineConfig => block_on(host.quarantine_config(&spec)).unwrap(),
            Decision::CountFailure(failure) => {
                case.health.last_failure_at = Some(failure.at);
                case.health.failed_run = failure.run;
            }
            Decision::Wait(time, _) => case.now = case.now.plus(time),
            Decision::DataLost(_) => break,
        }
    }
    let left = host.state().instance(&spec.id).clone();
    (taken, left)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// From any state, an instance that is to exist becomes live and complete, and the host refuses
    /// no step.
    #[test]
    fn every_state_leads_to_a_live_instance(thing in any_thing(), health in any_health()) {
        let (taken, left) = run(Presence::Present, thing, health);
        let live = Decision::Converge(Target::Running(Enforced::All), Then::Live);
        prop_assert_eq!(taken.decisions.last(), Some(&live), "{:?}", taken);
        prop_assert!(left.volumes.contains_key(&0) && left.network);
        let kept = VOLUMES.kept();
        prop_assert!(left.volumes.keys().all(|v| kept.contains(v)), "{:?}", left.volumes);
        prop_assert_eq!(left.secrets, Some(REVISION));
        let container = left.container.unwrap();
        prop_assert_eq!(container.digest, DIGEST);
        prop_assert!(container.enforced == Enforced::All && container.state == ContainerState::Running);
    }

    /// From any state, an instance that is to be removed is removed completely.
    #[test]
    fn every_state_leads_to_nothing(thing in any_thing(), health in any_health()) {
        let (taken, left) = run(Presence::Absent, thing, health);
        let gone = Decision::Converge(Target::Absent { keep_volumes: false }, Then::Gone);
        prop_assert_eq!(taken.decisions.last(), Some(&gone), "{:?}", taken);
        prop_assert!(left.is_gone());
    }

    /// A start never removes data.
    #[test]
    fn bringing_up_never_removes_the_volume(thing in any_thing(), health in any_health()) {
        let kept = thing.volumes.contains_key(&2);
        let (taken, left) = run(Presence::Present, thing, health);
        prop_assert!(!taken.steps.contains(&StepName::RemoveVolume));
        prop_assert_eq!(left.volumes.contains_key(&2), kept, "nor is the kept one");
    }

    /// The configuration is written only while no container runs.
    #[test]
    fn the_last_thing_before_a_start_is_a_right_configuration(thing in any_thing(), health in any_health()) {
        let (taken, _) = run(Presence::Present, thing, health);
        let written = taken.steps.contains(&StepName::Config);
        prop_assert!(!taken.steps.contains(&StepName::Start) || written);
    }
}

fn running(enforced: Enforced, started_at: i64) -> Observed {
    Observed {
        volume: true,
        volume_name: String::new(),
        volume_empty: false,
        other_volumes: Vec::new(),
        other_volumes_unknown: false,
        volume_ready: true,
        network: true,
        secrets: Some(REVISION),
        config: None,
        container: Some(Container {
            state: ContainerState::Running,
            digest: DIGEST.into(),
            enforced,
            limits_changed: false,
            cpu_used: None,
            started_at: Some(at(started_at)),
        }),
        probe: Probe::Silent,
    }
}

fn waits_for(decision: &Decision) -> Option<Waiting> {
    match decision {
        Decision::Wait(_, waiting) | Decision::Converge(_, Then::Wait(_, waiting)) => {
            Some(*waiting)
        }
        _ => None,
    }
}

#[test]
fn an_instance_that_is_to_begin_with_a_snapshot_is_not_started_before_it_is_there() {
    let empty = Observed { volume: true, volume_ready: true, network: true, ..Observed::default() };
    let case = Case { volumes: Volumes::to_be_filled(), ..Case::of(&empty) };
    assert_eq!(waits_for(&case.decide()), Some(Waiting::Restore));
}

#[test]
fn data_go_after_the_pre_delete_step_and_after_a_job_that_uses_them() {
    let up = running(Enforced::All, 0);
    let case = Case { presence: Presence::Absent, ..Case::of(&up) };
    let kept = Target::Absent { keep_volumes: true };
    let last = Case { deletion_policy: DeletionPolicy::FinalBackup, ..case };
    assert_eq!(last.decide(), Decision::Converge(kept, Then::RunPreDelete));
    let busy = Case { deletion_policy: DeletionPolicy::None, job_busy: true, ..last };
    let Decision::Converge(target, Then::Wait(_, Waiting::Job)) = busy.decide() else {
        panic!("{:?}", busy.decide());
    };
    assert_eq!(target, kept);
    let free = Case { job_busy: false, ..busy };
    let all = Target::Absent { keep_volumes: false };
    assert_eq!(free.decide(), Decision::Converge(all, Then::Gone));
}

#[test]
fn a_boot_is_waited_for_and_ended_when_it_takes_too_long() {
    let timing = Timing::default();
    let booting = Case::at(&running(Enforced::Nothing, 0), at(5000));
    assert_eq!(waits_for(&booting.decide()), Some(Waiting::Boot));
    for enforced in [Enforced::Nothing, Enforced::Cpu] {
        let late = Case::at(&running(enforced, 0), at(0).plus(timing.boot_limit));
        assert!(matches!(late.decide(), Decision::End(_)));
    }
}

#[test]
fn a_boot_that_used_its_cpu_time_continues_under_the_limit() {
    let timing = Timing::default();
    // On a busy host a boot takes long without using much CPU.
    let late = at(0).plus(timing.boot_share * 2);
    let limits = |enforced, cpu_used, now| {
        let mut observed = running(enforced, 0);
        observed.container.as_mut().unwrap().cpu_used = cpu_used;
        match Case::at(&observed, now).decide() {
            Decision::Converge(Target::Running(limits), Then::Wait(_, Waiting::Boot)) => limits,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(limits(Enforced::Nothing, Some(timing.boot_cpu / 2), late), Enforced::Nothing);
    assert_eq!(limits(Enforced::Nothing, Some(timing.boot_cpu), at(1000)), Enforced::Cpu);
    assert_eq!(limits(Enforced::Nothing, None, at(1000)), Enforced::Nothing);
    assert_eq!(limits(Enforced::Nothing, None, late), Enforced::Cpu);
    assert_eq!(limits(Enforced::Cpu, None, late), Enforced::Cpu);
    let mut started = running(Enforced::Cpu, 0);
    started.probe = Probe::Answer { status: 200, body: r#"{"ok":true,"status":"started"}"#.into() };
    let live = Decision::Converge(Target::Running(Enforced::All), Then::Live);
    assert_eq!(Case::at(&started, late).decide(), live);
}

#[test]
fn one_that_was_started_too_often_boots_under_the_limit() {
    let case = Case { boots_limited: true, ..Case::at(&running(Enforced::Nothing, 0), at(10)) };
    let limited = matches!(case.decide(), Decision::Converge(Target::Running(Enforced::Cpu), _));
    assert!(limited, "{:?}", case.decide());
}

#[test]
fn a_live_instance_that_falls_silent_is_given_time_and_then_ended() {
    let limit = Timing::default().silence_limit;
    let silent = |silent_for| {
        Case { silent_for, ..Case::at(&running(Enforced::All, 0), at(1_000_000)) }.decide()
    };
    assert_eq!(waits_for(&silent(None)), Some(Waiting::Answer));
    assert_eq!(waits_for(&silent(Some(limit / 2))), Some(Waiting::Answer));
    assert!(matches!(silent(Some(limit)), Decision::End(_)));
}

#[test]
fn an_end_is_counted_once_also_when_the_clock_was_set_back() {
    let mut observed = running(Enforced::All, 2000);
    let exit = Exit { code: 1, oom_killed: false, at: at(300) };
    observed.container.as_mut().unwrap().state = ContainerState::Exited(exit);
    let counts = |health: &Health, saw_run| {
        let case = Case {
            health: health.clone(),
            saw_run,
            started_at: at(1000),
            ..Case::at(&observed, at(310))
        };
        matches!(case.decide(), Decision::CountFailure(_))
    };
    // It failed before, at a time that is still to come by the present clock.
    let before =
        Health { last_failure_at: Some(at(1500)), failed_run: Some(at(1200)), ..Health::default() };
    assert!(counts(&before, true));
    assert!(!counts(&before, false), "it ended before this daemon began");
    let counted = Health { failed_run: Some(at(2000)), ..before };
    assert!(!counts(&counted, true));
}

#[test]
fn a_repair_waits_for_what_it_needs_and_a_stop_of_ours_is_no_failure() {
    let exit = Exit { code: 78, oom_killed: false, at: at(300) };
    let mut damaged = running(Enforced::All, 200);
    damaged.container.as_mut().unwrap().state = ContainerState::Exited(exit);
    let counted = Health { failed_run: Some(at(200)), ..Health::default() };
    let decide = |observed: Observed, health: &Health| {
        let case = Case { health: health.clone(), saw_run: true, ..Case::at(&observed, at(400)) };
        case.decide()
    };
    let prepare = Decision::Converge(Target::Stopped, Then::Start);
    assert_eq!(decide(damaged.clone(), &counted), Decision::Repair);
    assert_eq!(decide(Observed { secrets: None, ..damaged.clone() }, &counted), prepare);
    assert_eq!(decide(Observed { volume_ready: false, ..damaged.clone() }, &counted), prepare);
    let alone = Observed { network: false, ..damaged };
    assert_eq!(decide(alone, &Health::default()), prepare);
}

#[test]
fn the_backoff_doubles_up_to_its_limit() {
    let (first, limit) = (Duration::from_secs(1), Duration::from_secs(300));
    let waits: Vec<_> = (1..=10).map(|n| backoff(n, first, limit).as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    assert_eq!(backoff(u32::MAX, first, limit), limit);
}

#[test]
fn an_instance_whose_data_are_lost_is_stopped_and_not_started() {
    let used = Volumes::default();
    let decide = |volumes: Volumes, observed: &Observed, health: &Health| {
        Case { volumes, health: health.clone(), ..Case::at(observed, at(1000)) }.decide()
    };
    let fresh = Health::default();
    let waits = Health { retry_at: Some(at(5000)), failures: 2, ..Health::default() };
    let missing = Observed { network: true, ..Observed::default() };
    let empty = Observed { volume: true, volume_empty: true, ..running(Enforced::All, 0) };
    let stopped = Observed { container: None, ..empty.clone() };
    for health in [&fresh, &waits] {
        assert_eq!(decide(used, &missing, health), Decision::DataLost(Loss::Missing));
        assert_eq!(decide(used, &stopped, health), Decision::DataLost(Loss::Empty));
    }
    let stop = Decision::Converge(Target::Stopped, Then::Observe);
    assert_eq!(decide(used, &empty, &fresh), stop);
    let prepare = Decision::Converge(Target::Stopped, Then::Start);
    assert_eq!(decide(Volumes::empty(), &missing, &fresh), prepare);
    let waiting = decide(Volumes::to_be_filled(), &missing, &fresh);
    assert_eq!(waits_for(&waiting), Some(Waiting::Restore));
}
