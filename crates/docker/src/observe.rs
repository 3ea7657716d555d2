//! Observes one instance, and the inventory of all.

use std::collections::HashMap;

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummaryStateEnum,
};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
};
use startclaw_model::{InstanceId, Timestamp};

use super::calls::Call;
use super::client::{blocking, failed};
use super::container::{enforced, label, limits_changed, status};
use super::names::ROLE_REPAIR;
use super::{DockerHost, usage, volume};
use startclaw_host::{
    Container, ContainerState, Enforced, Exit, HostError, InstanceSpec, InventoryItem, Observed,
    Probe,
};

/// The exit code of a process that was killed by SIGKILL, as by the OOM killer.
const KILLED: i64 = 137;

impl DockerHost {
    pub(super) async fn observe_instance(
        &self,
        spec: &InstanceSpec,
    ) -> Result<Observed, HostError> {
        let (container, network, root, other_volumes) = tokio::try_join!(
            self.container(spec),
            self.has_network(spec),
            self.volume_root(spec),
            self.other_volumes(spec),
        )?;
        let container = container.map(|found| self.describe(spec, &found));
        let state = container.as_ref().map(|container| &container.state);
        let quiet = !matches!(state, Some(ContainerState::Running | ContainerState::Paused));
        let running = state == Some(&ContainerState::Running);

        let probe = async {
            match self.address(spec.slot) {
                // A test instance that accepts nothing must still be removed.
                _ if running && spec.isolated => {
                    Ok(self.ask_inside(spec).await.unwrap_or(Probe::Silent))
                }
                Some(_) if running => self.ask_published(spec).await,
                _ => Ok(Probe::NotAsked),
            }
        };
        let (uid, secrets, id) = (self.uid(spec), self.secrets.clone(), spec.id.clone());
        let file = quiet.then(|| spec.workload.config_file.clone());
        let volume = root.is_some();
        let files = blocking("inspect the volume", move || {
            let seen = root.map(|root| volume::inspect(&root, uid, file.as_deref())).transpose()?;
            Ok((seen.unwrap_or_default(), secrets.revision(&id)?))
        });
        let (probe, (seen, secrets)) = tokio::try_join!(probe, files)?;
        let volume::Seen { ready: volume_ready, empty: volume_empty, config } = seen;
        Ok(Observed {
            volume,
            volume_name: self.names.volume(spec, spec.volume),
            volume_empty,
            volume_ready,
            other_volumes_unknown: other_volumes.is_none(),
            other_volumes: other_volumes.unwrap_or_default(),
            network,
            secrets,
            config,
            container,
            probe,
        })
    }

    fn describe(&self, spec: &InstanceSpec, container: &ContainerInspectResponse) -> Container {
        let state = container.state.clone().unwrap_or_default();
        let time = |text: Option<String>| {
            // Docker returns the year 1 for never.
            text.and_then(|text| Timestamp::parse(&text)).filter(|at| at.as_millis() > 0)
        };
        let code = state.exit_code.unwrap_or_default();
        let enforced = enforced(container, &spec.limits);
        let booting = enforced == Enforced::Nothing
            && status(container) == Some(ContainerStateStatusEnum::RUNNING);
        Container {
            state: match status(container) {
                Some(ContainerStateStatusEnum::CREATED) => ContainerState::Created,
                Some(ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::RESTARTING) => {
                    ContainerState::Running
                }
                Some(ContainerStateStatusEnum::PAUSED) => ContainerState::Paused,
                _ => ContainerState::Exited(Exit {
                    code,
                    // Docker also reports a child process that was OOM-killed while the instance
                    // itself continued.
                    oom_killed: state.oom_killed == Some(true) && code == KILLED,
                    at: time(state.finished_at).unwrap_or_default(),
                }),
            },
            digest: label(container, &self.names.spec_label()).unwrap_or_default().to_owned(),
            enforced,
            limits_changed: limits_changed(container, &spec.limits),
            cpu_used: booting.then(|| usage::cpu_of(container.id.as_deref()?)).flatten(),
            started_at: time(state.started_at),
        }
    }

    pub(super) async fn find_all(&self) -> Result<Vec<InventoryItem>, HostError> {
        let docker = self.client.get().await?;
        let calls = &self.client.calls;
        let filter = self.names.filter_all();
        let containers = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
        let volumes = ListVolumesOptionsBuilder::new().filters(&filter).build();
        let networks = ListNetworksOptionsBuilder::new().filters(&filter).build();
        let (containers, volumes, networks) = tokio::try_join!(
            calls.run(Call::ListContainers, "", docker.list_containers(Some(containers))),
            calls.run(Call::ListVolumes, "", docker.list_volumes(Some(volumes))),
            calls.run(Call::ListNetworks, "", docker.list_networks(Some(networks))),
        )
        .map_err(|e| failed("list all containers, volumes and networks", e))?;

        let mut all: HashMap<InstanceId, InventoryItem> = HashMap::new();
        for labels in volumes.volumes.unwrap_or_default().into_iter().map(|volume| volume.labels) {
            self.mark(&mut all, &labels, |found| found.volume = true);
        }
        for labels in networks.into_iter().filter_map(|network| network.labels) {
            self.mark(&mut all, &labels, |found| found.network = true);
        }
        for container in containers {
            let labels = container.labels.unwrap_or_default();
            let repair = labels.get(&self.names.role_label()).is_some_and(|r| r == ROLE_REPAIR);
            let digest = labels.get(&self.names.spec_label()).cloned().unwrap_or_default();
            let running = container.state == Some(ContainerSummaryStateEnum::RUNNING);
            self.mark(&mut all, &labels, |found| {
                if !repair {
                    found.container = Some((digest, running));
                }
            });
        }
        let mut all: Vec<InventoryItem> = all.into_values().collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(all)
    }

    fn mark(
        &self,
        all: &mut HashMap<InstanceId, InventoryItem>,
        labels: &HashMap<String, String>,
        set: impl FnOnce(&mut InventoryItem),
    ) {
        let Some(id) = labels.get(&self.names.id_label()) else { return };
        let id = InstanceId(id.clone());
        let found = all.entry(id.clone()).or_insert_with(|| InventoryItem {
            id,
            name: labels.get(&self.names.name_label()).cloned().unwrap_or_default(),
            volume: false,
            network: false,
            container: None,
        });
        set(found);
    }
}
