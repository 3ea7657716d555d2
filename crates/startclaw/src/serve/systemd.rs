//! Notifications to systemd: ready, alive, stopping. Without systemd, nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;
use startclaw_engine::Engine;
use tokio_util::sync::CancellationToken;

pub fn ready() {
    tell(&[NotifyState::Ready]);
}

pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Sends watchdog keep-alives while the daemon is healthy: a daemon whose engine or database hangs
/// is restarted.
pub async fn watchdog(engine: Engine, stop: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return stop.cancelled().await };
    let mut tick = tokio::time::interval((limit / 3).max(Duration::from_millis(100)));
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        match tokio::time::timeout(limit / 3, engine.ping()).await {
            Ok(Ok(())) => tell(&[NotifyState::Watchdog]),
            Ok(Err(e)) => tracing::error!(error = %e, "the engine is not healthy"),
            Err(_) => tracing::error!("the engine does not answer"),
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        tracing::warn!(error = %e, "cannot notify systemd");
    }
}
