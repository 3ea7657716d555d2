//! The daemon crashes at any point of any operation, and the next one completes it: nothing leaks,
//! nothing is done twice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;
use startclaw_backup::{BackupError, BackupErrorKind, Job};
use startclaw_engine::RestoreRequest;
use startclaw_host::{ContainerState, Enforced, objects::Step};
use startclaw_model::{
    Actor, DeletionPolicy, InstanceState, OperationState, Secret, SecretName, SnapshotChoice,
    StepName,
};
use startclaw_simulated::{Fault, Faults};
use startclaw_testkit::*;
use tokio::runtime::{Builder, Runtime};

/// The runtime of one daemon. Dropping it ends every task at once, as a kill does.
fn life() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A fault at one call of the host.
#[derive(Debug, Clone, Copy)]
enum Mishap {
    Refuse,
    Fail,
    FailAfter,
    Lag,
    Crash,
    CrashAfter,
}

fn any_mishap() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        Just(Mishap::Refuse),
        Just(Mishap::Fail),
        Just(Mishap::FailAfter),
        Just(Mishap::Lag),
        Just(Mishap::Crash),
        Just(Mishap::CrashAfter),
    ]
}

/// The request after the provision.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verb {
    Restart,
    SetSecret,
    Deprovision,
}

/// Injects the faults at the given steps, or at the observation before them, each once; sets `die`
/// when the daemon is to crash.
fn faults(mishaps: Vec<(u64, Mishap)>, die: Arc<AtomicBool>) -> Faults {
    let mishaps = std::sync::Mutex::new((0u64, mishaps));
    Faults::by(move |_, step| {
        let mut state = mishaps.lock().unwrap();
        let number = state.0;
        state.0 += u64::from(step.is_some());
        let Some(at) = state.1.iter().position(|(n, _)| *n == number) else { return Fault::None };
        match state.1.remove(at).1 {
            // An observation is not refused, and permanent refusals have their own test.
            Mishap::Refuse if step.is_some() => Fault::Refuse,
            Mishap::Refuse | Mishap::Fail => Fault::FailBefore,
            Mishap::FailAfter => Fault::FailAfter,
            Mishap::Lag => Fault::Lag(Duration::from_millis(5)),
            Mishap::Crash => {
                die.store(true, Ordering::SeqCst);
                Fault::HangBefore
            }
            Mishap::CrashAfter => {
                die.store(true, Ordering::SeqCst);
                Fault::HangAfter
            }
        }
    })
}

/// Runs `ask`, and restarts the daemon after crashes until `done` holds.
fn live_until(
    platform: &TestPlatform,
    die: &AtomicBool,
    ask: impl AsyncFn(&startclaw_engine::Engine),
    done: impl AsyncFn(&startclaw_engine::Engine) -> bool,
) {
    let mut asked = false;
    for _ in 0..20 {
        let runtime = life();
        let finished = runtime.block_on(async {
            let engine = platform.start().await;
            if !asked {
                ask(&engine).await;
                asked = true;
            }
            let wait = async {
                loop {
                    if die.swap(false, Ordering::SeqCst) {
                        return false;
                    }
                    if done(&engine).await {
                        return true;
                    }
                    // Polling the database more often would dominate the test's run time.
                    tokio::time::sleep(Duration::from_millis(4)).await;
                }
            };
            tokio::time::timeout(LIMIT, wait).await.expect("it is done in time")
        });
        runtime.shutdown_background();
        if finished {
            return;
        }
    }
    panic!("more crashes than were planned");
}

async fn all_over(engine: &startclaw_engine::Engine) -> bool {
    engine.operations(None, 100).await.unwrap().iter().all(|o| o.state.is_over())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 50, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_operation_survives_failures_lags_and_crashes_at_any_step(
        first in prop::collection::vec((0u64..10, any_mishap()), 0..4),
        second in prop::collection::vec((0u64..9, any_mishap()), 0..4),
        verb in prop_oneof![Just(Verb::Restart), Just(Verb::SetSecret), Just(Verb::Deprovision)],
    ) {
        let platform = TestPlatform::new();
        let die = Arc::new(AtomicBool::new(false));
        let alice = name("alice");

        platform.host.set_faults(faults(first, die.clone()));
        live_until(&platform, &die, async |engine| {
            engine.provision(&Actor::system(), request("alice"), None).await.unwrap();
        }, async |engine| all_over(engine).await
            && engine.status(&alice).await.is_ok_and(|s| s.state == InstanceState::Live));
        let ids = platform.host.state().ids();
        prop_assert_eq!(ids.len(), 1);
        let thing = platform.host.state().instance(&ids[0]).clone();
        prop_assert_eq!(thing.starts, 1, "it was started once");

        platform.host.set_faults(faults(second, die.clone()));
        live_until(&platform, &die, async |engine| {
            match verb {
                Verb::Restart => engine.restart(&Actor::system(), &alice, None).await.unwrap(),
                Verb::SetSecret => {
                    let (key, value) = (SecretName::parse("MINE").unwrap(), Secret::new("x"));
                    engine.set_secret(&Actor::system(), &alice, key, value, None).await.unwrap()
                }
                Verb::Deprovision => engine.deprovision(&Actor::system(), &alice, DeletionPolicy::FinalBackup, None).await.unwrap(),
            };
        }, async |engine| all_over(engine).await && match verb {
            Verb::Restart | Verb::SetSecret => engine.status(&alice).await.is_ok_and(|s| s.state == InstanceState::Live),
            Verb::Deprovision => engine.status(&alice).await.is_err(),
        });
        let left = platform.host.state().ids();
        match verb {
            Verb::Restart | Verb::SetSecret => {
                let thing = platform.host.state().instance(&ids[0]).clone();
                prop_assert_eq!(left.len(), 1);
                prop_assert_eq!(thing.starts, 2, "it was started once more");
                let container = thing.container.unwrap();
                prop_assert!(container.state == ContainerState::Running && container.enforced == Enforced::All);
            }
            Verb::Deprovision => prop_assert!(left.is_empty(), "{:?}", left),
        }
        let states = life().block_on(async {
            let engine = platform.start().await;
            engine.operations(None, 10).await.unwrap()
        });
        prop_assert_eq!(states.len(), 2);
        prop_assert!(states.iter().all(|o| o.state == OperationState::Succeeded), "{:?}", states);
    }
}

/// Injects the faults at the given jobs on repositories, each once.
fn repository_faults(
    mishaps: Vec<(u64, Mishap)>,
    die: Arc<AtomicBool>,
) -> impl Fn(&Job) -> Option<BackupError> + Send + 'static {
    let mishaps = std::sync::Mutex::new((0u64, mishaps));
    move |_| {
        let mut state = mishaps.lock().unwrap();
        let number = state.0;
        state.0 += 1;
        let at = state.1.iter().position(|(n, _)| *n == number)?;
        let kind = match state.1.remove(at).1 {
            Mishap::Crash | Mishap::CrashAfter => {
                die.store(true, Ordering::SeqCst);
                BackupErrorKind::Died
            }
            Mishap::Lag => BackupErrorKind::Busy,
            _ => BackupErrorKind::Unavailable,
        };
        Some(BackupError { kind, message: "a mishap".into() })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases() / 4, max_shrink_iters: 50, failure_persistence: None, ..ProptestConfig::default() })]

    /// No instance is left frozen, on an incomplete volume or without one, and the reported outcome
    /// is true.
    #[test]
    fn backups_and_restores_survive_failures_lags_and_crashes_at_any_step(
        on_host in prop::collection::vec((0u64..14, any_mishap()), 0..4),
        on_repository in prop::collection::vec((0u64..5, any_mishap()), 0..3),
        restore in any::<bool>(),
        bucket in any::<bool>(),
    ) {
        let mut platform = TestPlatform::new();
        if bucket {
            platform = platform.with_destination("gs://bucket/prefix");
        }
        let die = Arc::new(AtomicBool::new(false));
        let alice = name("alice");
        life().block_on(async {
            let engine = platform.start().await;
            provisioned(&engine, "alice").await;
            let first = engine.backup(&Actor::system(), &alice).await.unwrap();
            assert_eq!(over(&engine, &first).await.state, OperationState::Succeeded);
            engine.shutdown().await;
        });

        platform.host.set_faults(faults(on_host, die.clone()));
        platform.repositories.fail_by(repository_faults(on_repository, die.clone()));
        live_until(&platform, &die, async |engine| {
            if restore {
                let request = RestoreRequest { name: alice.clone(), instance: None, snapshot: SnapshotChoice::Latest, as_name: None };
                engine.restore(&Actor::system(), request, None).await.unwrap();
            } else {
                engine.backup(&Actor::system(), &alice).await.unwrap();
            }
        }, async |engine| all_over(engine).await
            && engine.status(&alice).await.is_ok_and(|s| s.state == InstanceState::Live));

        let ids = platform.host.state().ids();
        prop_assert_eq!(ids.len(), 1);
        let (last, backups) = life().block_on(async {
            let engine = platform.start().await;
            let last = engine.operations(Some(&alice), 1).await.unwrap().remove(0);
            (last, engine.backups(&alice).await.unwrap())
        });
        let thing = platform.host.state().instance(&ids[0]).clone();
        let container = thing.container.unwrap();
        prop_assert_eq!(container.state, ContainerState::Running);
        prop_assert!(thing.volumes.contains_key(&thing.mounted));
        let done = last.state == OperationState::Succeeded;
        prop_assert!(done || last.error.is_some());
        if restore {
            prop_assert_eq!(thing.mounted, u64::from(done), "{:?}", last);
            prop_assert!(thing.volumes.contains_key(&0), "the volume before is kept");
        } else {
            prop_assert_eq!(thing.starts, 1, "it was never restarted");
            prop_assert!(thing.volumes.len() == 1 && container.enforced == Enforced::All);
            if done {
                prop_assert!(backups.iter().any(|b| Some(&b.id) == last.snapshot.as_ref()), "{:?}", last);
            }
        }
        prop_assert!(!backups.is_empty());
    }
}

/// A few in a quick run; thousands in the full test.
fn cases() -> u32 {
    std::env::var("STARTCLAW_CRASH_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(60)
}

/// Not random: a crash before and after each step of a provision.
#[test]
fn a_crash_before_and_after_every_step_of_a_provision() {
    for number in 0..8 {
        for mishap in [Mishap::Crash, Mishap::CrashAfter] {
            let platform = TestPlatform::new();
            let die = Arc::new(AtomicBool::new(false));
            platform.host.set_faults(faults(vec![(number, mishap)], die.clone()));
            live_until(
                &platform,
                &die,
                async |engine| {
                    engine.provision(&Actor::system(), request("alice"), None).await.unwrap();
                },
                all_over,
            );
            let ids = platform.host.state().ids();
            assert_eq!(ids.len(), 1);
            assert_eq!(platform.host.state().instance(&ids[0]).starts, 1, "{number} {mishap:?}");
        }
    }
}

#[test]
fn the_steps_that_were_crashed_at_are_all_there_are() {
    use StepName::{ApplyLimits, Config, Container, Network, Secrets, Start, Volume};
    let platform = TestPlatform::new();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = seen.clone();
    platform.host.set_faults(Faults::by(move |_, step: Option<&Step>| {
        log.lock().unwrap().extend(step.map(Step::name));
        Fault::None
    }));
    life().block_on(async {
        let engine = platform.start().await;
        provisioned(&engine, "alice").await;
    });
    assert_eq!(
        *seen.lock().unwrap(),
        [Volume, Network, Secrets, Config, Container, Start, ApplyLimits]
    );
}
