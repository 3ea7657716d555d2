//! Alerts: somebody hears of a trouble once when it comes, and once when it is over.

use std::time::Duration;

use async_trait::async_trait;
use startclaw_store::Trouble;
use tokio::sync::Notify;

use crate::{Engine, EngineError, decide::backoff};

/// Between two looks for troubles that nobody told us of.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The first wait after a message did not get through, which doubles; and the longest.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(600);

/// Who is told of troubles.
#[async_trait]
pub trait Messenger: Send + Sync + 'static {
    /// Tells it; the error is for the log and holds no secret.
    async fn tell(&self, text: &str) -> Result<(), String>;
}

/// A messenger for nobody: troubles are in the log, the status and the metrics only.
#[derive(Debug, Clone, Copy)]
pub struct Nobody;

#[async_trait]
impl Messenger for Nobody {
    async fn tell(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

/// What wakes the telling.
#[derive(Debug, Default)]
pub(crate) struct Alerts(Notify);

impl Alerts {
    /// There may be something to tell.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

impl Engine {
    /// The troubles there are.
    pub async fn troubles(&self) -> Result<Vec<Trouble>, EngineError> {
        let all = self.store().troubles().await?;
        Ok(all.into_iter().filter(|t| t.over_at.is_none()).collect())
    }

    /// Tells what is to be told, until the engine stops.
    pub(crate) async fn tell_troubles(self) {
        let mut failures = 0;
        loop {
            let wait = match self.tell_all().await {
                Ok(()) => {
                    failures = 0;
                    LOOK_EVERY
                }
                Err(why) => {
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(why, "an alert did not get through; trying again");
                    }
                    backoff(failures, FIRST, LONGEST)
                }
            };
            tokio::select! {
                biased;
                () = self.inner.stop.cancelled() => return,
                () = self.inner.alerts.0.notified(), if failures == 0 => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn tell_all(&self) -> Result<(), String> {
        let all = self.store().troubles().await.map_err(|e| e.to_string())?;
        let there = all.iter().filter(|t| t.over_at.is_none()).count();
        metrics::gauge!("startclaw_troubles").set(u32::try_from(there).unwrap_or(u32::MAX));
        for trouble in &all {
            let Some(text) = words(trouble) else { continue };
            self.inner.messenger.tell(&text).await?;
            self.store().told(trouble).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

/// What is said of a trouble; `None` when all has been said.
fn words(trouble: &Trouble) -> Option<String> {
    let Trouble { key, detail, since, over_at, told } = trouble;
    match over_at {
        None if *told => None,
        None => Some(format!("StartClaw: {key}: {detail}")),
        Some(over) => {
            let lasted = over.since(*since).as_secs() / 60;
            Some(format!("StartClaw: {key}: over after {lasted} min ({detail})"))
        }
    }
}

#[cfg(test)]
mod tests {
    use startclaw_model::Timestamp;

    use super::*;

    #[test]
    fn a_trouble_is_told_once_and_once_when_it_is_over() {
        let at = Timestamp::from_millis;
        let came = Trouble {
            key: "bucket".into(),
            detail: "it is away".into(),
            since: at(0),
            over_at: None,
            told: false,
        };
        assert_eq!(words(&came).unwrap(), "StartClaw: bucket: it is away");
        assert_eq!(words(&Trouble { told: true, ..came.clone() }), None);
        let over = Trouble { told: true, over_at: Some(at(600_000)), ..came };
        assert_eq!(words(&over).unwrap(), "StartClaw: bucket: over after 10 min (it is away)");
    }
}
