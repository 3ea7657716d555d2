//! An instance's container: create, start, limit, stop, remove.

use std::{collections::HashMap, time::Duration};

use bollard::errors::Error;
use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, ContainerUpdateBody, EndpointIpamConfig,
    EndpointSettings, HostConfig, NetworkingConfig, PortBinding,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    StopContainerOptionsBuilder,
};
use startclaw_model::{Limits, Name};

use super::names::{ROLE_DRILL, ROLE_INSTANCE};
use super::profile::{CPU_LIFTED, cpu_quota, mib};
use super::{DockerHost, calls::Call, client::failed, client::found, converge::StepError};
use startclaw_host::{Enforced, HostError, InstanceSpec};

/// How long to wait for a removal that is in progress.
const REMOVAL: Duration = Duration::from_secs(30);

impl DockerHost {
    pub(super) async fn create_container(&self, spec: &InstanceSpec) -> Result<(), StepError> {
        if let Some(container) = self.container(spec).await? {
            if label(&container, &self.names.spec_label()) == Some(spec.digest.as_str()) {
                return Ok(());
            }
            self.remove_container(spec).await?;
        }
        let name = self.names.object(spec);
        if spec.isolated {
            let mut body = self.profile(spec, ROLE_DRILL);
            body.cmd = command(spec);
            body.network_disabled = Some(true);
            return self.make(spec, &name, body).await;
        }
        let (_, _, address) = self.network_of(spec)?;
        let port = format!("{}/tcp", spec.workload.gateway_port);
        let published = PortBinding {
            host_ip: Some("127.0.0.1".to_owned()),
            host_port: Some(self.port(spec)?.to_string()),
        };
        let endpoint = EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some(address.to_string()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut body = self.profile(spec, ROLE_INSTANCE);
        body.cmd = command(spec);
        body.exposed_ports = Some(vec![port.clone()]);
        if let Some(host) = &mut body.host_config {
            host.network_mode = Some(name.clone());
            host.port_bindings = Some(HashMap::from([(port, Some(vec![published]))]));
        }
        body.networking_config = Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(name.clone(), endpoint)])),
        });
        self.make(spec, &name, body).await
    }

    /// Creates a container on the instance's volume, with an error of its own kind when the image
    /// is missing.
    pub(super) async fn make(
        &self,
        spec: &InstanceSpec,
        name: &str,
        body: bollard::models::ContainerCreateBody,
    ) -> Result<(), StepError> {
        // Docker would make an empty one.
        if self.volume_root(spec).await?.is_none() {
            return Err(HostError::unavailable(format!(
                "cannot create the container {name}: the volume {} is missing",
                self.names.volume(spec, spec.volume)
            ))
            .into());
        }
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let creating = self.client.get().await?.create_container(Some(options), body);
        match self.client.calls.run(Call::CreateContainer, name, creating).await {
            Ok(_) => Ok(()),
            Err(Error::DockerResponseServerError { status_code: 404, message })
                if message.to_lowercase().contains("image") =>
            {
                Err(StepError::NoImage(spec.image.clone()))
            }
            Err(e) => Err(failed(format!("create the container {name}"), e).into()),
        }
    }

    pub(super) async fn start_container(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        // Two containers on one volume would corrupt the state: first remove a repair container
        // that a crash left.
        self.remove_repair(spec).await?;
        if self.secrets.revision(&spec.id)?.is_none() {
            return Err(HostError::unavailable(format!(
                "the secrets of {} do not lie ready in memory",
                spec.name
            )));
        }
        let name = self.names.object(spec);
        let what = format!("start the container {name}");
        let container = self.container(spec).await?;
        let lifted = spec.isolated || container.is_none_or(|c| quota(&c) == CPU_LIFTED);
        if !lifted {
            self.set_limits(spec, CPU_LIFTED, spec.limits.memory_hard_mib).await?;
        }
        let starting = self.client.get().await?.start_container(&name, None);
        match self.client.calls.run(Call::StartContainer, &name, starting).await {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 304, .. }) => Ok(()),
            // A container is bound to the network that it was created with. If that was removed,
            // the container can never start again, even if a new network has the same name.
            Err(Error::DockerResponseServerError { message, .. })
                if message.contains("network") && message.contains("not found") =>
            {
                self.remove_container(spec).await?;
                Err(HostError::unavailable(format!(
                    "the network of {} was removed; its container is created again",
                    spec.name
                )))
            }
            Err(Error::DockerResponseServerError { message, .. })
                if address_is_taken(&message)
                    && let Some(other) = self.renamed(spec).await? =>
            {
                Err(renamed_error(&what, &other, &name, &spec.name))
            }
            Err(e) => Err(failed(what, e)),
        }
    }

    /// The instance's container under another name: somebody renamed it. It keeps the instance's
    /// address and volume.
    async fn renamed(&self, spec: &InstanceSpec) -> Result<Option<String>, HostError> {
        let filter = self.names.filter_one(&spec.id);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
        let listing = self.client.get().await?.list_containers(Some(options));
        let containers = self.client.calls.run(Call::ListContainers, "", listing).await;
        let containers = containers.map_err(|e| failed("list the containers", e))?;
        let usual = self.names.object(spec);
        Ok(containers
            .into_iter()
            .filter(|one| {
                let role = one.labels.as_ref().and_then(|all| all.get(&self.names.role_label()));
                role.is_some_and(|role| role == ROLE_INSTANCE)
            })
            .filter_map(|one| other_name(&one.names?, &usual))
            .next())
    }

    pub(super) async fn limit_cpu(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        self.set_limits(spec, cpu_quota(spec.limits.cpus), spec.limits.memory_hard_mib).await
    }

    pub(super) async fn apply_limits(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        // Only what differs: a limit of memory cannot always be written while it is used up.
        let container = self.container(spec).await?;
        let host = container.and_then(|container| container.host_config).unwrap_or_default();
        let other = changed_limits(&host, &spec.limits);
        let soft = enforced_soft_mib(&spec.limits);
        self.update_limits(spec, limits(cpu_quota(spec.limits.cpus), soft, other)).await
    }

    async fn set_limits(
        &self,
        spec: &InstanceSpec,
        cpu_quota: i64,
        soft_mib: u64,
    ) -> Result<(), HostError> {
        self.update_limits(spec, limits(cpu_quota, soft_mib, ContainerUpdateBody::default())).await
    }

    async fn update_limits(
        &self,
        spec: &InstanceSpec,
        body: ContainerUpdateBody,
    ) -> Result<(), HostError> {
        let name = self.names.object(spec);
        let updating = self.client.get().await?.update_container(&name, body);
        let done = self.client.calls.run(Call::UpdateContainer, &name, updating).await;
        done.map_err(|e| failed(format!("set the limits of {name}"), e))
    }

    pub(super) async fn stop_container(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        let Some(container) = self.container(spec).await? else { return Ok(()) };
        if status(&container) == Some(ContainerStateStatusEnum::PAUSED) {
            // A frozen container does not handle signals.
            self.resume_container(spec).await?;
        }
        let name = self.names.object(spec);
        let grace = spec.workload.stop_grace;
        let options = StopContainerOptionsBuilder::new()
            .t(i32::try_from(grace.as_secs()).unwrap_or(i32::MAX))
            .build();
        // Docker answers when the container has stopped.
        let docker = self.client.get().await?.clone();
        let limit = grace + Duration::from_secs(60);
        let docker = docker.with_timeout(limit);
        let stopping = docker.stop_container(&name, Some(options));
        match self.client.calls.run_within(Call::StopContainer, &name, limit, stopping).await {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 304 | 404, .. }) => Ok(()),
            Err(e) => Err(failed(format!("stop the container {name}"), e)),
        }
    }

    /// Removes the container, and the repair container if there is one.
    pub(super) async fn remove_container(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        self.remove_repair(spec).await?;
        if self.container(spec).await?.is_none() {
            return Ok(());
        }
        self.remove_named(&self.names.object(spec)).await
    }

    /// Removes a container that is ours, running or not, and waits until it is gone.
    pub(super) async fn remove_named(&self, name: &str) -> Result<(), HostError> {
        let docker = self.client.get().await?;
        let what = format!("remove the container {name}");
        // `v` removes anonymous volumes that an image may declare; named volumes are kept.
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let removing = docker.remove_container(name, Some(options));
        match found(self.client.calls.run(Call::RemoveContainer, name, removing).await) {
            Ok(_) => return Ok(()),
            // Another removal is in progress: ours from before a crash, or an operator's.
            Err(Error::DockerResponseServerError { status_code: 409, .. }) => {}
            Err(e) => return Err(failed(what, e)),
        }
        let gone = async {
            let seen = async || {
                let inspecting = docker.inspect_container(name, None);
                found(self.client.calls.run(Call::InspectContainer, name, inspecting).await)
            };
            while seen().await?.is_some() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        };
        match tokio::time::timeout(REMOVAL, gone).await {
            Ok(result) => result.map_err(|e| failed(what, e)),
            Err(_) => Err(failed(what, Error::RequestTimeoutError)),
        }
    }

    /// The instance's container; `None` when there is none. A foreign container of that name is an
    /// error, because it blocks the name.
    pub(super) async fn container(
        &self,
        spec: &InstanceSpec,
    ) -> Result<Option<ContainerInspectResponse>, HostError> {
        self.inspect(spec, &self.names.object(spec)).await
    }

    pub(super) async fn inspect(
        &self,
        spec: &InstanceSpec,
        name: &str,
    ) -> Result<Option<ContainerInspectResponse>, HostError> {
        let inspecting = self.client.get().await?.inspect_container(name, None);
        let container = self.client.calls.run(Call::InspectContainer, name, inspecting).await;
        let container = found(container);
        let container =
            container.map_err(|e| failed(format!("inspect the container {name}"), e))?;
        let Some(container) = container else { return Ok(None) };
        let labels = container.config.as_ref().and_then(|config| config.labels.as_ref());
        if self.names.marked(labels, &spec.id) {
            return Ok(Some(container));
        }
        Err(HostError::refused(format!(
            "there is a container {name} that is not of instance {}; remove it with: docker rm -f \
             {name}",
            spec.id
        )))
    }
}

/// The command; the image's own when there is none.
fn command(spec: &InstanceSpec) -> Option<Vec<String>> {
    let command = &spec.workload.command;
    (!command.is_empty()).then(|| command.clone())
}

pub(super) fn label<'a>(container: &'a ContainerInspectResponse, key: &str) -> Option<&'a str> {
    container.config.as_ref()?.labels.as_ref()?.get(key).map(String::as_str)
}

pub(super) fn status(container: &ContainerInspectResponse) -> Option<ContainerStateStatusEnum> {
    container.state.as_ref()?.status
}

/// Whether Docker could not start a container because its address or port is taken.
fn address_is_taken(message: &str) -> bool {
    let text = message.to_lowercase();
    text.contains("address already in use") || text.contains("port is already allocated")
}

/// The name among a container's `names` that is not the usual one.
fn other_name(names: &[String], usual: &str) -> Option<String> {
    let names = names.iter().map(|name| name.trim_start_matches('/'));
    names.filter(|name| !name.contains('/')).find(|name| *name != usual).map(str::to_owned)
}

fn renamed_error(what: &str, other: &str, usual: &str, instance: &Name) -> HostError {
    HostError::refused(format!(
        "cannot {what}: the container {other} is of {instance} too, was renamed from {usual}, and has \
         its address; remove it with: docker rm -f {other} (the data are in the volume and stay)"
    ))
}

/// The soft memory limit after the boot: always below the hard limit, which is set during the boot,
/// so that both states can be distinguished.
fn enforced_soft_mib(limits: &Limits) -> u64 {
    limits.memory_soft_mib.min(limits.memory_hard_mib - 1)
}

/// An update of these limits, and of those in `other`.
fn limits(cpu_quota: i64, soft_mib: u64, other: ContainerUpdateBody) -> ContainerUpdateBody {
    ContainerUpdateBody {
        cpu_quota: Some(cpu_quota),
        memory_reservation: Some(mib(soft_mib)),
        ..other
    }
}

/// The update of the limits that a container gets when it is created, as far as it has others:
/// `docker update` can change them. What the kernel does not support, Docker does not report, or
/// reports as unlimited (swap): that is no change.
fn changed_limits(host: &HostConfig, limits: &Limits) -> ContainerUpdateBody {
    let (pids, memory) = (i64::from(limits.pids), mib(limits.memory_hard_mib));
    let mut update = ContainerUpdateBody::default();
    if host.pids_limit.is_some_and(|present| present != pids) {
        update.pids_limit = Some(pids);
    }
    if host.memory != Some(memory) || host.memory_swap.is_some_and(|all| all > memory) {
        // Together, or Docker would refuse a limit above that of memory and swap.
        (update.memory, update.memory_swap) = (Some(memory), Some(memory));
    }
    update
}

/// Which limits are in force.
pub(super) fn enforced(container: &ContainerInspectResponse, limits: &Limits) -> Enforced {
    let soft = container.host_config.as_ref().and_then(|host| host.memory_reservation);
    match quota(container) > 0 {
        false => Enforced::Nothing,
        true if soft == Some(mib(enforced_soft_mib(limits))) => Enforced::All,
        true => Enforced::Cpu,
    }
}

/// Whether `docker update` gave it another limit than specified.
pub(super) fn limits_changed(container: &ContainerInspectResponse, limits: &Limits) -> bool {
    let host = container.host_config.clone().unwrap_or_default();
    let cpus = quota(container) > 0 && quota(container) != cpu_quota(limits.cpus);
    cpus || changed_limits(&host, limits) != ContainerUpdateBody::default()
}

pub(super) fn quota(container: &ContainerInspectResponse) -> i64 {
    container.host_config.as_ref().and_then(|host| host.cpu_quota).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { memory_soft_mib: 512, memory_hard_mib: 2048, cpus: 0.5, pids: 512 };

    /// A container that is live, changed by `change`.
    fn live(change: impl FnOnce(&mut HostConfig)) -> ContainerInspectResponse {
        let mut host = HostConfig {
            cpu_quota: Some(cpu_quota(LIMITS.cpus)),
            memory_reservation: Some(mib(512)),
            memory: Some(mib(2048)),
            memory_swap: Some(mib(2048)),
            pids_limit: Some(512),
            ..Default::default()
        };
        change(&mut host);
        ContainerInspectResponse { host_config: Some(host), ..Default::default() }
    }

    #[test]
    fn a_limit_that_docker_update_changed_is_put_back() {
        let same = live(|_| {});
        assert!(enforced(&same, &LIMITS) == Enforced::All && !limits_changed(&same, &LIMITS));
        type Change = fn(&mut HostConfig);
        let changes: [Change; 5] = [
            |host| host.pids_limit = Some(10_000),
            |host| host.pids_limit = Some(-1),
            |host| host.memory = Some(mib(4096)),
            |host| host.memory_swap = Some(mib(4096)),
            |host| host.cpu_quota = Some(cpu_quota(8.0)),
        ];
        for change in changes {
            let container = live(change);
            // It has booted all the same.
            assert_eq!(enforced(&container, &LIMITS), Enforced::All);
            assert!(limits_changed(&container, &LIMITS));
            // What the update leaves out is as it is to be.
            let host = container.host_config.unwrap();
            let update = limits(1, 512, changed_limits(&host, &LIMITS));
            assert_eq!(update.pids_limit.or(host.pids_limit), Some(512));
            assert_eq!(update.memory.or(host.memory), Some(mib(2048)));
            assert_eq!(update.memory_swap.or(host.memory_swap), Some(mib(2048)));
            assert_eq!(update.memory_reservation, Some(mib(512)));
        }
        // A kernel without these limits.
        let without = live(|host| (host.pids_limit, host.memory_swap) = (None, Some(-1)));
        assert!(!limits_changed(&without, &LIMITS));
        let booting = live(|host| host.cpu_quota = Some(CPU_LIFTED));
        assert_eq!(enforced(&booting, &LIMITS), Enforced::Nothing);
    }

    #[test]
    fn a_renamed_container_is_named_with_the_remedy() {
        assert!(address_is_taken("Address already in use"));
        assert!(address_is_taken("Bind for 127.0.0.1:18001 failed: port is already allocated"));
        let names = ["/old-alice".to_owned()];
        let other = other_name(&names, "startclaw-alice-1").unwrap();
        assert_eq!(other_name(&names, "old-alice"), None);
        let alice = Name::parse("alice").unwrap();
        let error = renamed_error("start it", &other, "startclaw-alice-1", &alice).to_string();
        for part in ["old-alice", "startclaw-alice-1", "docker rm -f old-alice"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
