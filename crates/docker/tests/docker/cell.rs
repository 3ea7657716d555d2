//! Isolation of an instance: tries to break out of each restriction of the profile.

use std::{os::unix::fs::MetadataExt, time::Duration};

use startclaw_host::{ContainerState, Enforced, Host, LogRequest, Probe, objects::Step};
use startclaw_model::Limits;

use super::platform::{CANARY, Platform, SERVER, run, works};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn inside_there_is_no_way_to_more_rights() {
    let p = Platform::new(1);
    let spec = p.spec("cell", 3, &["sleep", "infinity"]);
    p.bring_up(&spec).await;

    // Its own user, and no capabilities, now or later.
    assert_eq!(p.says(&spec, "id -u; id -g; id -G"), "300035\n300035\n300035");
    let status = p.says(&spec, "cat /proc/self/status");
    for line in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(status.contains(&format!("{line}:\t0000000000000000")), "{line}: {status}");
    }
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    assert!(status.contains("Seccomp:\t2"), "{status}");
    p.refuses(&spec, "mount -t tmpfs x /mnt", "");
    p.refuses(&spec, "unshare --user --map-root-user id", "Operation not permitted");
    p.refuses(&spec, "unshare --net id", "Operation not permitted");
    p.refuses(&spec, "mknod /tmp/sda b 8 0", "Operation not permitted");
    p.refuses(&spec, "setpriv --reuid 0 id", "not permitted");
    p.refuses(&spec, "chown 0 /tmp", "not permitted");
    p.refuses(&spec, "echo 1 > /proc/sys/kernel/panic", "Read-only file system");
    p.refuses(&spec, "echo b > /proc/sysrq-trigger", "");
    p.refuses(&spec, "cat /proc/kcore", "");
    p.refuses(&spec, "ls /sys/firmware/efi", "");

    // A setuid program of root gains no privileges, wherever it is.
    let volume = run("docker", &["volume", "inspect", "-f", "{{.Mountpoint}}", &p.object(&spec)]);
    let trap = format!("{volume}/trap");
    run("cp", &["/usr/bin/dash", &trap]);
    run("chmod", &["4755", &trap]);
    assert_eq!(std::fs::metadata(&trap).unwrap().uid(), 0);
    assert_eq!(p.says(&spec, "/home/node/.openclaw/trap -c 'id -u'"), "300035");

    // The root is read-only, and so is everything else except its own folders.
    for path in ["/x", "/etc/passwd", "/usr/bin/x", "/app/x", "/home/node/x"] {
        p.refuses(&spec, &format!("echo x > {path}"), "Read-only file system");
    }
    assert_eq!(p.says(&spec, "echo x > /tmp/x && echo x > ~/.cache/x && echo fine"), "fine");
    p.refuses(&spec, "cp /usr/bin/true ~/.cache/ && ~/.cache/true", "Permission denied");
    p.refuses(&spec, "head -c 70M /dev/zero > /tmp/big", "No space left");
    p.refuses(&spec, "head -c 20M /dev/zero > /dev/shm/big", "No space left");

    // Neither Docker nor anything of the host is visible.
    p.refuses(&spec, "ls /var/run/docker.sock /run/docker.sock", "No such file");
    assert_eq!(p.says(&spec, "hostname || cat /etc/hostname"), "openclaw");
    assert!(p.says(&spec, "cat /proc/1/cmdline | tr '\\0' ' '").contains("docker-init"));
    assert_eq!(p.says(&spec, "cat /proc/net/if_inet6 | grep -v ' lo$' | wc -l"), "0");
    assert_eq!(p.says(&spec, "ulimit -Hc"), "0");
    assert_eq!(p.says(&spec, "cat /proc/1/oom_score_adj"), "500");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn secrets_are_read_by_their_instance_and_by_nobody_else() {
    let p = Platform::new(2);
    let spec = p.spec("keys", 0, &["sleep", "infinity"]);
    p.bring_up(&spec).await;
    assert_eq!(p.says(&spec, "cat /run/secrets/startclaw/KEY"), CANARY);
    p.refuses(&spec, "echo x > /run/secrets/startclaw/KEY", "");
    p.refuses(&spec, "echo x > /run/secrets/startclaw/new", "Read-only file system");
    p.refuses(&spec, "rm -f /run/secrets/startclaw/KEY", "Read-only file system");
    p.refuses(&spec, "cat /run/secrets/startclaw/.revision", "Permission denied");

    // Another user on the host, such as another instance's uid, sees neither the file nor its name.
    let root = p.settings.runtime_dir.join("secrets");
    let folder = root.join(spec.id.as_str());
    let folder = folder.to_str().unwrap();
    let other = ["--reuid", "300065", "--regid", "300065", "--clear-groups"];
    for command in
        [["cat", &format!("{folder}/KEY")], ["ls", folder], ["ls", root.to_str().unwrap()]]
    {
        assert!(!works("setpriv", &[&other[..], &command[..]].concat()), "{command:?}");
    }
    assert_eq!(run("stat", &["-f", "-c", "%T", folder]), "tmpfs");

    // Rewritten while it runs: the container sees the new secrets, because the folder is the same.
    let mut newer = spec.clone();
    newer.secrets_revision = 2;
    newer.secrets[0].value = startclaw_model::Secret::new("second");
    p.apply(&newer, Step::WriteSecrets).await;
    assert_eq!(p.says(&spec, "cat /run/secrets/startclaw/KEY"), "second");
    assert_eq!(p.observe(&spec).await.secrets, Some(2));

    // The canary is not in any public place.
    let object = p.object(&spec);
    for args in
        [vec!["inspect", &object], vec!["logs", &object], vec!["volume", "inspect", &object]]
    {
        assert!(!run("docker", &args).contains(CANARY), "{args:?}");
    }
    p.apply(&spec, Step::RemoveContainer).await;
    p.apply(&spec, Step::RemoveSecrets).await;
    assert!(!std::path::Path::new(folder).exists());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn processes_memory_cpu_and_logs_are_bounded() {
    let p = Platform::new(3);
    let spec = p.spec("bounds", 0, &["sleep", "infinity"]);
    p.bring_up(&spec).await;

    // A fork bomb ends at the limit, and does not affect the host.
    p.refuses(&spec, "sh -c 'for i in $(seq 300); do sleep 20 & done'", "Cannot fork");
    let tasks = run("docker", &["top", &p.object(&spec), "-o", "pid"]).lines().count();
    assert!(tasks <= 101, "{tasks}");

    // The CPU is lifted for the boot, limited afterwards, lifted for the next boot.
    let booting = p.container(&spec).await;
    assert_eq!(booting.enforced, Enforced::Nothing);
    assert!(booting.cpu_used.is_some(), "what a boot uses is seen");
    let kept = || p.inspect(&spec, "{{.HostConfig.MemoryReservation}}");
    let (soft, hard) = (spec.limits.memory_soft_mib << 20, spec.limits.memory_hard_mib << 20);
    p.apply(&spec, Step::ApplyCpuLimit).await;
    assert_eq!(p.container(&spec).await.enforced, Enforced::Cpu);
    assert_eq!(kept(), hard.to_string(), "a boot under the CPU limit has its memory");
    let busy = "timeout 2 bash -c 'while :; do :; done'; cat /proc/self/cgroup >/dev/null; times";
    p.apply(&spec, Step::ApplyLimits).await;
    p.apply(&spec, Step::ApplyLimits).await;
    assert_eq!(p.container(&spec).await.enforced, Enforced::All);
    assert_eq!(kept(), soft.to_string(), "the soft limit is in force after the boot");
    let spent = || -> u64 {
        let pid = p.pid(&spec);
        let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let v1 = cgroup
            .lines()
            .find_map(|l| l.split_once(":cpuacct:").or(l.split_once(":cpu,cpuacct:")));
        match v1 {
            Some((_, path)) => {
                let file = format!("/sys/fs/cgroup/cpuacct{path}/cpuacct.usage");
                std::fs::read_to_string(file).unwrap().trim().parse::<u64>().unwrap() / 1_000
            }
            None => {
                let path = cgroup.trim().trim_start_matches("0::").to_owned();
                let text =
                    std::fs::read_to_string(format!("/sys/fs/cgroup{path}/cpu.stat")).unwrap();
                text.lines().next().unwrap().split(' ').nth(1).unwrap().parse().unwrap()
            }
        }
    };
    let before = spent();
    p.inside(&spec, busy);
    let used = Duration::from_micros(spent() - before);
    assert!(used < Duration::from_millis(1_500), "{used:?} of CPU in 2 s");
    p.apply(&spec, Step::StopContainer).await;
    p.apply(&spec, Step::StartContainer).await;
    assert_eq!(p.container(&spec).await.enforced, Enforced::Nothing);
    assert_eq!(kept(), hard.to_string(), "and lifted while it boots");

    // Memory: the kernel kills it at the limit, and that is reported.
    let mut hungry = p.spec("hungry", 1, &["tail", "/dev/zero"]);
    hungry.limits = Limits { memory_hard_mib: 96, ..hungry.limits };
    p.bring_up(&hungry).await;
    let exit = p.until_ended(&hungry).await;
    assert!(exit.oom_killed, "{exit:?}");
    assert_eq!(exit.code, 137);
    assert_eq!(
        p.inspect(
            &hungry,
            "{{.HostConfig.Memory}} {{.HostConfig.MemoryReservation}} {{.HostConfig.MemorySwap}}"
        ),
        format!("{} {} {}", 96 << 20, 96 << 20, 96 << 20)
    );

    // Logs: 8 MiB written, at most 2 MiB kept.
    let chatty =
        p.spec("chatty", 2, &["bash", "-c", "head -c 8M /dev/zero | tr '\\0' x | fold -w 99"]);
    p.bring_up(&chatty).await;
    p.until_ended(&chatty).await;
    let log = p.inspect(&chatty, "{{.LogPath}}");
    let folder = std::path::Path::new(&log).parent().unwrap();
    let kept: u64 = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_string_lossy().contains("-json.log"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert!(kept < 3 << 20, "{kept} bytes of log");
    let mut lines = p.host.logs(&chatty.id, LogRequest { tail: 3, follow: false }).await.unwrap();
    assert!(futures::StreamExt::next(&mut lines).await.unwrap().unwrap().starts_with("xxx"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn it_is_published_on_the_loopback_only_and_answers_there() {
    let p = Platform::new(4);
    let spec = p.spec("web", 5, &["node", "-e", SERVER]);
    p.bring_up(&spec).await;
    let seen = p.until(&spec, |seen| matches!(seen.probe, Probe::Answer { .. })).await;
    assert_eq!(seen.probe, Probe::Answer { status: 200, body: "ok".to_owned() });
    assert_eq!(seen.container.unwrap().state, ContainerState::Running);
    let port = 21_001 + 4 * 32 + 5;
    assert_eq!(p.host.endpoints_of(spec.slot).unwrap().gateway.port(), port);
    assert_eq!(
        run("docker", &["port", &p.object(&spec)]),
        format!("18789/tcp -> 127.0.0.1:{port}")
    );

    // The webhook's port is reached on the container's own address.
    let webhook = p.host.endpoints_of(spec.slot).unwrap().webhook;
    assert_eq!(webhook.to_string(), "10.88.4.42:8787");
    assert_eq!(p.host.probe(&spec).await.unwrap(), seen.probe);
    p.apply(&spec, Step::StopContainer).await;
    assert_eq!(p.host.probe(&spec).await.unwrap(), Probe::Refused);
    assert_eq!(p.observe(&spec).await.probe, Probe::NotAsked);
}
