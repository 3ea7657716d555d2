//! Checks the requirements of instances on this host.

use std::{ops::RangeInclusive, path::Path, time::Duration};

use bollard::models::{ContainerSummary, SystemInfo};
use bollard::query_parameters::{ListContainersOptionsBuilder, ListVolumesOptionsBuilder};
use startclaw_model::{Check, Timestamp};
use tokio::{process::Command, time::timeout};

use super::{
    DockerHost, calls::Call, client::failed, connections, faults::Unchecked,
    firewall::FirewallState, folder::Folder, machine,
};

/// Below this much free disk, in GiB, images and volumes will soon fill it.
const DISK_GIB: u64 = 5;
/// Below this much available memory, in MiB, another instance does not fit.
const MEMORY_MIB: u64 = 1024;
/// 2026-01-01: a clock before that is wrong, and certificates are not valid.
const PAST: Timestamp = Timestamp::from_millis(1_767_225_600_000);

impl DockerHost {
    pub(super) async fn findings(&self, image: &str) -> Vec<Check> {
        let mut findings = Vec::new();
        match self.docker_info().await {
            Err(e) => findings.push(Check::error("docker", e.message, self.docker_remedy())),
            Ok((info, containers)) => {
                findings.push(docker(&info));
                findings.push(limits(&info));
                findings.push(forwarding(&info));
                findings.push(self.image_finding(image).await);
                findings.push(disk(info.docker_root_dir.as_deref().unwrap_or("/var/lib/docker")));
                findings.push(memory(containers.len()));
                findings.push(ports(self.port_range(), &containers));
                findings.push(userland_proxy(&self.port_range()));
            }
        }
        // No other check lists volumes, and Docker can hang in this call only.
        let volumes = self.volumes_finding().await;
        findings
            .extend(self.hang_fault().map(|f| Check::error("docker calls", f.detail, f.remedy)));
        findings.push(volumes);
        findings.push(self.rules_finding().await);
        findings.push(self.firewall_finding().await);
        findings.push(connections::finding().await);
        findings.push(self.secrets_finding());
        findings.push(openat2(Folder::probe()));
        findings.push(inotify());
        findings.push(clock().await);
        findings
    }

    async fn docker_info(
        &self,
    ) -> Result<(SystemInfo, Vec<ContainerSummary>), startclaw_host::HostError> {
        let docker = self.client.get().await?;
        let filter = self.names.filter_all();
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
        let calls = &self.client.calls;
        let containers = docker.list_containers(Some(options));
        tokio::try_join!(
            calls.run(Call::Info, "", docker.info()),
            calls.run(Call::ListContainers, "", containers),
        )
        .map_err(|e| failed("ask Docker about this machine", e))
    }

    async fn image_finding(&self, image: &str) -> Check {
        match self.has_image(image).await {
            Ok(true) => Check::ok("image", format!("{image} is on this machine")),
            Ok(false) => Check::error(
                "image",
                format!("{image} is not on this machine"),
                format!("script/image, or: docker pull {image}"),
            ),
            Err(e) => Check::error("image", e.message, "systemctl status docker"),
        }
    }

    async fn volumes_finding(&self) -> Check {
        let listing = async {
            let docker = self.client.get().await?;
            let filter = self.names.filter_all();
            let options = ListVolumesOptionsBuilder::new().filters(&filter).build();
            let listing = docker.list_volumes(Some(options));
            let listed = self.client.calls.run(Call::ListVolumes, "", listing).await;
            listed.map_err(|e| failed("list the volumes", e))
        };
        match listing.await {
            Ok(listed) => {
                let count = listed.volumes.unwrap_or_default().len();
                Check::ok("volumes", format!("{count} volumes of instances are listed"))
            }
            Err(e) => Check::error("volumes", e.message, "journalctl -u docker"),
        }
    }

    async fn rules_finding(&self) -> Check {
        match self.network_fault(false).await {
            Ok(None) => Check::ok("docker rules", "published ports, NAT and forwarding work"),
            Ok(Some(fault)) => Check::error("docker rules", fault.detail, fault.remedy),
            Err(Unchecked::Docker(e)) => {
                Check::warning("docker rules", e.message, self.docker_remedy())
            }
            Err(Unchecked::Kernel(e)) => Check::warning(
                "docker rules",
                e.message,
                "apt install iptables; if it is installed, see what iptables-save says",
            ),
        }
    }

    /// What to do about a Docker that does not answer.
    fn docker_remedy(&self) -> &'static str {
        match self.hang_fault() {
            Some(_) => "systemctl restart docker",
            None => "systemctl start docker",
        }
    }

    async fn firewall_finding(&self) -> Check {
        let table = self.names.table();
        let fix =
            "startclaw puts it back within a minute; if it does not: systemctl restart startclaw";
        match self.guard.check().await {
            Ok(FirewallState::InPlace) => {
                Check::ok("firewall", format!("table inet {table} is loaded and unchanged"))
            }
            Ok(FirewallState::Missing) => {
                Check::error("firewall", format!("table inet {table} is not loaded"), fix)
            }
            Ok(FirewallState::Changed) => Check::error(
                "firewall",
                format!(
                    "table inet {table} differs from what this version loads: it was modified, or the settings or resolvers changed"
                ),
                fix,
            ),
            Err(e) => Check::error("firewall", e.message, "apt install nftables"),
        }
    }

    fn secrets_finding(&self) -> Check {
        let folder = self.settings.runtime_dir.join("secrets");
        let folder = folder.display();
        if self.secrets.in_memory() {
            return Check::ok("secrets", format!("{folder} is held in memory"));
        }
        if !Path::new(&folder.to_string()).exists() {
            return Check::ok("secrets", format!("{folder} is made with the first instance"));
        }
        Check::error(
            "secrets",
            format!("{folder} is on a disk"),
            format!("mount -t tmpfs -o mode=0711,nosuid,nodev,noexec startclaw-secrets {folder}"),
        )
    }
}

fn docker(info: &SystemInfo) -> Check {
    let version = info.server_version.as_deref().unwrap_or("unknown");
    let major = version.split('.').next().and_then(|part| part.parse::<u32>().ok());
    if major.is_some_and(|major| major < 20) {
        return Check::error(
            "docker",
            format!("Docker {version} is too old"),
            "install Docker 20.10 or newer: apt install docker.io",
        );
    }
    if info.live_restore_enabled != Some(true) {
        return Check::warning(
            "docker",
            format!("Docker {version} stops every instance when it restarts"),
            "put \"live-restore\": true into /etc/docker/daemon.json, then: systemctl reload docker",
        );
    }
    Check::ok("docker", format!("Docker {version}"))
}

fn limits(info: &SystemInfo) -> Check {
    let missing: Vec<&str> =
        [("memory", info.memory_limit), ("CPU", info.cpu_cfs_quota), ("pids", info.pids_limit)]
            .into_iter()
            .filter(|(_, there)| *there != Some(true))
            .map(|(name, _)| name)
            .collect();
    if !missing.is_empty() {
        return Check::error(
            "limits",
            format!("the kernel does not enforce: {}", missing.join(", ")),
            "add cgroup_enable=memory to GRUB_CMDLINE_LINUX in /etc/default/grub, then: update-grub && reboot",
        );
    }
    if info.swap_limit != Some(true) {
        return Check::warning(
            "limits",
            "the kernel does not limit swap: an instance can fill it",
            "add swapaccount=1 to GRUB_CMDLINE_LINUX in /etc/default/grub, then: update-grub && reboot",
        );
    }
    Check::ok("limits", "memory, swap, CPU and pids are enforced")
}

fn forwarding(info: &SystemInfo) -> Check {
    if info.ipv4_forwarding == Some(true) {
        return Check::ok("forwarding", "instances can reach the internet through this machine");
    }
    Check::error(
        "forwarding",
        "IPv4 forwarding is off: instances reach nothing",
        "sysctl -w net.ipv4.ip_forward=1, and put it into /etc/sysctl.d/",
    )
}

fn disk(root: &str) -> Check {
    let Ok(fs) = rustix::fs::statvfs(root) else {
        return Check::warning(
            "disk",
            format!("cannot read the size of {root}"),
            format!("df -h {root}"),
        );
    };
    let free = fs.f_bavail.saturating_mul(fs.f_frsize) >> 30;
    let inodes = fs.f_files == 0 || fs.f_favail > fs.f_files / 50;
    if free < DISK_GIB {
        return Check::error(
            "disk",
            format!("{free} GiB are free at {root}, {DISK_GIB} are needed"),
            "docker image prune, docker builder prune, or make the disk larger",
        );
    }
    if !inodes {
        return Check::warning(
            "disk",
            format!("few inodes are free at {root}"),
            format!("df -i {root}"),
        );
    }
    Check::ok("disk", format!("{free} GiB are free at {root}"))
}

fn memory(instances: usize) -> Check {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let Some(available) = machine::memory_mib(&meminfo, "MemAvailable") else {
        return Check::warning("memory", "cannot read /proc/meminfo", "mount -t proc proc /proc");
    };
    let detail = format!("{available} MiB are available beside {instances} instances");
    if available < MEMORY_MIB {
        return Check::warning(
            "memory",
            format!("{detail}: another one does not fit"),
            "give the machine more memory, add swap (zram), or remove instances: startclaw deprovision NAME",
        );
    }
    Check::ok("memory", detail)
}

fn ports(range: RangeInclusive<u16>, containers: &[ContainerSummary]) -> Check {
    let mut taken = std::collections::BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let table = std::fs::read_to_string(table).unwrap_or_default();
        taken.extend(machine::listening(&table, &range));
    }
    let ours = containers.iter().filter_map(|container| container.ports.as_ref()).flatten();
    for port in ours.filter_map(|port| port.public_port) {
        taken.remove(&port);
    }
    let (first, last) = (range.start(), range.end());
    if !taken.is_empty() {
        let some: Vec<String> = taken.iter().take(5).map(u16::to_string).collect();
        return Check::error(
            "ports",
            format!(
                "something else listens on {} of our ports {first} to {last}: {}",
                taken.len(),
                some.join(", ")
            ),
            format!("see who: ss -ltnp 'sport = :{}'; stop it, or set docker.first_port", some[0]),
        );
    }
    let path = "/proc/sys/net/ipv4/ip_local_port_range";
    let ephemeral = std::fs::read_to_string(path).unwrap_or_default();
    if machine::first_ephemeral(&ephemeral).is_some_and(|port| port <= *last) {
        return Check::warning(
            "ports",
            format!(
                "the kernel gives ports of our range {first} to {last} to outgoing connections"
            ),
            format!("sysctl -w net.ipv4.ip_local_port_range='{} 60999'", last.saturating_add(1)),
        );
    }
    Check::ok(
        "ports",
        format!(
            "{first} to {last} on 127.0.0.1 are ours: the firewall lets root and Caddy in only"
        ),
    )
}

/// Docker's userland proxy is an additional process for each instance, which relays all its
/// traffic. It runs as root, so only the firewall rule on our ports can distinguish callers.
fn userland_proxy(range: &RangeInclusive<u16>) -> Check {
    let lines: Vec<_> = machine::command_lines().collect();
    let carries = |line: &Vec<u8>| machine::proxied(line).is_some_and(|p| range.contains(&p));
    let proxies = lines.iter().filter(|line| carries(line)).count();
    let daemon_json = std::fs::read("/etc/docker/daemon.json").unwrap_or_default();
    let dockerd = machine::dockerd_command_line();
    if proxies == 0 && machine::proxy_is_off(&daemon_json, &dockerd) {
        return Check::ok("userland-proxy", "the kernel itself leads to published ports");
    }
    Check::warning(
        "userland-proxy",
        format!("Docker leads to published ports by processes of its own ({proxies} of ours now)"),
        "put \"userland-proxy\": false into /etc/docker/daemon.json, then: systemctl restart docker, and restart the instances",
    )
}

/// Every file in a tenant's folder is opened by `openat2`, which has no substitute.
fn openat2(tried: std::io::Result<()>) -> Check {
    match tried {
        Ok(()) => Check::ok("openat2", "tenants' files can be opened safely"),
        Err(e) => Check::error(
            "openat2",
            format!("the kernel does not let us open tenants' files safely: {e}"),
            "Linux 5.6 or newer is needed, and a service that may call openat2: take RestrictSUIDSGID= and what forbids it in SystemCallFilter= out of startclaw.service, then: systemctl daemon-reload && systemctl restart startclaw",
        ),
    }
}

fn inotify() -> Check {
    // Limited per user, and each instance has its own user.
    for (name, least) in [("max_user_instances", 64), ("max_user_watches", 8192)] {
        let path = format!("/proc/sys/fs/inotify/{name}");
        if let Some(limit) = machine::number(&path)
            && limit < least
        {
            return Check::warning(
                "inotify",
                format!("fs.inotify.{name} is {limit}, an instance may want {least}"),
                format!("sysctl -w fs.inotify.{name}={least}, and put it into /etc/sysctl.d/"),
            );
        }
    }
    Check::ok("inotify", "each instance can watch its files")
}

async fn clock() -> Check {
    let now = Timestamp::now();
    let fix = "timedatectl set-ntp true";
    if now < PAST {
        return Check::error("clock", format!("it says {now}"), fix);
    }
    let ask = Command::new("timedatectl")
        .args(["show", "-p", "NTPSynchronized", "--value"])
        .kill_on_drop(true)
        .output();
    let answer = match timeout(Duration::from_secs(3), ask).await {
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        // Without systemd the state is unknown, which is no error.
        _ => String::new(),
    };
    match answer.as_str() {
        "yes" => Check::ok("clock", format!("it says {now} and is synchronised")),
        "no" => Check::warning("clock", format!("it says {now} and is not synchronised"), fix),
        _ => Check::ok("clock", format!("it says {now}")),
    }
}

#[cfg(test)]
mod tests {
    use startclaw_model::CheckStatus;

    use super::*;
    use crate::DockerSettings;

    #[tokio::test]
    async fn rules_that_cannot_be_checked_for_want_of_docker_are_no_matter_of_iptables() {
        let socket = "unix:///nonexistent.sock".to_owned();
        let host = DockerHost::new(DockerSettings { socket, ..Default::default() }, 1).unwrap();
        let finding = host.rules_finding().await;
        assert_eq!(finding.status, CheckStatus::Warning, "{finding:?}");
        assert_eq!(finding.fix.as_deref(), Some("systemctl start docker"));
    }

    #[test]
    fn a_kernel_without_openat2_is_said() {
        assert_eq!(openat2(Ok(())).status, CheckStatus::Ok);
        let finding = openat2(Err(rustix::io::Errno::NOSYS.into()));
        assert_eq!(finding.status, CheckStatus::Error);
        assert!(finding.fix.is_some_and(|fix| fix.contains("RestrictSUIDSGID")));
    }
}
