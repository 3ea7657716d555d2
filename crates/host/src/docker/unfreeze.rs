//! The watchdog over a frozen container: a process that outlives the daemon.

use std::{io::Write, time::Duration};

use bollard::models::ContainerStateStatusEnum;

use super::calls::Call;
use super::client::{Client, failed, found};
use crate::HostError;

/// How often it tries when Docker does not answer, and how long it waits between.
const TRIES: u32 = 60;
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Says on stdout that it watches, waits, and unfreezes the container if it is frozen then. The
/// daemon ends this process when it has unfrozen the container itself.
///
/// # Errors
/// When Docker does not answer for a minute.
pub async fn unfreeze_later(
    socket: &str,
    container: &str,
    after: Duration,
) -> Result<(), HostError> {
    // A session of its own: what ends the daemon's ends not this. It fails for a process that
    // leads one already, which is as good.
    let _ = rustix::process::setsid();
    let mut out = std::io::stdout();
    let told = out.write_all(b".").and_then(|()| out.flush());
    told.map_err(|e| HostError::unavailable(format!("nobody listens: {e}")))?;
    tokio::time::sleep(after).await;
    let client = Client::new(socket.to_owned());
    let mut last = Ok(());
    for _ in 0..TRIES {
        last = unfreeze(&client, container).await;
        if last.is_ok() {
            break;
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
    last
}

async fn unfreeze(client: &Client, container: &str) -> Result<(), HostError> {
    let docker = client.get().await?;
    let what = format!("resume the container {container}");
    let inspecting = docker.inspect_container(container, None);
    let seen = found(client.calls.run(Call::InspectContainer, container, inspecting).await);
    let seen = seen.map_err(|e| failed(&what, e))?;
    let frozen = seen
        .and_then(|container| container.state)
        .is_some_and(|state| state.status == Some(ContainerStateStatusEnum::PAUSED));
    if frozen {
        let unpausing = docker.unpause_container(container);
        let done = client.calls.run(Call::PauseContainer, container, unpausing).await;
        done.map_err(|e| failed(&what, e))?;
    }
    Ok(())
}
