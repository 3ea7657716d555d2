//! Freezes a container for a short time, with a guaranteed unfreeze.
//!
//! Before a container is frozen, a watchdog is started: a separate process that outlives the daemon
//! and unfreezes the container after a timeout.

use std::{
    collections::HashMap,
    path::PathBuf,
    process::Stdio,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bollard::{errors::Error, models::ContainerStateStatusEnum};
use startclaw_model::InstanceId;
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::timeout,
};

use super::{DockerHost, calls::Call, client::failed, container::status};
use startclaw_host::{HostError, InstanceSpec};

/// How long a watchdog may take to report that it is ready.
const READY: Duration = Duration::from_secs(5);

/// The watchdogs that this daemon started.
#[derive(Default)]
pub(super) struct Watchdogs {
    program: Option<PathBuf>,
    running: Mutex<HashMap<InstanceId, Child>>,
}

impl Watchdogs {
    pub(super) fn by(program: PathBuf) -> Self {
        Self { program: Some(program), running: Mutex::default() }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<InstanceId, Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn begin(
        &self,
        spec: &InstanceSpec,
        container: &str,
        socket: &str,
        after: Duration,
    ) -> Result<(), HostError> {
        let wrong = |why: &dyn std::fmt::Display| {
            HostError::unavailable(format!(
                "cannot watch over {container} while it is frozen: {why}"
            ))
        };
        let program = self.program.as_ref().ok_or_else(|| wrong(&"no program is set for that"))?;
        let mut child = Command::new(program)
            .args(["unfreeze", "--docker", socket, "--container", container, "--after"])
            .arg(after.as_secs_f64().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| wrong(&e))?;
        let mut ready = [0];
        let told = match child.stdout.take() {
            Some(mut out) => timeout(READY, out.read_exact(&mut ready)).await,
            None => return Err(wrong(&"it has no stdout")),
        };
        match told {
            Ok(Ok(_)) => {
                let before = self.running().insert(spec.id.clone(), child);
                end(before).await;
                Ok(())
            }
            Ok(Err(e)) => Err(wrong(&e)),
            Err(_) => {
                end(Some(child)).await;
                Err(wrong(&"it does not say that it watches"))
            }
        }
    }

    async fn end(&self, id: &InstanceId) {
        let child = self.running().remove(id);
        end(child).await;
    }
}

async fn end(child: Option<Child>) {
    if let Some(mut child) = child {
        // It may have ended on its own.
        let _ = child.kill().await;
    }
}

impl DockerHost {
    pub(super) async fn pause_container(
        &self,
        spec: &InstanceSpec,
        at_most: Option<Duration>,
    ) -> Result<(), HostError> {
        let name = self.names.object(spec);
        let Some(container) = self.container(spec).await? else { return Ok(()) };
        if status(&container) != Some(ContainerStateStatusEnum::RUNNING) {
            return Ok(());
        }
        if let Some(at_most) = at_most {
            self.watchdogs.begin(spec, &name, &self.settings.socket, at_most).await?;
        }
        let pausing = self.client.get().await?.pause_container(&name);
        let done = self.client.calls.run(Call::PauseContainer, &name, pausing).await;
        if done.is_err() {
            self.watchdogs.end(&spec.id).await;
        }
        done.map_err(|e| failed(format!("freeze the container {name}"), e))
    }

    pub(super) async fn resume_container(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        self.resume_paused(spec).await.map(drop)
    }

    /// Unfreezes the container; `false` when it was not frozen any more.
    pub(super) async fn resume_paused(&self, spec: &InstanceSpec) -> Result<bool, HostError> {
        let name = self.names.object(spec);
        let paused = match self.container(spec).await? {
            Some(container) => status(&container) == Some(ContainerStateStatusEnum::PAUSED),
            None => false,
        };
        let went_on = if paused {
            let unpausing = self.client.get().await?.unpause_container(&name);
            match self.client.calls.run(Call::PauseContainer, &name, unpausing).await {
                Ok(()) => true,
                // The watchdog unfroze it meanwhile; Docker reports that by the text only.
                Err(Error::DockerResponseServerError { message, .. })
                    if message.contains("not paused") =>
                {
                    false
                }
                Err(e) => return Err(failed(format!("resume the container {name}"), e)),
            }
        } else {
            false
        };
        self.watchdogs.end(&spec.id).await;
        Ok(went_on)
    }
}
