//! StartClaw: backups of a running instance, and a restore.

use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use startclaw_model::{Operation, StepName};

use super::{Day, volume};
use crate::{memory::Watch, platform};

const NAME: &str = "volume";

pub struct Platform {
    platform: platform::Platform,
    id: String,
}

impl Platform {
    /// Creates an instance with a filled volume.
    pub async fn start() -> anyhow::Result<Self> {
        let platform = platform::start().await;
        let (_, asked) = platform.api("POST", "/provision", Some(json!({ "name": NAME }))).await;
        over(&platform, &asked).await?;
        let id = platform.status(NAME).await["id"].as_str().context("no id")?.to_owned();
        volume::fill(&platform.data(NAME))?;
        Ok(Self { platform, id })
    }

    /// The path of its volume.
    pub fn data(&self) -> std::path::PathBuf {
        self.platform.data(NAME)
    }

    pub async fn back_up(&self) -> anyhow::Result<Day> {
        let repository = self.platform.path("data/backups/repositories").join(&self.id);
        let before = volume::size(&repository);
        let watch = Watch::begin(&["backup-worker"]);
        let (_, asked) = self.platform.api("POST", "/backup", Some(json!({ "name": NAME }))).await;
        let done = over(&self.platform, &asked).await?;
        Ok(Day {
            held: step(&done, StepName::Freeze)?,
            took: whole(&done)?,
            stored: volume::size(&repository).saturating_sub(before),
            memory: watch.end(),
        })
    }

    /// Restores the newest backup; returns the time to write the data, and until it is live.
    pub async fn restore(&self) -> anyhow::Result<(Duration, Duration)> {
        let body = json!({ "name": NAME, "snapshot": "latest" });
        let (_, asked) = self.platform.api("POST", "/restore", Some(body)).await;
        let done = over(&self.platform, &asked).await?;
        Ok((step(&done, StepName::Restore)?, whole(&done)?))
    }
}

async fn over(platform: &platform::Platform, asked: &Value) -> anyhow::Result<Operation> {
    anyhow::ensure!(asked["id"].is_string(), "refused: {asked}");
    let done: Operation = serde_json::from_value(platform.over(asked).await)?;
    anyhow::ensure!(done.error.is_none(), "{done:?}");
    Ok(done)
}

fn step(done: &Operation, name: StepName) -> anyhow::Result<Duration> {
    let step = done.steps.iter().rev().find(|s| s.name == name);
    let step = step.with_context(|| format!("no step {name}"))?;
    Ok(step.finished_at.context("a step without an end")?.since(step.started_at))
}

fn whole(done: &Operation) -> anyhow::Result<Duration> {
    Ok(done.finished_at.context("an operation without an end")?.since(done.created_at))
}
