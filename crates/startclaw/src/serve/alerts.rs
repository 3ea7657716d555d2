//! Sends alerts to a webhook.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use async_trait::async_trait;
use startclaw_engine::{NoopNotifier, Notifier};

/// How long the webhook may take.
const LIMIT: Duration = Duration::from_secs(15);

/// The notifier, from the settings.
pub fn notifier(url: &str) -> anyhow::Result<Arc<dyn Notifier>> {
    if url.is_empty() {
        return Ok(Arc::new(NoopNotifier));
    }
    let url = url.parse().context("invalid setting backup.alert_webhook")?;
    let client = reqwest::Client::builder().timeout(LIMIT).build()?;
    Ok(Arc::new(Webhook { client, url }))
}

struct Webhook {
    client: reqwest::Client,
    /// Contains a secret, so it is never logged.
    url: reqwest::Url,
}

#[async_trait]
impl Notifier for Webhook {
    async fn notify(&self, text: &str) -> Result<(), String> {
        // Slack and similar read `text`, Discord reads `content`.
        let body = serde_json::json!({ "text": text, "content": text });
        let sent = self.client.post(self.url.clone()).json(&body).send().await;
        let answer = sent.map_err(|e| e.without_url().to_string())?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(format!("the webhook answered {}", answer.status()))
        }
    }
}
