//! Usage of containers and of this machine, from the kernel.

use std::time::{Duration, Instant};

use startclaw_host::{HostAdmin, Usage, objects::Step};

use super::platform::Platform;

/// Allocates 100 MiB and keeps a CPU busy.
const BUSY: &str = "const held = Buffer.alloc(100 << 20, 1); \
    setInterval(() => { const end = Date.now() + 50; while (Date.now() < end); held[0]++ }, 51)";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn a_busy_container_is_told_from_an_idle_one() {
    let p = Platform::new(23);
    let busy = p.spec("busy", 0, &["node", "-e", BUSY]);
    let idle = p.spec("idle", 1, &["sleep", "infinity"]);
    assert!(p.host.usage().await.unwrap().is_empty());
    for spec in [&busy, &idle] {
        p.bring_up(spec).await;
        // It is limited to half of a core.
        p.apply(spec, Step::ApplyLimits).await;
    }
    let seen = async || {
        let all = p.host.usage().await.unwrap();
        let of = |id| all.iter().find(|(i, _)| i == id).unwrap().1;
        (of(&busy.id), of(&idle.id))
    };
    // Waits until it has allocated its memory.
    let begun = Instant::now();
    while seen().await.0.memory < 100 << 20 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", seen().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (begun, before) = (Instant::now(), seen().await);
    while seen().await.0.cpu < before.0.cpu + Duration::from_secs(1) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", seen().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (time, after) = (begun.elapsed(), seen().await);
    let share =
        |before: Usage, after: Usage| (after.cpu - before.cpu).as_secs_f64() / time.as_secs_f64();
    assert!(share(before.0, after.0) < 0.7, "no more than its limit: {after:?} in {time:?}");
    assert!(share(before.1, after.1) < 0.1, "idle: {after:?} in {time:?}");
    assert!(after.0.memory < 256 << 20 && after.1.memory < 50 << 20, "{after:?}");

    p.apply(&busy, Step::StopContainer).await;
    let left: Vec<_> = p.host.usage().await.unwrap().into_iter().map(|(id, _)| id).collect();
    assert_eq!(left, [idle.id], "only what runs");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn the_machine_says_what_it_has() {
    let p = Platform::new(24);
    let machine = p.host.machine().await.unwrap().unwrap();
    assert!(machine.memory_available < machine.memory_total);
    assert!(machine.memory_total > 256 << 20);
    assert!(machine.cpus > 0);
    assert!(machine.cpu_busy > Duration::ZERO);
    let disk = machine.instances.unwrap();
    assert!(disk.available <= disk.total && disk.total > 1 << 30);
    assert_eq!(machine.data, None, "no folder was set");
}
