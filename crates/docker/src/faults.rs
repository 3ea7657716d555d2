//! Faults of this host that affect all instances: Docker hangs, or its firewall rules were flushed.
//! The latter is repaired by a restart of Docker, if that does not stop containers.

use std::{path::Path, time::Duration};

use bollard::query_parameters::ListContainersOptionsBuilder;
use startclaw_model::Slot;
use tokio::time::{Instant, sleep};

use super::{
    DockerHost, DockerSettings,
    calls::{self, Call},
    client::failed,
    command::{run, run_within},
    machine,
    names::ROLE_INSTANCE,
    rules::{self, Expected, Missing},
};
use startclaw_host::{HostError, HostFault, HostFaults};

/// A container that ends takes its rules along, maybe between two questions of one look. What is
/// missing in so many looks, this far apart, is missing.
const LOOKS: u32 = 3;
const AGAIN: Duration = Duration::from_millis(500);
/// The minimum time between two restarts of Docker, in case the rules are flushed repeatedly.
const RESTART_EVERY: Duration = Duration::from_secs(600);
/// How long a restart of Docker may take.
const RESTART: Duration = Duration::from_secs(120);
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
/// There while systemd runs (sd_booted(3)).
const SYSTEMD: &str = "/run/systemd/system";

/// Why Docker's rules could not be checked.
pub(super) enum Unchecked {
    /// Docker could not be asked what it runs.
    Docker(HostError),
    /// The kernel could not be asked what rules it has.
    Kernel(HostError),
}

impl DockerHost {
    pub(super) async fn all_faults(&self) -> HostFaults {
        let network = self.network_fault(true).await;
        faults(self.hang_fault(), network)
    }

    pub(super) fn hang_fault(&self) -> Option<HostFault> {
        Some(HostFault {
            key: HostFault::DOCKER,
            detail: calls::describe(&self.client.calls.hanging())?,
            remedy: "journalctl -u docker says more; if it lasts: systemctl restart docker (with \
                     live-restore, instances keep running)"
                .to_owned(),
        })
    }

    /// What is missing of Docker's rules, after a try to repair it if `repair` says so.
    pub(super) async fn network_fault(&self, repair: bool) -> Result<Option<HostFault>, Unchecked> {
        let mut missing = self.missing(repair).await?;
        for _ in 1..LOOKS {
            if missing.what.is_empty() {
                return Ok(None);
            }
            sleep(AGAIN).await;
            missing = self.missing(repair).await?;
        }
        if missing.what.is_empty() {
            return Ok(None);
        }
        let mut why = "the rules are made when Docker starts".to_owned();
        if repair {
            match self.restart_docker(&missing).await {
                Ok(()) => missing = self.missing(repair).await?,
                Err(e) => why = e,
            }
            if missing.what.is_empty() {
                tracing::warn!("Docker's firewall rules were gone; a restart of Docker made them");
                return Ok(None);
            }
        }
        Ok(Some(HostFault {
            key: HostFault::NETWORK,
            detail: format!(
                "Docker's firewall rules are gone: {} ({why})",
                missing.what.join(", ")
            ),
            remedy: "systemctl restart docker, and see to it that nothing flushes the rules: \
                     restarting nftables, `nft flush ruleset` or `iptables -F` do"
                .to_owned(),
        }))
    }

    async fn missing(&self, repair: bool) -> Result<Missing, Unchecked> {
        let daemon_json = std::fs::read("/etc/docker/daemon.json").unwrap_or_default();
        let dockerd = machine::dockerd_command_line();
        if rules::are_elsewhere(&daemon_json, &dockerd) {
            return Ok(Missing::default());
        }
        let forwards = !std::fs::read(FORWARDING).is_ok_and(|value| value.starts_with(b"0"))
            || (repair && std::fs::write(FORWARDING, "1").is_ok());
        // Before the rules: what has come since then has rules that nobody asks for.
        let expected = self.expected().await.map_err(Unchecked::Docker)?;
        let nat = saved("nat").await.map_err(Unchecked::Kernel)?;
        let filter = saved("filter").await.map_err(Unchecked::Kernel)?;
        let mut missing = rules::missing(&nat, &filter, &expected);
        if !forwards {
            missing.what.insert(0, "IPv4 forwarding (sysctl -w net.ipv4.ip_forward=1)".to_owned());
        }
        Ok(missing)
    }

    /// The rules that the running instances need.
    async fn expected(&self) -> Result<Vec<Expected>, HostError> {
        let filter = self.names.filter_all();
        let options = ListContainersOptionsBuilder::new().filters(&filter).build();
        let listing = self.client.get().await?.list_containers(Some(options));
        let containers = self.client.calls.run(Call::ListContainers, "", listing).await;
        let containers = containers.map_err(|e| failed("list the running containers", e))?;
        let expected = containers.into_iter().filter_map(|container| {
            let labels = container.labels?;
            labels.get(&self.names.role_label()).filter(|role| *role == ROLE_INSTANCE)?;
            let slot = Slot(labels.get(&self.names.slot_label())?.parse().ok()?);
            let port = slot.port(self.settings.first_port)?;
            container.ports?.iter().find(|one| one.public_port == Some(port))?;
            let (network, _, address) = self.settings.address_pool.network(slot)?;
            Some(Expected { port, address, network, bridge: self.names.bridge(slot) })
        });
        Ok(expected.collect())
    }

    /// Restarts Docker; the error says why it was not done.
    async fn restart_docker(&self, missing: &Missing) -> Result<(), String> {
        if !missing.flushed {
            return Err("others are there, so Docker is not restarted automatically".to_owned());
        }
        let mut last = self.restarted.lock().await;
        if last.is_some_and(|at| at.elapsed() < RESTART_EVERY) {
            return Err("a restart of Docker did not help, or they were flushed again within \
                        10 minutes of one"
                .to_owned());
        }
        let docker = self.client.get().await.map_err(|e| e.message)?;
        let info = self.client.calls.run(Call::Info, "", docker.info()).await;
        let info = info.map_err(|e| failed("ask Docker about this machine", e).message)?;
        if info.live_restore_enabled != Some(true) {
            return Err("without live-restore, a restart of Docker ends every instance, so it is \
                        left to the operator"
                .to_owned());
        }
        let command: Vec<&str> = self.settings.restart_command.iter().map(String::as_str).collect();
        let Some((program, arguments)) = command.split_first() else {
            return Err("docker.restart_command is empty".to_owned());
        };
        if let ["systemctl", "restart", unit] = command.as_slice() {
            let usual = DockerSettings::default();
            if self.settings.socket != usual.socket
                && self.settings.restart_command == usual.restart_command
            {
                return Err("docker.socket may be that of another Docker than systemd's: set \
                            docker.restart_command"
                    .to_owned());
            }
            leaves_containers(unit).await?;
        }
        *last = Some(Instant::now());
        run_within(program, arguments, None, RESTART).await.map_err(|e| e.message)?;
        let begun = Instant::now();
        while self.client.calls.run(Call::Connect, "", docker.ping()).await.is_err() {
            if begun.elapsed() > RESTART {
                return Err("Docker does not answer after its restart".to_owned());
            }
            sleep(AGAIN).await;
        }
        Ok(())
    }
}

/// Rules that could not be checked may be gone.
fn faults(hang: Option<HostFault>, network: Result<Option<HostFault>, Unchecked>) -> HostFaults {
    let (network, unknown) = match network {
        Ok(network) => (network, Vec::new()),
        Err(Unchecked::Docker(e) | Unchecked::Kernel(e)) => {
            tracing::debug!(error = %e.message, "Docker's firewall rules cannot be checked");
            (None, vec![HostFault::NETWORK])
        }
    };
    HostFaults { found: [hang, network].into_iter().flatten().collect(), unknown }
}

/// Whether systemd runs Docker as this unit and ends no container when it restarts it; the error
/// says why not.
async fn leaves_containers(unit: &str) -> Result<(), String> {
    if !Path::new(SYSTEMD).exists() {
        return Err(
            "no systemd runs here: set docker.restart_command to what restarts Docker".to_owned()
        );
    }
    let properties = ["show", "--property", "ActiveState,KillMode", unit];
    let shown = run("systemctl", &properties, None).await.map_err(|e| e.message)?;
    unit_leaves_containers(unit, &shown)
}

/// The same, from what `systemctl show` prints.
fn unit_leaves_containers(unit: &str, shown: &str) -> Result<(), String> {
    let has = |line: &str| shown.lines().any(|l| l == line);
    if !has("ActiveState=active") {
        return Err(format!("systemd does not run Docker as {unit}"));
    }
    // As in Docker's own unit. With every other mode but `none`, containers may be ended.
    if !has("KillMode=process") {
        return Err(format!(
            "the unit {unit} does not have KillMode=process: a restart may end instances"
        ));
    }
    Ok(())
}

/// A table as iptables prints it: of the variant, nft or legacy, that Docker uses.
async fn saved(table: &str) -> Result<String, HostError> {
    let usual = run("iptables-save", &["-t", table], None).await?;
    if rules::has_docker(&usual) {
        return Ok(usual);
    }
    for program in ["iptables-legacy-save", "iptables-nft-save"] {
        if let Ok(other) = run(program, &["-t", table], None).await
            && rules::has_docker(&other)
        {
            return Ok(other);
        }
    }
    Ok(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_checked_is_not_taken_for_whole() {
        let away = || HostError::unavailable("iptables-save: resource temporarily unavailable");
        for unchecked in [Unchecked::Docker(away()), Unchecked::Kernel(away())] {
            let all = faults(None, Err(unchecked));
            assert_eq!((all.found, all.unknown), (Vec::new(), vec![HostFault::NETWORK]));
        }
        assert_eq!(faults(None, Ok(None)), HostFaults::default());
    }

    #[test]
    fn only_a_unit_that_leaves_containers_alone_is_restarted() {
        let shown = "KillMode=process\nActiveState=active\n";
        assert_eq!(unit_leaves_containers("docker", shown), Ok(()));
        // Of a unit that does not exist, and of a Docker that somebody started by hand.
        let inactive = shown.replace("=active", "=inactive");
        let why = unit_leaves_containers("docker", &inactive).unwrap_err();
        assert!(why.contains("does not run Docker as docker"), "{why}");
        for mode in ["control-group", "mixed"] {
            let why = unit_leaves_containers("docker", &shown.replace("process", mode));
            assert!(why.unwrap_err().contains("KillMode"), "{mode}");
        }
    }
}
