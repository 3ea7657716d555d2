//! Usage of instances and of the host, on a simulated host.

use std::time::Duration;

use startclaw_engine::{Disk, MachineUsage};
use startclaw_host::Usage;
use startclaw_model::{Actor, DeletionPolicy};
use startclaw_testkit::*;

#[tokio::test]
async fn what_an_instance_uses_is_seen_while_it_is_there() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    let id = engine.status(&name("alice")).await.unwrap().id;
    let used = Usage { memory: 300 << 20, cpu: Duration::from_secs(1) };
    platform.host.state().instance(&id).usage = used;
    let seen = || engine.usage(&name("alice"));
    until("it is seen", async || seen().last().is_some_and(|s| s.memory_mib == 300)).await;

    // CPU usage of more than a thousandth of a core at the next sample.
    platform.host.state().instance(&id).usage.cpu += Duration::from_secs(1);
    until("it is busy", async || seen().iter().any(|s| s.cpu_thousandths > 0)).await;
    until("it is idle", async || seen().last().is_some_and(|s| s.cpu_thousandths == 0)).await;
    assert!(seen().is_sorted_by_key(|s| s.at), "oldest first");

    assert!(engine.usage(&name("nobody")).is_empty());
    let actor = Actor::system();
    let gone =
        engine.deprovision(&actor, &name("alice"), DeletionPolicy::Purge, None).await.unwrap();
    over(&engine, &gone).await;
    assert!(seen().is_empty());
    provisioned(&engine, "alice").await;
    assert!(seen().iter().all(|s| s.memory_mib == 0), "another one of the same name");
}

#[tokio::test]
async fn the_machine_is_seen_with_its_disks() {
    let platform = TestPlatform::new();
    let disk = Disk { total: 100 << 30, available: 40 << 30 };
    let now = MachineUsage {
        memory_total: 8 << 30,
        memory_available: 5 << 30,
        cpus: 2,
        cpu_busy: Duration::from_secs(7),
        data: None,
        instances: Some(disk),
    };
    platform.host.state().machine = now;
    let engine = platform.start().await;
    until("it is seen", async || engine.machine_usage().samples.len() > 1).await;
    let seen = engine.machine_usage();
    assert_eq!(seen.now, Some(now));
    assert_eq!(seen.samples[0].memory_mib, 3 * 1024);
    assert_eq!(seen.samples[0].cpu_thousandths, 0);
}
