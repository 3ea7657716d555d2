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

/// Slack and similar read `text`, Discord reads `content`. Neither takes anything in it for a
/// mention: it may contain names of tenants' files.
fn body(text: &str) -> serde_json::Value {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    serde_json::json!({ "text": escaped, "content": text, "allowed_mentions": { "parse": [] } })
}

struct Webhook {
    client: reqwest::Client,
    /// Contains a secret, so it is never logged.
    url: reqwest::Url,
}

#[async_trait]
impl Notifier for Webhook {
    async fn notify(&self, text: &str) -> Result<(), String> {
        let sent = self.client.post(self.url.clone()).json(&body(text)).send().await;
        let answer = sent.map_err(|e| e.without_url().to_string())?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(format!("the webhook answered {}", answer.status()))
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn nobody_is_mentioned() {
        let body = super::body("cannot read <!channel> & @everyone");
        assert_eq!(body["text"], "cannot read &lt;!channel&gt; &amp; @everyone");
        assert_eq!(body["content"], "cannot read <!channel> & @everyone");
        assert_eq!(body["allowed_mentions"]["parse"], serde_json::json!([]));
    }
}
