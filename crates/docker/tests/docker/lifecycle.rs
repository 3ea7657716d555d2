//! The lifecycle of an instance, with every step applied twice.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use startclaw_docker::{DockerSettings, StepError};
use startclaw_host::{
    Container, ContainerState, Convergence, Enforced, Host, HostAdmin, HostErrorKind, HostEvent,
    ImageState, LogRequest, NoReport, Observed, Probe, Target, objects::Step,
};
use startclaw_model::{AddressPool, StepName};

use super::platform::{Platform, SERVER, image, run};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn every_step_can_be_done_twice_and_leaves_what_it_says() {
    let p = Platform::new(8);
    let spec = p.spec("life", 0, &["node", "-e", SERVER]);
    let twice = async |step: Step| {
        p.apply(&spec, step.clone()).await;
        p.apply(&spec, step).await;
        p.observe(&spec).await
    };
    assert_eq!(p.observe(&spec).await, p.nothing(&spec));
    let seen = twice(Step::CreateVolume).await;
    assert!(seen.volume && seen.volume_ready);
    assert!(twice(Step::CreateNetwork).await.network);
    assert_eq!(twice(Step::WriteSecrets).await.secrets, Some(1));
    let config = Bytes::from_static(b"{\"a\":1}");
    assert_eq!(twice(Step::WriteConfig(config.clone())).await.config, Some(config));
    let created = twice(Step::CreateContainer).await.container.unwrap();
    assert_eq!((created.state, created.digest.as_str()), (ContainerState::Created, "spec-1"));
    assert_eq!(created.started_at, None);
    let started = twice(Step::StartContainer).await;
    assert_eq!(started.config, None, "it is not read while the instance runs");
    let started = started.container.unwrap();
    assert_eq!(started.state, ContainerState::Running);
    assert!(started.started_at.is_some());
    p.until(&spec, |seen| matches!(seen.probe, Probe::Answer { .. })).await;
    assert!(twice(Step::ApplyLimits).await.container.unwrap().enforced == Enforced::All);

    let found = p.host.inventory().await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].id.clone(), found[0].name.as_str()), (spec.id.clone(), "life"));
    assert!(found[0].volume && found[0].network);
    assert_eq!(found[0].container, Some(("spec-1".to_owned(), true)));

    // Frozen and unfrozen; frozen and stopped.
    run("docker", &["pause", &p.object(&spec)]);
    assert_eq!(p.container(&spec).await.state, ContainerState::Paused);
    assert_eq!(
        twice(Step::ResumeContainer).await.container.unwrap().state,
        ContainerState::Running
    );
    run("docker", &["pause", &p.object(&spec)]);
    let stopped = twice(Step::StopContainer).await.container.unwrap();
    assert!(matches!(stopped.state, ContainerState::Exited(_)), "{stopped:?}");

    // A newer spec replaces the container, and nothing else.
    let mut newer = spec.clone();
    newer.digest = "spec-2".to_owned();
    p.apply(&newer, Step::CreateContainer).await;
    let seen = p.observe(&newer).await;
    assert_eq!(seen.container.unwrap().digest, "spec-2");
    assert!(seen.volume && seen.network && seen.config.is_some());

    assert_eq!(twice(Step::RemoveContainer).await.container, None);
    assert!(!twice(Step::RemoveNetwork).await.network);
    assert_eq!(twice(Step::RemoveSecrets).await.secrets, None);
    assert_eq!(twice(Step::RemoveVolume).await, p.nothing(&spec));
    assert_eq!(p.host.inventory().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn a_tenant_leads_nobody_astray_in_its_volume() {
    let p = Platform::new(9);
    let spec = p.spec("traps", 0, &["sleep", "infinity"]);
    p.bring_up(&spec).await;
    let victim = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(victim.path(), "host").unwrap();
    let target = victim.path().display();
    for trap in [
        format!("ln -s {target} openclaw.json; ln -s {target} .startclaw-openclaw.json.new"),
        "mkfifo openclaw.json; mkfifo .startclaw-openclaw.json.new".to_owned(),
        "mkdir -p openclaw.json/a .startclaw-openclaw.json.new/b".to_owned(),
        "ln -s /proc/1/root/etc/shadow openclaw.json".to_owned(),
        "head -c 3M /dev/zero > openclaw.json".to_owned(),
        "chmod 000 .".to_owned(),
    ] {
        let cd = "cd ~/.openclaw && rm -rf openclaw.json .startclaw-openclaw.json.new";
        p.says(&spec, &format!("{cd} && {trap}"));
        p.apply(&spec, Step::StopContainer).await;
        let seen = p.observe(&spec).await;
        if !trap.starts_with("chmod") {
            assert_eq!(seen.config, None, "{trap}");
        }
        let config = Bytes::from_static(b"{\"mine\":true}");
        p.apply(&spec, Step::WriteConfig(config.clone())).await;
        let seen = p.observe(&spec).await;
        assert!(seen.volume);
        // A tenant that removed its own access gets it back.
        assert_eq!(seen.volume_ready, !trap.starts_with("chmod"));
        assert_eq!(seen.config, Some(config), "{trap}");
        assert_eq!(std::fs::read_to_string(victim.path()).unwrap(), "host", "{trap}");
        p.apply(&spec, Step::CreateVolume).await;
        assert!(p.observe(&spec).await.volume_ready);
        p.apply(&spec, Step::StartContainer).await;
        let meta = "stat -c '%a %u %F' ~/.openclaw/openclaw.json";
        assert_eq!(p.says(&spec, meta), "600 300288 regular file");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn a_volume_that_is_not_made_to_the_end_is_seen_mended_and_removed() {
    let p = Platform::new(17);
    let spec = p.spec("half", 0, &["sleep", "infinity"]);
    let object = p.object(&spec);
    let label = format!("schost17.instance={}", spec.id);
    // The state after a crash between the creation of the volume and the change of its owner.
    let make = || run("docker", &["volume", "create", "--label", &label, &object]);
    let half = Observed { volume: true, volume_empty: true, ..p.nothing(&spec) };
    make();
    assert_eq!(p.observe(&spec).await, half);
    p.apply(&spec, Step::RemoveVolume).await;
    assert_eq!(p.observe(&spec).await, p.nothing(&spec));
    make();
    p.apply(&spec, Step::CreateVolume).await;
    assert_eq!(p.observe(&spec).await, Observed { volume_ready: true, ..half.clone() });

    // Another first_uid: all files have another owner. It is reported, because only the operator
    // knows which one is right; the volume can still be removed.
    let root = run("docker", &["volume", "inspect", "-f", "{{.Mountpoint}}", &object]);
    run("chown", &["399999", &root]);
    assert_eq!(p.observe(&spec).await, half);
    let error = p.fails(&spec, &Step::CreateVolume).await;
    assert_eq!(error.kind, HostErrorKind::Refused);
    assert!(error.message.contains("first_uid"), "{error}");
    assert_eq!(run("stat", &["-c", "%u", &root]), "399999");

    // A missing folder (its disk may not be mounted) is not replaced by an empty one.
    std::fs::remove_dir(&root).unwrap();
    assert_eq!(p.observe(&spec).await, Observed { volume_empty: false, ..half });
    let error = p.fails(&spec, &Step::CreateVolume).await;
    assert!(error.message.contains("mounted"), "{error}");
    p.apply(&spec, Step::RemoveVolume).await;
    assert_eq!(p.observe(&spec).await, p.nothing(&spec));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn a_port_that_is_taken_and_a_container_that_cannot_be_made_are_refused() {
    let p = Platform::new(18);
    let spec = p.spec("port", 0, &["sleep", "infinity"]);
    let port = p.host.endpoints_of(spec.slot).unwrap().gateway.port();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    for step in [Step::CreateVolume, Step::CreateNetwork, Step::WriteSecrets, Step::CreateContainer]
    {
        p.apply(&spec, step).await;
    }
    let error = p.fails(&spec, &Step::StartContainer).await;
    println!("{error}");
    assert_eq!(error.kind, HostErrorKind::Refused);
    assert!(error.message.contains(&format!("port {port} of this machine is taken")), "{error}");
    drop(taken);
    p.apply(&spec, Step::StartContainer).await;

    // A container that the runtime cannot create: a mount in /proc.
    let mut odd = p.spec("odd", 1, &["sleep", "infinity"]);
    odd.workload.scratch.push(("/proc/odd".to_owned(), 1, false));
    for step in [Step::CreateVolume, Step::CreateNetwork, Step::WriteSecrets, Step::CreateContainer]
    {
        p.apply(&odd, step).await;
    }
    let error = p.fails(&odd, &Step::StartContainer).await;
    println!("{error}");
    assert_eq!(error.kind, HostErrorKind::Refused);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn forty_networks_are_there_at_once() {
    // Docker's default ranges are used up after about thirty.
    let bigger = |settings: &mut DockerSettings| {
        settings.address_pool = AddressPool::new("10.88.20.0/23".parse().unwrap()).unwrap();
    };
    let p = Platform::with(20, bigger);
    let plans: Vec<_> =
        (0..40).map(|n| p.spec(&format!("n{n}"), n, &["node", "-e", SERVER])).collect();
    let begin = Instant::now();
    let p = &p;
    let make = |spec| async move { p.apply(spec, Step::CreateNetwork).await };
    futures::future::join_all(plans.iter().map(make)).await;
    println!("40 networks took {:?}", begin.elapsed());
    let last = plans.last().unwrap();
    p.bring_up(last).await;
    p.until(last, |seen| matches!(seen.probe, Probe::Answer { .. })).await;
    assert_eq!(p.host.endpoints_of(last.slot).unwrap().webhook.to_string(), "10.88.21.58:8787");
    let found = p.host.inventory().await.unwrap();
    assert_eq!(found.iter().filter(|found| found.network).count(), 40);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn what_is_left_of_an_older_instance_of_that_name_is_not_taken_for_this_one() {
    let p = Platform::new(10);
    let old = p.spec("twin", 0, &["sleep", "infinity"]);
    p.bring_up(&old).await;
    let new = p.spec("twin", 1, &["sleep", "infinity"]);
    assert_eq!(p.observe(&new).await, p.nothing(&new));
    p.bring_up(&new).await;
    p.apply(&old, Step::RemoveContainer).await;
    assert_eq!(p.container(&new).await.state, ContainerState::Running);
    // A slot that is still in use is a temporary error.
    let third = p.spec("third", 1, &["sleep", "infinity"]);
    let error = p.fails(&third, &Step::CreateNetwork).await;
    assert_eq!(error.kind, HostErrorKind::Unavailable);
    assert!(error.message.contains(&p.object(&new)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn what_somebody_removed_by_hand_can_be_made_again() {
    let p = Platform::new(11);
    let spec = p.spec("heal", 0, &["sleep", "infinity"]);
    p.bring_up(&spec).await;
    let object = p.object(&spec);
    run("docker", &["rm", "-f", &object]);
    assert_eq!(p.observe(&spec).await.container, None);
    p.bring_up(&spec).await;

    // The network of a stopped container: the container is bound to it and must be removed too.
    p.apply(&spec, Step::StopContainer).await;
    run("docker", &["network", "rm", &object]);
    assert!(!p.observe(&spec).await.network);
    p.apply(&spec, Step::CreateNetwork).await;
    let error = p.fails(&spec, &Step::StartContainer).await;
    assert_eq!(error.kind, HostErrorKind::Unavailable);
    assert_eq!(p.observe(&spec).await.container, None);
    p.bring_up(&spec).await;

    // A network of our name with another range is replaced.
    p.apply(&spec, Step::RemoveContainer).await;
    run("docker", &["network", "rm", &object]);
    let label = |key: &str, value: &str| format!("schost11.{key}={value}");
    let labels = [label("instance", spec.id.as_str()), label("slot", "0")];
    let labels: Vec<&str> = labels.iter().flat_map(|label| ["--label", label]).collect();
    let args = [&["network", "create", "--subnet", "10.88.11.128/29"][..], &labels, &[&object]];
    run("docker", &args.concat());
    assert!(!p.observe(&spec).await.network);
    p.bring_up(&spec).await;
    assert!(p.observe(&spec).await.network);
    run("docker", &["stop", "-t0", &object]);
    let exit = p.until_ended(&spec).await;
    assert!(!exit.oom_killed && exit.at.as_millis() > 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn a_repair_runs_once_in_the_same_cell_and_leaves_nothing() {
    let p = Platform::new(12);
    let mut spec = p.spec("mend", 0, &["bash", "-c", "exit 78"]);
    p.bring_up(&spec).await;
    assert_eq!(p.until_ended(&spec).await.code, 78);
    p.host.repair(&spec).await.unwrap();
    p.host.repair(&spec).await.unwrap();
    let volume = run("docker", &["volume", "inspect", "-f", "{{.Mountpoint}}", &p.object(&spec)]);
    assert_eq!(run("stat", &["-c", "%u", &format!("{volume}/mended")]), "300384");

    // It has no network, and the error contains its output.
    let script = "ls /sys/class/net; echo 'it is \x1b[31mbroken'; exit 3";
    spec.workload.repair_command = ["bash", "-c", script].map(str::to_owned).to_vec();
    let error = p.host.repair(&spec).await.unwrap_err();
    assert_eq!(error.kind, HostErrorKind::Refused);
    assert!(error.message.ends_with("ended with code 3. It said: lo\nit is broken"), "{error}");

    // A repair container that a crash left is removed before the instance starts.
    let name = format!("{}-repair", p.object(&spec));
    let label = format!("schost12.instance={}", spec.id);
    let args = ["run", "-d", "--name", &name, "--label", &label, "--label"];
    run("docker", &[&args[..], &["schost12.role=repair", &spec.image, "sleep", "99"]].concat());
    assert_eq!(p.host.inventory().await.unwrap()[0].container, Some(("spec-1".to_owned(), false)));
    p.apply(&spec, Step::StartContainer).await;
    assert!(!run("docker", &["ps", "-a", "--format", "{{.Names}}"]).contains(&name));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn logs_come_as_lines_that_do_no_harm_and_follow_until_the_end() {
    let p = Platform::new(13);
    let script =
        "echo -e 'out\\x1b]0;x\\x07put'; echo -e 'bad\\xff' >&2; sleep 2; echo late; sleep 99";
    let spec = p.spec("talk", 0, &["bash", "-c", script]);
    let all = LogRequest { tail: 100, follow: false };
    let read = async |request| -> Vec<String> {
        p.host.logs(&spec.id, request).await.unwrap().try_collect().await.unwrap()
    };
    assert_eq!(read(all).await, [""; 0]);
    p.bring_up(&spec).await;
    let mut follow = p.host.logs(&spec.id, LogRequest { tail: 1, follow: true }).await.unwrap();
    let mut seen = Vec::new();
    while !seen.contains(&"late".to_owned()) {
        seen.push(follow.next().await.unwrap().unwrap());
    }
    let mut lines = read(all).await;
    lines.sort();
    assert_eq!(lines, ["bad\u{fffd}", "late", "output"]);
    assert_eq!(read(LogRequest { tail: 1, follow: false }).await, ["late"]);
    run("docker", &["kill", &p.object(&spec)]);
    assert!(follow.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn changes_name_the_instance() {
    let p = Platform::new(14);
    let spec = p.spec("news", 0, &["sleep", "infinity"]);
    p.bring_up(&spec).await;
    let mut changes = p.host.watch();
    assert_eq!(changes.next().await, Some(HostEvent::Everything));
    let begin = Instant::now();
    run("docker", &["kill", &p.object(&spec)]);
    while !matches!(p.container(&spec).await, Container { state: ContainerState::Exited(_), .. }) {}
    let change = tokio::time::timeout(Duration::from_secs(5), changes.next()).await.unwrap();
    assert_eq!(change, Some(HostEvent::Instance(spec.id.clone())));
    println!("a kill was reported after {:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn an_image_that_is_not_there_is_said_so() {
    let p = Platform::new(15);
    let mut spec = p.spec("none", 0, &[]);
    spec.image = "startclaw/none:1".to_owned();
    for step in [Step::CreateVolume, Step::CreateNetwork, Step::WriteSecrets] {
        p.apply(&spec, step).await;
    }
    let none = p.host.apply(&spec, &Step::CreateContainer).await;
    assert!(matches!(none, Err(StepError::NoImage(image)) if image == spec.image));
    // An image without a registry is not pulled.
    let seen = p.observe(&spec).await;
    let error = p.host.converge(&spec, Target::Stopped, &seen, &mut NoReport).await.unwrap_err();
    assert_eq!(error.kind, HostErrorKind::Refused);
    assert!(error.message.contains("script/image"), "{error}");
    for (name, state) in [
        (spec.image.as_str(), ImageState::Unknown),
        ("startclaw/openclaw:../x", ImageState::Unknown),
        ("startclaw/openclaw: X", ImageState::Unknown),
        ("registry.invalid/startclaw/none:1", ImageState::Fetchable),
        (&image(), ImageState::Here),
    ] {
        assert_eq!(p.host.image(name).await.unwrap(), state, "{name}");
    }
    let error = p.fails(&spec, &Step::StartContainer).await;
    assert_eq!(error.kind, HostErrorKind::Unavailable);
    spec.image = image();
    let seen = p.observe(&spec).await;
    let made = p.host.converge(&spec, Target::Stopped, &seen, &mut NoReport).await.unwrap();
    assert_eq!(made, Convergence::Step(StepName::Container));

    let findings = p.host.diagnose(&image()).await;
    for finding in &findings {
        println!("{:?} {}: {}", finding.status, finding.name, finding.detail);
    }
    let checked: Vec<&str> = findings.iter().map(|finding| finding.name.as_str()).collect();
    for check in [
        "docker",
        "image",
        "disk",
        "memory",
        "ports",
        "userland-proxy",
        "firewall",
        "openat2",
        "secrets",
    ] {
        assert!(checked.contains(&check), "{check}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn a_step_costs_little_beside_docker() {
    let p = Platform::new(16);
    let spec = p.spec("quick", 0, &["sleep", "infinity"]);
    let begin = Instant::now();
    for (step, time) in p.bring_up(&spec).await {
        println!("{step:>10} {:>6.1} ms", time.as_secs_f64() * 1e3);
    }
    println!("{:>10} {:>6.1} ms", "total", begin.elapsed().as_secs_f64() * 1e3);
    for (name, step) in [("limits", Some(Step::ApplyLimits)), ("observe", None)] {
        let begin = Instant::now();
        match step {
            Some(step) => p.apply(&spec, step).await,
            None => drop(p.observe(&spec).await),
        }
        println!("{name:>10} {:>6.1} ms", begin.elapsed().as_secs_f64() * 1e3);
    }
    let begin = Instant::now();
    p.host.inventory().await.unwrap();
    println!("{:>10} {:>6.1} ms", "inventory", begin.elapsed().as_secs_f64() * 1e3);
}
