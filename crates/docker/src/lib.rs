//! Instances as Docker containers on this host.
//!
//! Each module is about one resource of an instance (volume, network, secrets, container) or one
//! function (repair, logs, events). The isolation of a container is defined in `profile` (the
//! container itself) and `firewall` (its network). Apart from the connection to Docker there is
//! nearly no state here: Docker, the kernel and the folder in memory are queried at each call.

mod calls;
mod check;
mod client;
mod command;
mod connections;
mod container;
mod converge;
mod events;
mod faults;
mod firewall;
mod firewall_rules;
mod folder;
mod image;
mod inside;
mod lines;
mod logs;
mod machine;
mod names;
mod network;
mod observe;
mod pause;
mod probe;
mod profile;
mod repair;
mod rules;
mod secrets;
mod settings;
mod unfreeze;
mod usage;
mod volume;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    sync::Arc,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use ipnet::Ipv4Net;
use startclaw_model::{Check, InstanceId, Slot};

pub use converge::StepError;
pub use settings::{Destination, DestinationError, DockerSettings, Prefix, PrefixError};
pub use unfreeze::unfreeze_later;

use self::{client::Client, firewall::Firewall, names::Names, secrets::Secrets};
use startclaw_host::{
    Convergence, Endpoints, Host, HostAdmin, HostError, HostEvent, HostFaults, ImageState,
    InstanceSpec, InventoryItem, LogRequest, MachineUsage, Observed, Probe, Request, StepReporter,
    Target, Usage, VolumeMount, objects::Step,
};

/// This host's Docker. Its methods need the rights of root.
pub struct DockerHost {
    settings: DockerSettings,
    webhook_port: u16,
    capacity: u32,
    names: Names,
    client: Arc<Client>,
    secrets: Secrets,
    guard: Firewall,
    watchdogs: pause::Watchdogs,
    data_dir: Option<PathBuf>,
    /// The last restart of Docker to restore its firewall rules.
    restarted: tokio::sync::Mutex<Option<tokio::time::Instant>>,
}

impl DockerHost {
    /// Takes the settings, and the webhook's port inside a container, which is reached on the
    /// container's own address. Does not connect yet.
    ///
    /// # Errors
    /// When the settings do not allow a single instance.
    pub fn new(settings: DockerSettings, webhook_port: u16) -> Result<Self, HostError> {
        let slots = settings.address_pool.slots();
        // Each slot needs its own network, port and user.
        let fits = |slot: u32| {
            Slot(slot).port(settings.first_port).is_some()
                && settings.first_uid.checked_add(slot).is_some_and(|uid| uid < u32::MAX)
        };
        let ports = 32_768_u32.saturating_sub(u32::from(settings.first_port));
        let capacity = (0..=slots.min(ports)).rev().find(|n| *n == 0 || fits(n - 1)).unwrap_or(0);
        if capacity == 0 || settings.first_port == 0 || settings.first_uid == 0 {
            return Err(HostError::refused(
                "docker.first_port lies between 1 and 32767, and docker.first_uid above 0",
            ));
        }
        let names = Names::new(settings.prefix.clone());
        let last_port = Slot(capacity - 1).port(settings.first_port).unwrap_or(u16::MAX);
        Ok(Self {
            webhook_port,
            capacity,
            client: Arc::new(Client::new(settings.socket.clone())),
            secrets: Secrets::new(&settings.runtime_dir),
            guard: Firewall::new(&names, &settings, last_port),
            names,
            settings,
            watchdogs: pause::Watchdogs::default(),
            data_dir: None,
            restarted: tokio::sync::Mutex::default(),
        })
    }

    /// Sets the program of the watchdog for frozen containers: it is started with `unfreeze
    /// --docker SOCKET --container NAME --after SECONDS` and calls [`unfreeze_later`]. Without one,
    /// containers cannot be frozen.
    #[must_use]
    pub fn with_watchdog(mut self, program: PathBuf) -> Self {
        self.watchdogs = pause::Watchdogs::by(program);
        self
    }

    /// Sets the folder of the daemon's data, whose disk is part of the host's usage.
    #[must_use]
    pub fn with_data_dir(mut self, folder: PathBuf) -> Self {
        self.data_dir = Some(folder);
        self
    }

    /// The user and group id of a spec's instance.
    fn uid(&self, spec: &InstanceSpec) -> u32 {
        spec.slot.uid(self.settings.first_uid)
    }

    /// The network of a spec's slot, its gateway and its container's address.
    fn network_of(&self, spec: &InstanceSpec) -> Result<(Ipv4Net, Ipv4Addr, Ipv4Addr), HostError> {
        let network = self.settings.address_pool.network(spec.slot);
        network.ok_or_else(|| self.no_place(spec))
    }

    /// The published port of a spec's slot.
    fn port(&self, spec: &InstanceSpec) -> Result<u16, HostError> {
        spec.slot.port(self.settings.first_port).ok_or_else(|| self.no_place(spec))
    }

    fn no_place(&self, spec: &InstanceSpec) -> HostError {
        HostError::refused(format!(
            "this machine has {} places and {} has number {}: set docker.address_pool and \
             docker.first_port so that they hold more",
            self.capacity, spec.name, spec.slot.0
        ))
    }

    fn port_range(&self) -> RangeInclusive<u16> {
        let last = Slot(self.capacity - 1).port(self.settings.first_port);
        self.settings.first_port..=last.unwrap_or(u16::MAX)
    }

    /// Probes an instance at its published address, as the edge does. If it does not answer there,
    /// the container's own address is probed too, which distinguishes a fault of the host's network
    /// (such as flushed NAT rules) from one of the instance.
    async fn ask_published(&self, spec: &InstanceSpec) -> Result<Probe, HostError> {
        let Some(place) = self.endpoints_of(spec.slot) else { return Ok(Probe::NotAsked) };
        let path = &spec.workload.probe_path;
        let own = SocketAddr::from((place.webhook.ip(), spec.workload.gateway_port));
        let seen = probe::ask(place.gateway, path).await?;
        if matches!(seen, Probe::Answer { .. }) || !answers(own, path).await {
            return Ok(seen);
        }
        // It may have started to listen between both probes.
        match probe::ask(place.gateway, path).await? {
            answer @ Probe::Answer { .. } => Ok(answer),
            _ => Ok(Probe::Blocked),
        }
    }

    /// Takes one step, whatever was observed.
    ///
    /// # Errors
    /// When Docker or the kernel fails, or the image must be pulled first.
    pub async fn apply(&self, spec: &InstanceSpec, step: &Step) -> Result<(), StepError> {
        match step {
            Step::CreateContainer => return self.create_container(spec).await,
            Step::CreateVolume => self.create_volume(spec).await,
            Step::OwnVolume => self.give_volume(spec).await,
            Step::CreateNetwork => self.create_network(spec).await,
            Step::WriteSecrets => self.write_secrets(spec).await,
            Step::WriteConfig(content) => self.write_config(spec, content.clone()).await,
            Step::StartContainer => self.start_container(spec).await,
            Step::ApplyCpuLimit => self.limit_cpu(spec).await,
            Step::ApplyLimits => self.apply_limits(spec).await,
            Step::PauseContainer { at_most } => self.pause_container(spec, *at_most).await,
            Step::ResumeContainer => self.resume_container(spec).await,
            Step::StopContainer => self.stop_container(spec).await,
            Step::RemoveContainer => self.remove_container(spec).await,
            Step::RemoveNetwork => self.remove_network(spec).await,
            Step::RemoveSecrets => self.remove_secrets(spec).await,
            Step::RemoveVolume => self.remove_volume(spec, spec.volume).await,
            Step::RemoveOtherVolume(generation) => self.remove_volume(spec, *generation).await,
        }
        .map_err(StepError::Host)
    }

    /// The addresses of the instance in `slot`; `None` beyond the last slot.
    pub fn endpoints_of(&self, slot: Slot) -> Option<Endpoints> {
        if slot.0 >= self.capacity {
            return None;
        }
        let (_, gateway, container) = self.settings.address_pool.network(slot)?;
        Some(Endpoints {
            gateway: self.address(slot)?,
            webhook: SocketAddr::from((container, self.webhook_port)),
            proxy: IpAddr::V4(gateway),
        })
    }

    /// The published address of an instance's gateway.
    fn address(&self, slot: Slot) -> Option<SocketAddr> {
        let port = slot.port(self.settings.first_port)?;
        Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }
}

async fn answers(address: SocketAddr, path: &str) -> bool {
    matches!(probe::ask(address, path).await, Ok(Probe::Answer { .. }))
}

#[async_trait]
impl Host for DockerHost {
    fn admin(&self) -> &dyn HostAdmin {
        self
    }

    async fn capacity(&self) -> Result<u32, HostError> {
        Ok(self.capacity)
    }

    async fn endpoints(&self, slot: Slot) -> Result<Option<Endpoints>, HostError> {
        Ok(self.endpoints_of(slot))
    }

    async fn observe(&self, spec: &InstanceSpec) -> Result<Observed, HostError> {
        self.observe_instance(spec).await
    }

    async fn converge(
        &self,
        spec: &InstanceSpec,
        target: Target,
        observed: &Observed,
        report: &mut dyn StepReporter,
    ) -> Result<Convergence, HostError> {
        self.take_step(spec, target, observed, report).await
    }

    async fn probe(&self, spec: &InstanceSpec) -> Result<Probe, HostError> {
        if spec.isolated {
            return self.ask_inside(spec).await;
        }
        self.ask_published(spec).await
    }

    async fn call(&self, spec: &InstanceSpec, request: &Request) -> Result<Probe, HostError> {
        match self.address(spec.slot) {
            Some(address) => probe::call(address, request).await,
            None => Ok(Probe::NotAsked),
        }
    }

    async fn unfreeze(&self, spec: &InstanceSpec) -> Result<bool, HostError> {
        self.resume_paused(spec).await
    }

    async fn repair(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        self.repair_volume(spec).await
    }

    async fn quarantine_config(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        self.rename_config(spec).await
    }

    async fn volume_mount(&self, spec: &InstanceSpec) -> Result<Option<VolumeMount>, HostError> {
        let root = self.volume_root(spec).await?;
        Ok(root.map(|root| VolumeMount { root, uid: self.uid(spec) }))
    }

    async fn renew_volume(&self, spec: &InstanceSpec) -> Result<VolumeMount, HostError> {
        self.remove_volume(spec, spec.volume).await?;
        self.create_volume(spec).await?;
        let mount = self.volume_mount(spec).await?;
        mount.ok_or_else(|| HostError::unavailable("the new volume was removed"))
    }

    async fn disconnect(&self, slot: Slot) -> Result<(), HostError> {
        match self.address(slot) {
            Some(address) => connections::drop_connections(address).await,
            None => Ok(()),
        }
    }

    async fn inventory(&self) -> Result<Vec<InventoryItem>, HostError> {
        self.find_all().await
    }

    async fn logs(
        &self,
        id: &InstanceId,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<String, HostError>>, HostError> {
        self.read_logs(id, request).await
    }

    fn watch(&self) -> BoxStream<'static, HostEvent> {
        events::listen(self.client.clone(), self.names.clone())
    }
}

#[async_trait]
impl HostAdmin for DockerHost {
    async fn ensure_firewall(&self) -> Result<bool, HostError> {
        self.guard.ensure().await
    }

    async fn faults(&self) -> HostFaults {
        self.all_faults().await
    }

    async fn diagnose(&self, image: &str) -> Vec<Check> {
        self.findings(image).await
    }

    async fn image(&self, image: &str) -> Result<ImageState, HostError> {
        self.image_state(image).await
    }

    async fn usage(&self) -> Result<Vec<(InstanceId, Usage)>, HostError> {
        self.all_usage().await
    }

    async fn machine(&self) -> Result<Option<MachineUsage>, HostError> {
        self.machine_usage().await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_instances_have_places_of_their_own() {
        let host = DockerHost::new(DockerSettings::default(), 8787).unwrap();
        assert!(host.capacity >= 1000);
        let first = host.endpoints_of(Slot(0)).unwrap();
        assert_eq!(first.gateway.to_string(), "127.0.0.1:18001");
        assert_eq!(first.webhook.to_string(), "10.87.0.2:8787");
        assert_eq!(first.proxy.to_string(), "10.87.0.1");
        assert!(host.endpoints_of(Slot(host.capacity - 1)).is_some());
        assert!(host.endpoints_of(Slot(host.capacity)).is_none());
    }

    #[test]
    fn the_ports_bound_the_capacity() {
        let settings = DockerSettings { first_port: 32_760, ..Default::default() };
        assert_eq!(DockerHost::new(settings, 1).unwrap().capacity, 8);
        let settings = DockerSettings { first_port: 40_000, ..Default::default() };
        assert!(DockerHost::new(settings, 1).is_err());
    }
}
