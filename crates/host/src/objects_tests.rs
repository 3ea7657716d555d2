//! The order of objects. That every state leads to every target is tested by
//! [`conformance`](crate::conformance) and by the engine's tests.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::{Exit, sample_spec};

fn spec() -> InstanceSpec {
    InstanceSpec {
        volume: 1,
        volume_holds_data: true,
        kept_volumes: vec![1, 2],
        digest: "new".into(),
        secrets_revision: 3,
        ..sample_spec("alice", 0)
    }
}

fn container(state: ContainerState, digest: &str, enforced: Enforced) -> Option<Container> {
    Some(Container {
        state,
        digest: digest.into(),
        enforced,
        limits_changed: false,
        cpu_used: None,
        started_at: None,
    })
}

/// Everything exists but the container.
fn prepared() -> Observed {
    Observed {
        volume: true,
        volume_ready: true,
        network: true,
        secrets: Some(3),
        ..Observed::default()
    }
}

const EXITED: ContainerState = ContainerState::Exited(Exit {
    code: 1,
    oom_killed: false,
    at: startclaw_model::Timestamp::from_millis(0),
});
const RUNNING: Target = Target::Running(Enforced::Nothing);

#[test]
fn limits_are_tightened_during_a_run_and_never_lifted() {
    for (is, wanted, step) in [
        (Enforced::Nothing, Enforced::Nothing, None),
        (Enforced::Nothing, Enforced::Cpu, Some(Step::ApplyCpuLimit)),
        (Enforced::Nothing, Enforced::All, Some(Step::ApplyLimits)),
        (Enforced::Cpu, Enforced::Nothing, None),
        (Enforced::Cpu, Enforced::All, Some(Step::ApplyLimits)),
        (Enforced::All, Enforced::Nothing, None),
        (Enforced::All, Enforced::Cpu, None),
    ] {
        let container = container(ContainerState::Running, "new", is);
        let next =
            next_step(&spec(), Target::Running(wanted), &Observed { container, ..prepared() });
        assert_eq!(next, step.map_or(Next::Done, Next::Take), "{is:?} {wanted:?}");
    }
}

#[test]
fn limits_that_somebody_changed_are_applied_again_when_it_has_booted() {
    let mut seen = Observed {
        container: container(ContainerState::Running, "new", Enforced::All),
        ..prepared()
    };
    seen.container.as_mut().unwrap().limits_changed = true;
    let booted = next_step(&spec(), Target::Running(Enforced::All), &seen);
    assert_eq!(booted, Next::Take(Step::ApplyLimits));
    assert_eq!(next_step(&spec(), RUNNING, &seen), Next::Done);
}

#[test]
fn a_prepared_container_is_only_started_and_one_that_is_stopped_is_left() {
    for state in [ContainerState::Created, EXITED] {
        let seen = Observed { container: container(state, "new", Enforced::Nothing), ..prepared() };
        assert_eq!(next_step(&spec(), Target::Stopped, &seen), Next::Done);
        assert_eq!(next_step(&spec(), RUNNING, &seen), Next::Take(Step::StartContainer));
        // Its configuration is written first, while it does not run.
        let changed = InstanceSpec { config: Some(Bytes::from("{}")), ..spec() };
        for target in [Target::Stopped, RUNNING] {
            let next = next_step(&changed, target, &seen);
            assert_eq!(next, Next::Take(Step::WriteConfig(Bytes::from("{}"))));
        }
    }
}

#[test]
fn a_volume_that_held_data_is_never_created() {
    let missing = Observed { volume: false, volume_ready: false, ..prepared() };
    let unused = InstanceSpec { volume_holds_data: false, ..spec() };
    let unready = Observed { volume_ready: false, ..prepared() };
    for target in [Target::Stopped, RUNNING] {
        assert_eq!(next_step(&spec(), target, &missing), Next::VolumeLost);
        assert_eq!(next_step(&unused, target, &missing), Next::Take(Step::CreateVolume));
        // Incomplete after a crash: completed.
        assert_eq!(next_step(&spec(), target, &unready), Next::Take(Step::OwnVolume));
        assert_eq!(next_step(&unused, target, &unready), Next::Take(Step::CreateVolume));
    }
}

#[test]
fn a_volume_is_removed_only_when_the_container_has_moved_to_another() {
    let seen = |digest| Observed {
        container: container(ContainerState::Running, digest, Enforced::All),
        other_volumes: vec![0, 2],
        ..prepared()
    };
    let stale = Next::Take(Step::RemoveOtherVolume(0));
    assert_eq!(next_step(&spec(), RUNNING, &seen("new")), stale);
    assert_eq!(next_step(&spec(), RUNNING, &seen("old")), Next::Take(Step::StopContainer));
}

#[test]
fn only_a_running_container_is_frozen() {
    let target = Target::Suspended { at_most: Some(Duration::from_secs(3)) };
    let running = container(ContainerState::Running, "new", Enforced::All);
    let freeze = Step::PauseContainer { at_most: Some(Duration::from_secs(3)) };
    let next = next_step(&spec(), target, &Observed { container: running, ..prepared() });
    assert_eq!(next, Next::Take(freeze));
    for state in [ContainerState::Created, ContainerState::Paused, EXITED] {
        let container = container(state, "new", Enforced::All);
        let next = next_step(&spec(), target, &Observed { container, ..prepared() });
        assert_eq!(next, Next::Done);
    }
    assert_eq!(next_step(&spec(), target, &Observed::default()), Next::Done);
}

#[test]
fn the_data_go_last_and_not_while_it_is_unknown_which_there_are() {
    let down = Observed { volume: true, other_volumes: vec![2], ..Observed::default() };
    let keep = Target::Absent { keep_volumes: true };
    let all = Target::Absent { keep_volumes: false };
    let alive = container(ContainerState::Running, "new", Enforced::All);
    let up = Observed { container: alive, other_volumes: vec![2], ..prepared() };
    for target in [keep, all] {
        assert_eq!(next_step(&spec(), target, &up), Next::Take(Step::StopContainer));
    }
    assert_eq!(next_step(&spec(), keep, &down), Next::Done);
    assert_eq!(next_step(&spec(), all, &down), Next::Take(Step::RemoveOtherVolume(2)));
    let unknown = Observed { other_volumes: Vec::new(), other_volumes_unknown: true, ..down };
    assert!(matches!(next_step(&spec(), all, &unknown), Next::Wait(_)));
}
