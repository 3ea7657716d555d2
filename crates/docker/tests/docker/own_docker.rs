//! A machine in the machine: a network, processes, mounts and a Docker of a test's own, so that
//! the test may flush every firewall rule there and restart Docker. All of it ends with the test.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use super::platform::{run, works};

/// Set for the test in the namespaces: the folder of its Docker.
const FOLDER: &str = "STARTCLAW_TEST_OWN_DOCKER";
/// Set for the test in the namespaces: this machine's own network namespace.
const OUTSIDE: &str = "STARTCLAW_TEST_OUTSIDE";
/// A test takes less than a minute.
const LIMIT: Duration = Duration::from_secs(300);
/// What is in the image: Perl, and what it needs.
const IMAGE: &str = "startclaw-test/perl:1";

/// Begins in cgroups of its own, which Docker and systemd take for the root, and continues with
/// `MACHINE` in new namespaces. The kernel ends all in them with this process, and this with the
/// test.
const BEGIN: &str = r#"
set -e
while IFS=: read -r _ hierarchy path; do
    folder=/sys/fs/cgroup/${hierarchy#name=}
    if [[ -z $hierarchy ]]; then
        # Below the root no cgroup with processes has others with limits in it.
        folder=/sys/fs/cgroup path=
        [[ ! -d $folder/unified ]] || folder+=/unified
    fi
    [[ -e $folder/cgroup.procs ]] || continue
    mkdir "$folder$path/$CGROUP"
    for file in cpuset.cpus cpuset.mems; do
        [[ $hierarchy != *cpuset* ]] || cat "$folder$path/$file" >"$folder$path/$CGROUP/$file"
    done
    echo $$ >"$folder$path/$CGROUP/cgroup.procs"
done <<<"$(</proc/self/cgroup)"
exec setpriv --pdeathsig KILL unshare --fork --kill-child --pid --mount-proc --cgroup --net \
    --ipc --uts --mount --propagation private bash -c "$MACHINE" "$@"
"#;

/// The first process in the namespaces. Docker finds its folders where it always does, and of this
/// machine's files nothing can be changed.
const MACHINE: &str = r#"
set -e
mount --bind "$0" "$0"
if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    mount -t cgroup2 cgroup2 "$0/cgroup"
    if [[ $INIT != systemd ]]; then
        mkdir "$0/cgroup/init"
        echo $$ >"$0/cgroup/init/cgroup.procs"
        sed 's/^/+/; s/ / +/g' "$0/cgroup/cgroup.controllers" >"$0/cgroup/cgroup.subtree_control"
    fi
else
    mount -t tmpfs tmpfs "$0/cgroup"
    while IFS=: read -r _ hierarchy _; do
        folder=$0/cgroup/${hierarchy#name=}
        case $hierarchy in
            "") what=cgroup2 folder=$0/cgroup/unified ;;
            name=*) what="cgroup -o none,$hierarchy" ;;
            *) what="cgroup -o $hierarchy" ;;
        esac
        mkdir "$folder"
        mount -t $what cgroup "$folder"
    done <<<"$(</proc/self/cgroup)"
fi
# A sysfs shows the network devices of the namespace that mounted it.
mount -t sysfs sysfs /sys
mount --move "$0/cgroup" /sys/fs/cgroup
# Sockets, locks and pid files, those of this machine's Docker among them, are out of sight.
mount -t tmpfs -o mode=755 tmpfs /run
mount --bind "$0/data" /var/lib/docker
mount --bind "$0/etc" /etc/docker
for folder in fs kernel; do
    mount --bind "/proc/sys/$folder" "/proc/sys/$folder"
    mount -o remount,bind,ro "/proc/sys/$folder"
done
ip link set lo up
mount -o remount,bind,ro /
test() {
    "$@" >"$FOLDER/output" 2>&1 </dev/null && echo passed >"$FOLDER/result" || echo failed >"$FOLDER/result"
}
if [[ $INIT != systemd ]]; then
    test "$@"
    exit
fi
# Docker's own units, and of systemd's those that they wait for.
folder=/lib/systemd/system
mount -t tmpfs tmpfs "$0/units"
for unit in docker.service docker.socket containerd.service {sysinit,basic,sockets,shutdown,multi-user}.target; do
    cp -L "$folder/$unit" "$0/units/"
done
mkdir "$0/units/multi-user.target.wants" "$0/units/containerd.service.d"
ln -s ../docker.service "$0/units/multi-user.target.wants/"
printf '[Service]\nExecStart=\nExecStart=/usr/bin/containerd --root %s/containerd\n' "$0" \
    >"$0/units/containerd.service.d/root.conf"
mount --move "$0/units" $folder
for folder in /etc/systemd/system /lib/systemd/system-generators; do
    mount -t tmpfs tmpfs $folder
done
(
    until systemctl is-active --quiet docker; do sleep 0.1; done
    test "$@"
) >/dev/null 2>&1 &
exec env container=other /lib/systemd/systemd --unit=multi-user.target --show-status=0
"#;

/// Starts Docker, after it has ended the one that runs; what `systemctl restart docker` does.
const RESTART: &str = r#"
if pid=$(cat /run/docker.pid 2>/dev/null); then
    kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
fi
setsid dockerd >>"$0/docker.log" 2>&1 </dev/null &
"#;

/// Perl in an image, without a registry or a build.
const IMPORT: &str = r#"
libraries=$(ldd /usr/bin/perl | grep -o '/[^ ]*')
modules=$(perl -e 'print grep { m{/perl-base$} } @INC')
tar -ch $libraries $modules /usr/bin/perl 2>/dev/null | docker import - "$0"
"#;

/// Who starts and restarts the test's Docker.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// The test itself.
    Nobody,
    /// systemd, by the units that come with Docker.
    Systemd,
}

/// The test's own Docker.
pub struct OwnDocker {
    folder: PathBuf,
}

impl OwnDocker {
    /// Runs the test of this name in namespaces of its own and gives `None`; in there, gives its
    /// Docker, which runs.
    pub fn of(test: &str, init: Init) -> Option<Self> {
        let network = fs::read_link("/proc/self/ns/net").unwrap();
        let Some(folder) = std::env::var_os(FOLDER) else {
            run_in_namespaces(test, init, &network);
            return None;
        };
        // What comes next is done to this machine if these do not hold.
        assert_ne!(network.as_os_str(), std::env::var_os(OUTSIDE).unwrap());
        assert_eq!(
            run("cat", &["/proc/1/comm"]),
            if init == Init::Systemd { "systemd" } else { "bash" }
        );
        let docker = Self { folder: folder.into() };
        if init == Init::Nobody {
            assert_eq!(run("nft", &["list", "ruleset"]), "");
            assert!(!Path::new("/run/docker.sock").exists());
            docker.restart();
        }
        run("sh", &["-c", IMPORT, IMAGE]);
        Some(docker)
    }

    /// What restarts it, as `docker.restart_command` takes it.
    pub fn restart_command(&self) -> Vec<String> {
        ["sh", "-c", RESTART, self.folder.to_str().unwrap()].map(str::to_owned).to_vec()
    }

    /// Restarts it; returns when it answers.
    pub fn restart(&self) {
        let command = self.restart_command();
        let arguments: Vec<&str> = command[1..].iter().map(String::as_str).collect();
        run(&command[0], &arguments);
        until("Docker answers", || works("docker", &["version"]));
    }

    /// Sets `live-restore` while it runs, as `systemctl reload docker` does.
    pub fn set_live_restore(&self, live_restore: bool) {
        write_settings(&self.folder, live_restore);
        run("kill", &["-HUP", &self.pid()]);
        let info = ["info", "--format", "{{.LiveRestoreEnabled}}"];
        until("Docker has read it", || run("docker", &info) == live_restore.to_string());
    }

    /// The process of the daemon.
    pub fn pid(&self) -> String {
        fs::read_to_string("/run/docker.pid").unwrap().trim().to_owned()
    }
}

fn write_settings(folder: &Path, live_restore: bool) {
    let settings = format!(
        r#"{{"live-restore": {live_restore}, "userland-proxy": false,
            "exec-opts": ["native.cgroupdriver=cgroupfs"]}}"#
    );
    fs::write(folder.join("etc/daemon.json"), settings).unwrap();
}

/// Removes what outlives the namespaces.
struct Cgroups(String);

impl Drop for Cgroups {
    fn drop(&mut self) {
        let path = format!("*/{}*", self.0);
        let remove = ["-depth", "-type", "d", "-path", &path, "-exec", "rmdir", "{}", "+"];
        let begun = Instant::now();
        // What was in them is being ended.
        while !works("find", &[&["/sys/fs/cgroup"][..], &remove].concat())
            && begun.elapsed() < Duration::from_secs(10)
        {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn run_in_namespaces(test: &str, init: Init, network: &Path) {
    let folder = tempfile::Builder::new().prefix("sctest-").tempdir().unwrap();
    for name in ["cgroup", "data", "etc", "units", "containerd", "tmp"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    write_settings(folder.path(), true);
    let cgroups = Cgroups(folder.path().file_name().unwrap().to_str().unwrap().to_owned());
    // Docker's own; those of other tests come and go.
    let tables = || run("nft", &["list", "tables", "ip"]);
    let before = tables();
    let mut machine = Command::new("bash")
        .args(["-c", BEGIN, "bash"])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", test, "--nocapture", "--test-threads", "1"])
        .env(FOLDER, folder.path())
        .env(OUTSIDE, network)
        .env("FOLDER", folder.path())
        .env("CGROUP", &cgroups.0)
        .env("INIT", if init == Init::Systemd { "systemd" } else { "" })
        .env("MACHINE", MACHINE)
        .env("TMPDIR", folder.path().join("tmp"))
        .env("STARTCLAW_TEST_IMAGE", IMAGE)
        .env_remove("DOCKER_HOST")
        .env_remove("DOCKER_CONTEXT")
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    while machine.try_wait().unwrap().is_none()
        && !text("result").ends_with('\n')
        && begun.elapsed() < LIMIT
    {
        std::thread::sleep(Duration::from_millis(100));
    }
    let _ = machine.kill();
    machine.wait().unwrap();
    println!("{}", text("output"));
    if text("result") != "passed\n" {
        println!("the end of Docker's log, the newest line first:");
        text("docker.log").lines().rev().take(30).for_each(|line| println!("{line}"));
    }
    assert_eq!(text("result"), "passed\n");
    assert!(text("output").contains("1 passed"), "it was found and run");
    assert_eq!(tables(), before, "this machine's tables");
}

/// Does `work` in another network namespace.
pub fn in_network<T: Send + 'static>(
    path: String,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> T {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    use std::os::fd::AsFd;
    let thread = std::thread::spawn(move || {
        let space = fs::File::open(path).unwrap();
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        work().unwrap()
    });
    thread.join().unwrap()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "in time: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
