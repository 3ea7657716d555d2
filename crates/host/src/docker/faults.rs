//! Faults of this host that affect all instances: Docker hangs, or its firewall rules were flushed.
//! The latter is repaired by a restart of Docker, if that does not stop containers.

use std::time::Duration;

use bollard::query_parameters::ListContainersOptionsBuilder;
use startclaw_model::Slot;
use tokio::time::{Instant, sleep};

use super::{
    DockerHost,
    calls::{self, Call},
    client::failed,
    command::{run, run_within},
    machine,
    names::ROLE_INSTANCE,
    rules::{self, Expected},
};
use crate::{HostError, HostFault};

/// The rules of a container that ends disappear before it does: missing rules are confirmed after
/// this delay.
const AGAIN: Duration = Duration::from_millis(500);
/// The minimum time between two restarts of Docker, in case the rules are flushed repeatedly.
const RESTART_EVERY: Duration = Duration::from_secs(600);
/// How long a restart of Docker may take.
const RESTART: Duration = Duration::from_secs(120);
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

impl DockerHost {
    pub(super) async fn all_faults(&self) -> Vec<HostFault> {
        let network = self.network_fault(true).await;
        [self.hang_fault(), network.unwrap_or_default()].into_iter().flatten().collect()
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

    /// The missing rules of Docker, after an attempt to repair them if `repair` is set. An error
    /// means that Docker or the kernel could not be queried.
    pub(super) async fn network_fault(&self, repair: bool) -> Result<Option<HostFault>, HostError> {
        let mut missing = self.missing(repair).await?;
        if !missing.is_empty() {
            sleep(AGAIN).await;
            missing = self.missing(repair).await?;
        }
        if missing.is_empty() {
            return Ok(None);
        }
        let mut why = "the rules are made when Docker starts".to_owned();
        if repair {
            match self.restart_docker().await {
                Ok(()) => missing = self.missing(repair).await?,
                Err(e) => why = e,
            }
            if missing.is_empty() {
                tracing::warn!("Docker's firewall rules were gone; a restart of Docker made them");
                return Ok(None);
            }
        }
        Ok(Some(HostFault {
            key: HostFault::NETWORK,
            detail: format!("Docker's firewall rules are gone: {} ({why})", missing.join(", ")),
            remedy: "systemctl restart docker, and see to it that nothing flushes the rules: \
                     restarting nftables, `nft flush ruleset` or `iptables -F` do"
                .to_owned(),
        }))
    }

    async fn missing(&self, repair: bool) -> Result<Vec<String>, HostError> {
        let daemon_json = std::fs::read("/etc/docker/daemon.json").unwrap_or_default();
        let dockerd = machine::dockerd_command_line();
        if rules::are_elsewhere(&daemon_json, &dockerd) {
            return Ok(Vec::new());
        }
        let mut missing = Vec::new();
        if std::fs::read(FORWARDING).is_ok_and(|value| value.starts_with(b"0"))
            && !(repair && std::fs::write(FORWARDING, "1").is_ok())
        {
            missing.push("IPv4 forwarding (sysctl -w net.ipv4.ip_forward=1)".to_owned());
        }
        // Before the rules: a container that starts in between has rules that are not expected,
        // which does no harm.
        let expected = self.expected().await?;
        let (nat, filter) = (saved("nat").await?, saved("filter").await?);
        missing.extend(rules::missing(&nat, &filter, &expected));
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

    /// Restarts Docker; the error says why not.
    async fn restart_docker(&self) -> Result<(), String> {
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
        let command = &self.settings.restart_command;
        let Some((program, arguments)) = command.split_first() else {
            return Err("docker.restart_command is empty".to_owned());
        };
        *last = Some(Instant::now());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run_within(program, &arguments, None, RESTART).await.map_err(|e| e.message)?;
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

/// A table as printed by iptables, of the variant (nft or legacy) that Docker uses.
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
