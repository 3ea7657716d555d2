//! Alerts: somebody hears of a trouble once when it comes, and once when it is over.

use std::{sync::PoisonError, time::Duration};

use async_trait::async_trait;
use startclaw_model::{InstanceState, Name, Timestamp};
use startclaw_store::Trouble;
use tokio::sync::Notify;

use crate::{CONTROL_PLANE, Engine, EngineError, decide::backoff};

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
pub(crate) struct Alerts {
    wake: Notify,
    /// Held while alerts are compared with states, and while both change together: in between
    /// they do not agree.
    pub comparing: tokio::sync::Mutex<()>,
}

impl Alerts {
    /// There may be something to tell.
    pub fn wake(&self) {
        self.wake.notify_one();
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
                    self.inner.settings.timing.sweep_every
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
                () = self.inner.alerts.wake.notified(), if failures == 0 => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn tell_all(&self) -> Result<(), String> {
        self.refresh_alerts().await.map_err(|e| e.to_string())?;
        let all = self.store().troubles().await.map_err(|e| e.to_string())?;
        let there = all.iter().filter(|t| t.over_at.is_none()).count();
        metrics::gauge!("startclaw_troubles").set(u32::try_from(there).unwrap_or(u32::MAX));
        for trouble in &all {
            let Some(text) = words(trouble) else { continue };
            // Noted before it is sent, which takes seconds: what is resolved meanwhile is told as
            // resolved, too.
            if !self.store().begin_telling(trouble).await.map_err(|e| e.to_string())? {
                continue;
            }
            let sent = self.inner.messenger.tell(&text).await;
            let noted = self.store().end_telling(trouble, sent.is_ok()).await;
            sent.and(noted.map_err(|e| e.to_string()))?;
        }
        Ok(())
    }

    /// Fires and resolves the alerts that follow from what is known just now. Compared with what
    /// is stored each time, so nothing is missed by a crash.
    async fn refresh_alerts(&self) -> Result<(), EngineError> {
        let _comparing = self.inner.alerts.comparing.lock().await;
        let open = self.troubles().await?;
        let timing = &self.inner.settings.timing;
        let now = Timestamp::now();
        let mut conditions = vec![("firewall".to_owned(), self.no_walls().map(|e| e.message))];
        // Trouble of a moment is waited out.
        let host = self.inner.host_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lasting = |(since, why): (Timestamp, String)| {
            (now.since(since) >= timing.sweep_every * 2).then_some(why)
        };
        conditions.push(("host".to_owned(), host.and_then(lasting)));
        for entry in self.inner.live.all() {
            let why = match entry.shown_state() {
                InstanceState::Failing => {
                    Some(entry.reason().unwrap_or_else(|| "it does not come up".into()))
                }
                // One that comes up only to crash again is not resolved each time.
                InstanceState::Live if now.since(entry.since) >= timing.silence_limit => None,
                InstanceState::Removing => None,
                _ => continue,
            };
            conditions.push((instance_key(&entry.instance.name), why));
        }
        for (key, why) in conditions {
            let fired = open.iter().find(|t| t.key == key);
            match why {
                Some(why) if fired.is_none_or(|t| t.detail != why) => {
                    self.store().raise(&key, &why).await?;
                }
                None if fired.is_some() => drop(self.store().clear(&key).await?),
                _ => {}
            }
        }
        self.resolve_of_gone(&open).await
    }

    /// Resolves alerts about instances of which nothing is left that they could be about.
    async fn resolve_of_gone(&self, open: &[Trouble]) -> Result<(), EngineError> {
        let archived: Vec<_> = self.store().archives().await?.into_iter().map(|a| a.name).collect();
        for Trouble { key, .. } in open {
            let Some((kind, about)) = key.split_once('/') else { continue };
            // The control plane's and those of an upload, which bear an id, are no names.
            let Ok(name) = Name::parse(about.split('/').next().unwrap_or(about)) else { continue };
            let lives = self.inner.live.get(&name).is_some();
            let over = match kind {
                "instance" | "backup" | "drill" => !lives,
                "check" | "retention" => !lives && !archived.contains(&name),
                _ => false,
            };
            if over && about != CONTROL_PLANE {
                self.store().clear(key).await?;
            }
        }
        Ok(())
    }
}

/// The key of the alert that an instance is failing.
pub(crate) fn instance_key(name: &Name) -> String {
    format!("instance/{name}")
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
