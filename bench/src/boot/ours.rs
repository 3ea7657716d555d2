//! StartClaw: `POST /provision` at the socket, a sign-in link, and then the instance's own address
//! over TLS, like the owner's browser.

use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use startclaw_model::{Operation, Timestamp};
use tokio::time::Instant;

use crate::{client, platform, samples::Samples};

/// The duration of each step of a provision, in their order.
#[derive(Default)]
pub struct Steps(pub Vec<(String, Samples)>);

impl Steps {
    fn push(&mut self, name: &str, took: Duration) {
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some((_, samples)) => samples.push(took),
            None => {
                let mut samples = Samples::default();
                samples.push(took);
                self.0.push((name.to_owned(), samples));
            }
        }
    }
}

pub struct Platform(platform::Platform);

impl Platform {
    pub async fn start() -> anyhow::Result<Self> {
        Ok(Self(platform::start().await))
    }

    /// Provisions an instance, waits for its response at its address, removes it; returns the time.
    /// Each has its own name, so that its certificate is created as well.
    pub async fn start_instance(
        &mut self,
        round: usize,
        steps: &mut Steps,
    ) -> anyhow::Result<Duration> {
        let platform = &self.0;
        let name = format!("round-{round}");
        let host = format!("{name}.{}", platform.domain());
        let origin = platform.origin(&name);
        let https = client::https(&host, &platform::authority(platform))?;
        let api = client::socket(&platform.path("run/startclaw.sock"))?;

        let begun = Instant::now();
        let asked = Timestamp::now();
        let operation: Operation = post(&api, "provision", json!({ "name": name })).await?;
        let link = post::<Value>(&api, "open", json!({ "name": name })).await?;
        let link = link["url"].as_str().context("no link")?;
        let cookie = client::sign_in(&https, &origin, link).await?;
        let url = format!("{origin}{}", client::STARTUP);
        let took = client::started(&https, &url, Some(&cookie), begun).await?;

        let done = platform.over(&serde_json::to_value(&operation)?).await;
        let done: Operation = serde_json::from_value(done)?;
        note(steps, asked, &done);
        let (_, gone) = platform.api("DELETE", &format!("/deprovision?name={name}"), None).await;
        platform.over(&gone).await;
        Ok(took)
    }
}

fn note(steps: &mut Steps, asked: Timestamp, done: &Operation) {
    if let Some(first) = done.steps.first() {
        steps.push("asked", first.started_at.since(asked));
    }
    for step in &done.steps {
        if let Some(end) = step.finished_at {
            steps.push(step.name.as_str(), end.since(step.started_at));
        }
    }
}

async fn post<T: serde::de::DeserializeOwned>(
    api: &reqwest::Client,
    verb: &str,
    body: Value,
) -> anyhow::Result<T> {
    let answer = api.post(format!("http://localhost/{verb}")).json(&body).send().await?;
    let status = answer.status();
    let body = answer.text().await?;
    anyhow::ensure!(status.is_success(), "POST /{verb}: {status} {body}");
    Ok(serde_json::from_str(&body)?)
}
