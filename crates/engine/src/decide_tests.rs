//! Decisions from every state of a host.

use futures::executor::block_on;
use proptest::prelude::*;
use startclaw_host::{
    Enforced, Exit, Host, Plan, Workload,
    simulated::{SimInstance, SimulatedHost},
};
use startclaw_model::{InstanceId, Limits, Name, Slot};

use super::*;

const SPEC: &str = "spec";
const REVISION: u64 = 3;
/// The first volume is in use, and a replaced one is kept.
const VOLUMES: Volumes = Volumes {
    current: 0,
    last: 2,
    filling: None,
    replaced: Some(startclaw_model::Replaced {
        generation: 2,
        until: Timestamp::from_millis(0),
        on_probation: false,
    }),
    unused: true,
};

fn plan() -> Plan {
    Plan {
        id: InstanceId("1".into()),
        name: Name::parse("alice").unwrap(),
        slot: Slot(0),
        volume: 0,
        isolated: false,
        image: "image:1".into(),
        limits: Limits::default(),
        spec: SPEC.into(),
        secrets_revision: REVISION,
        secrets: Vec::new(),
        workload: Workload {
            command: Vec::new(),
            env: Vec::new(),
            volume_path: "/data".into(),
            config_file: "c.json".into(),
            secrets_path: "/run/secrets".into(),
            scratch: Vec::new(),
            gateway_port: 1,
            webhook_port: 2,
            probe_path: "/startupz".into(),
            stop_grace: Duration::from_secs(1),
            repair_command: Vec::new(),
        },
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
    (state, prop_oneof![Just(SPEC), Just("old")], any_enforced(), any::<bool>()).prop_map(
        |(state, spec, enforced, started)| Container {
            started_at: (started || !matches!(state, ContainerState::Created)).then(|| at(500)),
            state,
            spec: spec.into(),
            enforced,
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

/// Applies steps on a host with this state until nothing is left to do; returns them and the final
/// state.
fn run(presence: Presence, thing: SimInstance, mut health: Health) -> (Vec<Decision>, SimInstance) {
    let host = SimulatedHost::new(10, Duration::ZERO);
    let plan = plan();
    *host.state().instance(&plan.id) = thing;
    let timing = Timing::default();
    let wanted = Bytes::from("new");
    let mut now = at(2000);
    let mut taken = Vec::new();
    for _ in 0..30 {
        let observed = block_on(host.observe(&plan)).unwrap();
        let decision = next_step(&Inputs {
            presence,
            volumes: &VOLUMES,
            deletion_policy: DeletionPolicy::None,
            spec: SPEC,
            secrets_revision: REVISION,
            config: (observed.config.as_ref() != Some(&wanted)).then_some(&wanted),
            unreadable: observed.config.as_deref() == Some(b"old"),
            observed: &observed,
            health: &health,
            boots_limited: false,
            saw_run: false,
            run_lasts: lasts(&observed, now),
            silent_for: None,
            started_at: at(700),
            now,
            timing: &timing,
        });
        taken.push(decision.clone());
        match decision {
            Decision::Do(step) => {
                if step == Step::Repair {
                    health.repaired = true;
                }
                block_on(host.apply(&plan, &step)).unwrap();
            }
            Decision::End(_) => block_on(host.apply(&plan, &Step::StopContainer)).unwrap(),
            Decision::CountFailure(failure) => {
                (health.last_failure_at, health.failed_run) = (Some(failure.at), failure.run);
            }
            Decision::Wait(time, _) => now = now.plus(time),
            Decision::Converged
            | Decision::Gone
            | Decision::RunPreDelete
            | Decision::DataLost(_) => {
                break;
            }
        }
    }
    let left = host.state().instance(&plan.id).clone();
    (taken, left)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// From any state, an instance that is to exist becomes live and complete, and the host refuses
    /// no step.
    #[test]
    fn every_state_leads_to_a_live_instance(thing in any_thing(), health in any_health()) {
        let (taken, left) = run(Presence::Present, thing, health);
        prop_assert_eq!(taken.last(), Some(&Decision::Converged), "{:?}", taken);
        prop_assert!(left.volumes.contains_key(&0) && left.network);
        prop_assert!(left.volumes.keys().all(|v| VOLUMES.keeps(*v)), "{:?}", left.volumes);
        prop_assert_eq!(left.secrets, Some(REVISION));
        let container = left.container.unwrap();
        prop_assert_eq!(container.spec, SPEC);
        prop_assert!(container.enforced == Enforced::All && container.state == ContainerState::Running);
    }

    /// From any state, an instance that is to be removed is removed completely.
    #[test]
    fn every_state_leads_to_nothing(thing in any_thing(), health in any_health()) {
        let (taken, left) = run(Presence::Absent, thing, health);
        prop_assert_eq!(taken.last(), Some(&Decision::Gone), "{:?}", taken);
        prop_assert!(left.is_gone());
    }

    /// A start never removes data.
    #[test]
    fn bringing_up_never_removes_the_volume(thing in any_thing(), health in any_health()) {
        let kept = thing.volumes.contains_key(&2);
        let (taken, left) = run(Presence::Present, thing, health);
        prop_assert!(!taken.contains(&Decision::Do(Step::RemoveVolume)));
        prop_assert_eq!(left.volumes.contains_key(&2), kept, "nor is the kept one");
    }

    /// The configuration is written only while no container runs.
    #[test]
    fn the_last_thing_before_a_start_is_a_right_configuration(thing in any_thing(), health in any_health()) {
        let (taken, _) = run(Presence::Present, thing.clone(), health);
        let started = taken.contains(&Decision::Do(Step::StartContainer));
        let written = taken.iter().any(|d| matches!(d, Decision::Do(Step::WriteConfig(_))));
        prop_assert!(!started || written);
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
            spec: SPEC.into(),
            enforced,
            cpu_used: None,
            started_at: Some(at(started_at)),
        }),
        probe: Probe::Silent,
    }
}

/// How long the container runs, with a clock that nobody sets.
fn lasts(observed: &Observed, now: Timestamp) -> Duration {
    let started_at = observed.container.as_ref().and_then(|c| c.started_at);
    started_at.map_or(Duration::ZERO, |at| now.since(at))
}

fn decide(observed: &Observed, silent_since: Option<Timestamp>, now: Timestamp) -> Decision {
    let (health, timing) = (Health::default(), Timing::default());
    next_step(&Inputs {
        presence: Presence::Present,
        volumes: &VOLUMES,
        deletion_policy: DeletionPolicy::None,
        spec: SPEC,
        secrets_revision: REVISION,
        config: None,
        unreadable: false,
        observed,
        health: &health,
        boots_limited: false,
        saw_run: false,
        run_lasts: lasts(observed, now),
        silent_for: silent_since.map(|since| now.since(since)),
        started_at: at(0),
        now,
        timing: &timing,
    })
}

#[test]
fn an_instance_that_is_to_begin_with_a_snapshot_is_not_started_before_it_is_there() {
    let (health, timing) = (Health::default(), Timing::default());
    let empty = Observed { volume: true, volume_ready: true, network: true, ..Observed::default() };
    let decision = next_step(&Inputs {
        presence: Presence::Present,
        volumes: &Volumes::to_be_filled(),
        deletion_policy: DeletionPolicy::None,
        spec: SPEC,
        secrets_revision: REVISION,
        config: None,
        unreadable: false,
        observed: &empty,
        health: &health,
        boots_limited: false,
        saw_run: false,
        run_lasts: Duration::ZERO,
        silent_for: None,
        started_at: at(0),
        now: at(0),
        timing: &timing,
    });
    assert!(matches!(decision, Decision::Wait(_, Waiting::Restore)), "{decision:?}");
}

#[test]
fn data_go_after_the_pre_delete_step_and_not_before_the_container() {
    let (health, timing) = (Health::default(), Timing::default());
    let decide = |observed: &Observed, policy| {
        next_step(&Inputs {
            presence: Presence::Absent,
            volumes: &VOLUMES,
            deletion_policy: policy,
            spec: SPEC,
            secrets_revision: REVISION,
            config: None,
            unreadable: false,
            observed,
            health: &health,
            boots_limited: false,
            saw_run: false,
            run_lasts: Duration::ZERO,
            silent_for: None,
            started_at: at(0),
            now: at(0),
            timing: &timing,
        })
    };
    let up = running(Enforced::All, 0);
    assert_eq!(decide(&up, DeletionPolicy::FinalBackup), Decision::Do(Step::StopContainer));
    let down = Observed { volume: true, other_volumes: vec![2], ..Observed::default() };
    assert_eq!(decide(&down, DeletionPolicy::FinalBackup), Decision::RunPreDelete);
    assert_eq!(decide(&down, DeletionPolicy::None), Decision::Do(Step::RemoveOtherVolume(2)));
}

#[test]
fn a_boot_is_waited_for_and_ended_when_it_takes_too_long() {
    let timing = Timing::default();
    let booting = running(Enforced::Nothing, 0);
    assert!(matches!(decide(&booting, None, at(5000)), Decision::Wait(_, Waiting::Boot)));
    for enforced in [Enforced::Nothing, Enforced::Cpu] {
        let late = decide(&running(enforced, 0), None, at(0).plus(timing.boot_limit));
        assert!(matches!(late, Decision::End(_)));
    }
}

#[test]
fn a_boot_that_used_its_cpu_time_continues_under_the_limit() {
    let timing = Timing::default();
    let with = |enforced, cpu_used| {
        let mut observed = running(enforced, 0);
        observed.container.as_mut().unwrap().cpu_used = cpu_used;
        observed
    };
    let little = with(Enforced::Nothing, Some(timing.boot_cpu / 2));
    // On a busy host a boot takes long without using much CPU.
    let late = at(0).plus(timing.boot_share * 2);
    assert!(matches!(decide(&little, None, late), Decision::Wait(_, Waiting::Boot)));
    let spent = with(Enforced::Nothing, Some(timing.boot_cpu));
    assert_eq!(decide(&spent, None, at(1000)), Decision::Do(Step::ApplyCpuLimit));
    let unknown = with(Enforced::Nothing, None);
    assert!(matches!(decide(&unknown, None, at(1000)), Decision::Wait(_, Waiting::Boot)));
    assert_eq!(decide(&unknown, None, late), Decision::Do(Step::ApplyCpuLimit));
    let limited = with(Enforced::Cpu, None);
    assert!(matches!(decide(&limited, None, late), Decision::Wait(_, Waiting::Boot)));
    let mut started = limited;
    started.probe = Probe::Answer { status: 200, body: r#"{"ok":true,"status":"started"}"#.into() };
    assert_eq!(decide(&started, None, late), Decision::Do(Step::ApplyLimits));
}

#[test]
fn a_live_instance_that_falls_silent_is_given_time_and_then_ended() {
    let timing = Timing::default();
    let silent = running(Enforced::All, 0);
    let since = at(1_000_000);
    assert!(matches!(decide(&silent, None, since), Decision::Wait(_, Waiting::Answer)));
    let soon = since.plus(timing.silence_limit / 2);
    assert!(matches!(decide(&silent, Some(since), soon), Decision::Wait(_, Waiting::Answer)));
    let late = since.plus(timing.silence_limit);
    assert!(matches!(decide(&silent, Some(since), late), Decision::End(_)));
}

#[test]
fn an_end_is_counted_once_also_when_the_clock_was_set_back() {
    let timing = Timing::default();
    let decide = |health: &Health, saw_run| {
        let mut observed = running(Enforced::All, 2000);
        let exit = Exit { code: 1, oom_killed: false, at: at(300) };
        observed.container.as_mut().unwrap().state = ContainerState::Exited(exit);
        next_step(&Inputs {
            presence: Presence::Present,
            volumes: &VOLUMES,
            deletion_policy: DeletionPolicy::None,
            spec: SPEC,
            secrets_revision: REVISION,
            config: None,
            unreadable: false,
            observed: &observed,
            health,
            boots_limited: false,
            saw_run,
            run_lasts: Duration::ZERO,
            silent_for: None,
            started_at: at(1000),
            now: at(310),
            timing: &timing,
        })
    };
    let counts = |decision: Decision| matches!(decision, Decision::CountFailure(_));
    // It failed before, at a time that is still to come by the present clock.
    let before =
        Health { last_failure_at: Some(at(1500)), failed_run: Some(at(1200)), ..Health::default() };
    assert!(counts(decide(&before, true)));
    assert!(!counts(decide(&before, false)), "it ended before this daemon began");
    let counted = Health { failed_run: Some(at(2000)), ..before };
    assert!(!counts(decide(&counted, true)));
}

#[test]
fn the_backoff_doubles_up_to_its_limit() {
    let (first, limit) = (Duration::from_secs(1), Duration::from_secs(300));
    let waits: Vec<_> = (1..=10).map(|n| backoff(n, first, limit).as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    assert_eq!(backoff(u32::MAX, first, limit), limit);
}

#[test]
fn a_volume_that_was_used_is_never_replaced_by_an_empty_one() {
    let (timing, used) = (Timing::default(), Volumes::default());
    let decide = |volumes: &Volumes, observed: &Observed, health: &Health| {
        next_step(&Inputs {
            presence: Presence::Present,
            volumes,
            deletion_policy: DeletionPolicy::None,
            spec: SPEC,
            secrets_revision: REVISION,
            config: None,
            unreadable: false,
            observed,
            health,
            boots_limited: false,
            saw_run: false,
            run_lasts: Duration::ZERO,
            silent_for: None,
            started_at: at(0),
            now: at(1000),
            timing: &timing,
        })
    };
    let fresh = Health::default();
    let waits = Health { retry_at: Some(at(5000)), failures: 2, ..Health::default() };
    let missing = Observed { network: true, ..Observed::default() };
    let empty = Observed { volume: true, volume_empty: true, ..running(Enforced::All, 0) };
    let stopped = Observed { container: None, ..empty.clone() };
    for health in [&fresh, &waits] {
        assert_eq!(decide(&used, &missing, health), Decision::DataLost(Loss::Missing));
        assert_eq!(decide(&used, &stopped, health), Decision::DataLost(Loss::Empty));
    }
    assert_eq!(decide(&used, &empty, &fresh), Decision::Do(Step::StopContainer));
    assert_eq!(decide(&Volumes::empty(), &missing, &fresh), Decision::Do(Step::CreateVolume));
    let waiting = decide(&Volumes::to_be_filled(), &missing, &fresh);
    assert!(matches!(waiting, Decision::Wait(_, Waiting::Restore)), "{waiting:?}");
    // Incomplete after a crash: it is completed, but created only if it never held data.
    let unready = Observed { volume: true, network: true, ..Observed::default() };
    assert_eq!(decide(&Volumes::empty(), &unready, &fresh), Decision::Do(Step::CreateVolume));
    assert_eq!(decide(&used, &unready, &fresh), Decision::Do(Step::OwnVolume));
}
