//! Converts the desired state to the spec for the host.

use startclaw_host::{Endpoints, HostError, InstanceSpec, SecretFile, Workload};
use startclaw_model::{Instance, Secret, SecretName};
use startclaw_openclaw::{self as openclaw, Setup, TelegramSetup};

use crate::{Engine, EngineError, EngineSettings, spec_digest};

/// The public address of `name`.
pub(crate) fn origin(settings: &EngineSettings, name: &startclaw_model::Name) -> String {
    format!("https://{name}.{}{}", settings.domain, settings.port_suffix)
}

/// The input of the configuration.
pub(crate) fn setup(
    settings: &EngineSettings,
    instance: &Instance,
    endpoints: &Endpoints,
) -> Setup {
    let profile = &instance.desired.profile;
    Setup {
        owner: instance.owner.clone(),
        origin: origin(settings, &instance.name),
        proxy: endpoints.proxy,
        provider: profile.provider.clone(),
        has_api_key: profile.api_key,
        telegram: profile.telegram.then(|| TelegramSetup {
            api_root: settings.instances.telegram_api.clone(),
            access: profile.telegram_access,
        }),
        has_secrets: instance.desired.has_had_secrets(),
    }
}

/// The spec of an instance, without its secrets: they are decrypted only when they are written.
pub(crate) fn spec(
    settings: &EngineSettings,
    instance: &Instance,
    endpoints: &Endpoints,
) -> InstanceSpec {
    let desired = &instance.desired;
    let workload = workload();
    let image = format!("{}:{}", settings.instances.image, desired.profile.version);
    // Our part of the configuration changes with our settings, and then must be written, which
    // needs a stopped container. A new file contains all of it.
    let ours = openclaw::spec_basis(&setup(settings, instance, endpoints)).unwrap_or_default();
    let digest = spec_digest::digest(instance, endpoints, &image, &workload, &ours);
    InstanceSpec {
        id: instance.id.clone(),
        name: instance.name.clone(),
        slot: instance.slot,
        volume: desired.volumes.current,
        volume_holds_data: desired.volumes.holds_data(),
        kept_volumes: desired.volumes.kept(),
        isolated: false,
        image,
        limits: desired.profile.limits,
        digest,
        config: None,
        secrets_revision: desired.secrets_revision,
        secrets: Vec::new(),
        workload,
    }
}

pub(crate) fn workload() -> Workload {
    Workload {
        command: openclaw::COMMAND.iter().map(|&s| s.to_owned()).collect(),
        env: openclaw::ENV.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
        hostname: openclaw::HOSTNAME.to_owned(),
        volume_path: openclaw::HOME.to_owned(),
        config_file: openclaw::CONFIG_FILE.to_owned(),
        secrets_path: openclaw::SECRETS_PATH.to_owned(),
        scratch: openclaw::SCRATCH
            .iter()
            .map(|&(p, size, exec)| (p.to_owned(), size, exec))
            .collect(),
        gateway_port: openclaw::GATEWAY_PORT,
        webhook_port: openclaw::WEBHOOK_PORT,
        probe_path: openclaw::STARTUP_PATH.to_owned(),
        stop_grace: openclaw::STOP_GRACE,
        repair_command: openclaw::REPAIR_COMMAND.iter().map(|&s| s.to_owned()).collect(),
    }
}

impl Engine {
    /// The addresses of an instance.
    pub(crate) async fn endpoints_of(&self, instance: &Instance) -> Result<Endpoints, HostError> {
        let found = self.inner.host.endpoints(instance.slot).await?;
        found.ok_or_else(|| {
            HostError::refused(format!("this host has no slot for {}", instance.name))
        })
    }

    /// The spec of an instance, from its current desired state.
    pub(crate) async fn spec_of(&self, instance: &Instance) -> Result<InstanceSpec, HostError> {
        let endpoints = self.endpoints_of(instance).await?;
        Ok(spec(&self.inner.settings, instance, &endpoints))
    }

    /// The file with all secrets of an instance, decrypted.
    pub(crate) async fn secret_files(
        &self,
        instance: &Instance,
        wrapped_key: &str,
    ) -> Result<Vec<SecretFile>, EngineError> {
        let mut all = serde_json::Map::new();
        for sealed in self.store().secrets(&instance.id).await? {
            let name: &SecretName = &sealed.name;
            let secret = self.inner.vault.open(wrapped_key, &instance.id, name, &sealed.sealed)?;
            all.insert(name.to_string(), secret.expose().into());
        }
        let content = serde_json::to_string(&all).map_err(EngineError::inside)?;
        Ok(vec![SecretFile {
            name: openclaw::SECRETS_FILE.to_owned(),
            value: Secret::new(content),
        }])
    }
}
