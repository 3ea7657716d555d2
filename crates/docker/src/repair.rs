//! Repairs a damaged state: runs a command once, in a separate container with the volume.

use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::WaitContainerOptionsBuilder;
use futures::{StreamExt, TryStreamExt};

use super::{
    DockerHost, calls::Call, client::failed, converge::StepError, logs::read, names::ROLE_REPAIR,
};
use startclaw_host::{HostError, InstanceSpec, LogRequest, excerpt};

/// The timeout. A migration of a large state takes minutes.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// The number of its output lines in an error.
const LINES: usize = 15;

impl DockerHost {
    /// Runs the repair command with the same isolation as the instance, and without a network: it
    /// only needs files.
    pub(super) async fn repair_volume(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        self.remove_repair(spec).await?;
        let name = self.names.repair(spec);
        let mut body = self.profile(spec, ROLE_REPAIR);
        body.cmd = Some(spec.workload.repair_command.clone());
        body.network_disabled = Some(true);
        match self.make(spec, &name, body.clone()).await {
            Err(StepError::NoImage(image)) => {
                self.fetch_image(&image).await?;
                self.make(spec, &name, body).await
            }
            made => made,
        }
        .map_err(|e| match e {
            StepError::NoImage(image) => HostError::unavailable(format!("{image} was removed")),
            StepError::Host(e) => e,
        })?;
        let result = self.run_repair(spec, &name).await;
        // Also when it failed; after a crash before this, the next start removes it.
        self.remove_repair(spec).await?;
        result
    }

    async fn run_repair(&self, spec: &InstanceSpec, name: &str) -> Result<(), HostError> {
        let docker = self.client.get().await?;
        let starting = docker.start_container(name, None);
        let started = self.client.calls.run(Call::StartContainer, name, starting).await;
        started.map_err(|e| failed(format!("start the repair of {}", spec.name), e))?;
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let waiting = docker.clone().with_timeout(LIMIT);
        let mut endings = Box::pin(waiting.wait_container(name, Some(options)));
        let problem = match tokio::time::timeout(LIMIT, endings.next()).await {
            Ok(Some(Ok(_))) => return Ok(()),
            Ok(Some(Err(Error::DockerContainerWaitError { code, .. }))) => {
                format!("ended with code {code}")
            }
            Ok(Some(Err(e))) => {
                return Err(failed(format!("wait for the repair of {}", spec.name), e));
            }
            Ok(None) => return Err(failed("wait for a repair", Error::RequestTimeoutError)),
            Err(_) => format!("did not end in {} s", LIMIT.as_secs()),
        };
        let request = LogRequest { tail: LINES, follow: false };
        let lines: Vec<String> =
            read(docker, name, request).map_ok(excerpt).try_collect().await.unwrap_or_default();
        Err(HostError::refused(format!(
            "the repair of {} {problem}. It said: {}",
            spec.name,
            if lines.is_empty() { "nothing".to_owned() } else { lines.join("\n") }
        )))
    }

    /// Removes what is left of a repair.
    pub(super) async fn remove_repair(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        let name = self.names.repair(spec);
        if self.inspect(spec, &name).await?.is_none() {
            return Ok(());
        }
        self.remove_named(&name).await
    }
}
