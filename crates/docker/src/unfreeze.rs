//! The watchdog over a frozen container: a process that outlives the daemon.

use std::{io::Write, time::Duration};

use bollard::models::ContainerStateStatusEnum;

use super::calls::Call;
use super::client::{Client, failed, found};
use startclaw_host::HostError;

/// The number of attempts when Docker does not answer, and the delay between them.
const TRIES: u32 = 60;
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Reports on stdout that it is ready, waits, and unfreezes the container if it is still frozen.
/// The daemon kills this process after it has unfrozen the container itself.
///
/// # Errors
/// When Docker does not answer for a minute.
pub async fn unfreeze_later(
    socket: &str,
    container: &str,
    after: Duration,
) -> Result<(), HostError> {
    // A new session, so that it is not killed with the daemon's. It fails if the process leads a
    // session already, which has the same effect.
    let _ = rustix::process::setsid();
    let mut out = std::io::stdout();
    let told = out.write_all(b".").and_then(|()| out.flush());
    told.map_err(|e| HostError::unavailable(format!("cannot report to the daemon: {e}")))?;
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
