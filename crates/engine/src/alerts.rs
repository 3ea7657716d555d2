//! Alerts: a notification is sent once when an alert fires, and once when it is resolved.

use std::{sync::PoisonError, time::Duration};

use async_trait::async_trait;
use startclaw_model::{CONTROL_PLANE, InstanceId, InstanceState, Name, Timestamp};
use startclaw_store::{Alert, AlertRecord, Archive};
use tokio::sync::Notify;

use crate::{Engine, EngineError, decide::backoff};

/// The first wait after a failed notification, which doubles; and the longest.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(600);
/// Characters of a notification. Discord takes at most 2000.
const LONGEST_TEXT: usize = 1500;

/// Receives notifications of alerts.
#[async_trait]
pub trait Notifier: Send + Sync + 'static {
    /// Sends a notification; the error is for the log and contains no secret.
    async fn notify(&self, text: &str) -> Result<(), String>;
}

/// Sends nothing: alerts are in the log, the status and the metrics only.
#[derive(Debug, Clone, Copy)]
pub struct NoopNotifier;

#[async_trait]
impl Notifier for NoopNotifier {
    async fn notify(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

/// Wakes the sender of notifications.
#[derive(Debug, Default)]
pub(crate) struct Alerts {
    wake: Notify,
    /// Held while alerts are compared with states, and while both are changed: in between they do
    /// not agree.
    pub comparing: tokio::sync::Mutex<()>,
}

impl Alerts {
    /// There may be something to send.
    pub fn wake(&self) {
        self.wake.notify_one();
    }
}

impl Engine {
    /// The unresolved alerts.
    pub async fn alerts(&self) -> Result<Vec<Alert>, EngineError> {
        let all = self.store().alerts().await?;
        Ok(all.into_iter().filter(|t| t.resolved_at.is_none()).collect())
    }

    /// The newest alerts first, at most `limit`, with those that were resolved lately.
    pub async fn recent_alerts(&self, limit: u32) -> Result<Vec<AlertRecord>, EngineError> {
        Ok(self.store().recent_alerts(limit).await?)
    }

    /// Sends pending notifications until the engine stops.
    pub(crate) async fn send_alerts(self) {
        let mut failures = 0;
        loop {
            let wait = match self.send_pending_alerts().await {
                Ok(()) => {
                    failures = 0;
                    self.inner.settings.timing.sweep_every
                }
                Err(why) => {
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(why, "cannot deliver an alert; retrying");
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

    async fn send_pending_alerts(&self) -> Result<(), String> {
        self.refresh_alerts().await.map_err(|e| e.to_string())?;
        let all = self.store().alerts().await.map_err(|e| e.to_string())?;
        let there = all.iter().filter(|t| t.resolved_at.is_none()).count();
        metrics::gauge!("startclaw_alerts").set(u32::try_from(there).unwrap_or(u32::MAX));
        let mut failed = Ok(());
        for alert in &all {
            let Some(text) = message(alert) else { continue };
            // Recorded before sending, which takes seconds: if the alert is resolved meanwhile,
            // that is notified too.
            if !self.store().begin_telling(alert).await.map_err(|e| e.to_string())? {
                continue;
            }
            let sent = self.inner.notifier.notify(&text).await;
            let noted = self.store().end_telling(alert, sent.is_ok()).await;
            // One that the receiver refuses does not keep the others back.
            failed = failed.and(sent).and(noted.map_err(|e| e.to_string()));
        }
        failed
    }

    /// Fires and resolves the alerts that follow from the current state. They are compared with the
    /// stored ones each time, so a crash loses nothing.
    async fn refresh_alerts(&self) -> Result<(), EngineError> {
        let _comparing = self.inner.alerts.comparing.lock().await;
        let open = self.alerts().await?;
        let timing = &self.inner.settings.timing;
        let now = Timestamp::now();
        let mut conditions =
            vec![("firewall".to_owned(), self.firewall_error().map(|e| e.message))];
        // A short failure of the host fires no alert.
        let host = self.inner.host_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lasting = |(since, why): (Timestamp, String)| {
            (now.since(since) >= timing.sweep_every * 2).then_some(why)
        };
        conditions.push(("host".to_owned(), host.and_then(lasting)));
        for entry in self.inner.live.all() {
            let why = match entry.shown_state() {
                InstanceState::Failing => {
                    Some(entry.reason().unwrap_or_else(|| "it does not start".into()))
                }
                // An instance in a crash loop does not resolve its alert at each start.
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
                    self.store().fire(&key, &why).await?;
                }
                None if fired.is_some() => drop(self.store().resolve(&key).await?),
                _ => {}
            }
        }
        self.resolve_of_gone(&open).await
    }

    /// Resolves alerts about instances that no longer exist.
    async fn resolve_of_gone(&self, open: &[Alert]) -> Result<(), EngineError> {
        let archives = self.store().archives().await?;
        for Alert { key, .. } in open {
            if self.is_of_gone(key, &archives) {
                self.store().resolve(key).await?;
            }
        }
        Ok(())
    }

    /// Whether what an alert is about no longer exists. Keys are `KIND/NAME`; `upload/ID`, and
    /// `KIND/NAME/ID` of removed instances; `/local` may follow.
    fn is_of_gone(&self, key: &str, archives: &[Archive]) -> bool {
        let mut parts = key.split('/');
        let (Some(kind), Some(about)) = (parts.next(), parts.next()) else { return false };
        let archived = |id: &str| archives.iter().any(|archive| archive.id.as_str() == id);
        if kind == "upload" {
            let lives = self.inner.live.by_id(&InstanceId(about.to_owned())).is_some();
            return !lives && !archived(about);
        }
        let Ok(name) = Name::parse(about) else { return false };
        let lives = self.inner.live.get(&name).is_some();
        match (kind, parts.next().filter(|part| *part != "local")) {
            _ if about == CONTROL_PLANE => false,
            ("check" | "retention" | "damaged" | "missing" | "purge", Some(id)) => !archived(id),
            ("instance" | "backup" | "drill", None) => !lives,
            ("check" | "retention" | "damaged" | "missing", None) => {
                !lives && !archives.iter().any(|archive| archive.name == name)
            }
            _ => false,
        }
    }
}

/// The key of the alert that an instance is failing.
pub(crate) fn instance_key(name: &Name) -> String {
    format!("instance/{name}")
}

/// The text of the notification; `None` if none is pending.
fn message(alert: &Alert) -> Option<String> {
    let Alert { key, detail, since, resolved_at, notified } = alert;
    let text = match resolved_at {
        None if *notified => return None,
        None => format!("StartClaw: {key}: {detail}"),
        Some(over) => {
            let lasted = over.since(*since).as_secs() / 60;
            format!("StartClaw: {key}: over after {lasted} min ({detail})")
        }
    };
    Some(presentable(&text))
}

/// The text on one line, without control characters, and not longer than receivers take: it may
/// contain names of tenants' files.
fn presentable(text: &str) -> String {
    let plain = |c: char| if c.is_control() || is_invisible(c) { ' ' } else { c };
    if text.chars().count() <= LONGEST_TEXT {
        return text.chars().map(plain).collect();
    }
    let kept = text.chars().take(LONGEST_TEXT).map(plain);
    kept.chain("… (all of it: startclaw alerts)".chars()).collect()
}

/// Whether a character changes how the others are shown: line separators, and marks of the
/// direction of writing.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use startclaw_model::Timestamp;

    use super::*;

    #[test]
    fn an_alert_is_sent_once_and_once_when_it_is_resolved() {
        let at = Timestamp::from_millis;
        let came = Alert {
            key: "bucket".into(),
            detail: "it is away".into(),
            since: at(0),
            resolved_at: None,
            notified: false,
        };
        assert_eq!(message(&came).unwrap(), "StartClaw: bucket: it is away");
        assert_eq!(message(&Alert { notified: true, ..came.clone() }), None);
        let over = Alert { notified: true, resolved_at: Some(at(600_000)), ..came };
        assert_eq!(message(&over).unwrap(), "StartClaw: bucket: over after 10 min (it is away)");
    }

    #[test]
    fn a_file_name_of_a_tenant_cannot_pretend_to_be_another_alert() {
        let text = presentable("cannot read a\nStartClaw: bucket: over\u{2028}\u{202e}x\r\0");
        assert_eq!(text, "cannot read a StartClaw: bucket: over  x  ");
        let long = presentable(&"ä".repeat(5000));
        assert!(long.chars().count() < 1600 && long.ends_with("startclaw alerts)"), "{long}");
        assert_eq!(presentable(&"ä".repeat(1500)).chars().count(), 1500);
    }
}
