//! An instance's own network: a bridge for one container.

use std::collections::HashMap;

use bollard::models::{Ipam, IpamConfig, Network, NetworkCreateRequest, NetworkDisconnectRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;

use super::{DockerHost, calls::Call, client::failed, client::found};
use startclaw_host::{HostError, InstanceSpec};

const BRIDGE_NAME: &str = "com.docker.network.bridge.name";

impl DockerHost {
    pub(super) async fn create_network(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        let (range, gateway, _) = self.network_of(spec)?;
        let networks = self.networks(spec).await?;
        if let [one] = networks.as_slice()
            && self.as_planned(spec, one)
        {
            return Ok(());
        }
        self.remove_networks(spec, networks).await?;
        let request = NetworkCreateRequest {
            name: self.names.object(spec),
            driver: Some("bridge".to_owned()),
            enable_ipv6: Some(false),
            ipam: Some(Ipam {
                driver: Some("default".to_owned()),
                config: Some(vec![IpamConfig {
                    subnet: Some(range.to_string()),
                    gateway: Some(gateway.to_string()),
                    ..Default::default()
                }]),
                ..Default::default()
            }),
            options: Some(HashMap::from([
                (BRIDGE_NAME.to_owned(), self.names.bridge(spec.slot)),
                // Prevents publishing a port on this bridge to all addresses by mistake.
                ("com.docker.network.bridge.host_binding_ipv4".to_owned(), "127.0.0.1".to_owned()),
            ])),
            labels: Some(self.names.labels(spec)),
            ..Default::default()
        };
        let object = self.names.object(spec);
        let creating = self.client.get().await?.create_network(request);
        match self.client.calls.run(Call::CreateNetwork, &object, creating).await {
            Ok(_) => Ok(()),
            Err(e) => Err(self.explain_network(spec, failed("create a network", e)).await),
        }
    }

    /// Whether the instance's network exists, as planned.
    pub(super) async fn has_network(&self, spec: &InstanceSpec) -> Result<bool, HostError> {
        let networks = self.networks(spec).await?;
        Ok(matches!(networks.as_slice(), [one] if self.as_planned(spec, one)))
    }

    pub(super) async fn remove_network(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        let networks = self.networks(spec).await?;
        self.remove_networks(spec, networks).await
    }

    /// All networks of the instance: by label, because Docker allows duplicate names.
    async fn networks(&self, spec: &InstanceSpec) -> Result<Vec<Network>, HostError> {
        let filter = self.names.filter_one(&spec.id);
        let options = ListNetworksOptionsBuilder::new().filters(&filter).build();
        let listing = self.client.get().await?.list_networks(Some(options));
        let networks = self.client.calls.run(Call::ListNetworks, &spec.id.0, listing).await;
        networks.map_err(|e| failed(format!("list the networks of {}", spec.name), e))
    }

    fn as_planned(&self, spec: &InstanceSpec, network: &Network) -> bool {
        let Ok((range, gateway, _)) = self.network_of(spec) else { return false };
        let configs = network.ipam.as_ref().and_then(|ipam| ipam.config.as_deref());
        let [config] = configs.unwrap_or_default() else { return false };
        let bridge = network.options.as_ref().and_then(|options| options.get(BRIDGE_NAME));
        network.name.as_deref() == Some(&self.names.object(spec))
            && config.subnet.as_deref() == Some(&range.to_string())
            && config.gateway.as_deref() == Some(&gateway.to_string())
            && bridge == Some(&self.names.bridge(spec.slot))
            && network.enable_ipv6 != Some(true)
    }

    async fn remove_networks(
        &self,
        spec: &InstanceSpec,
        networks: Vec<Network>,
    ) -> Result<(), HostError> {
        let docker = self.client.get().await?;
        let what = format!("remove the network of {}", spec.name);
        for id in networks.into_iter().filter_map(|network| network.id) {
            let inspecting = docker.inspect_network(&id, None);
            let network = self.client.calls.run(Call::InspectNetwork, &id, inspecting).await;
            let network = found(network);
            let Some(network) = network.map_err(|e| failed(&what, e))? else { continue };
            // A foreign container may be connected to it, which would prevent its removal.
            for container in network.containers.unwrap_or_default().into_keys() {
                let request = NetworkDisconnectRequest { container, force: Some(true) };
                let leaving = docker.disconnect_network(&id, request);
                let gone = self.client.calls.run(Call::RemoveNetwork, &id, leaving).await;
                found(gone).map_err(|e| failed(&what, e))?;
            }
            let removing = docker.remove_network(&id);
            let gone = self.client.calls.run(Call::RemoveNetwork, &id, removing).await;
            found(gone).map_err(|e| failed(&what, e))?;
        }
        Ok(())
    }

    /// Docker only reports that a range overlaps; what to do depends on the network that uses it.
    async fn explain_network(&self, spec: &InstanceSpec, error: HostError) -> HostError {
        let filter = self.names.filter_all();
        let options = ListNetworksOptionsBuilder::new().filters(&filter).build();
        let Ok(docker) = self.client.get().await else { return error };
        let listing = docker.list_networks(Some(options));
        let networks = self.client.calls.run(Call::ListNetworks, "", listing).await;
        let networks = networks.unwrap_or_default();
        let slot = spec.slot.0.to_string();
        let label = self.names.slot_label();
        let taken = networks.into_iter().find(|network| {
            network.labels.as_ref().and_then(|labels| labels.get(&label)) == Some(&slot)
        });
        match taken.and_then(|network| network.name) {
            // Left over from an older instance, and removed with it.
            Some(name) => HostError::unavailable(format!(
                "the place of {} is still taken by the network {name}",
                spec.name
            )),
            None if error.message.contains("overlap") => HostError::refused(format!(
                "the range {} that {} needs is used by something else on this machine (see `ip \
                 route` and `docker network ls`): set docker.address_pool to a free one",
                self.network_of(spec).map(|(range, ..)| range.to_string()).unwrap_or_default(),
                spec.name
            )),
            None => error,
        }
    }
}
