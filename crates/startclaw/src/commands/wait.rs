//! Waits for an operation.

use std::{pin::pin, time::Duration};

use futures::StreamExt;
use startclaw_api::client::{Client, Progress};
use startclaw_model::{Operation, OperationState};

use crate::{
    cli::{Globals, Waiting},
    exit::{Exit, Failure},
    output,
};

/// How long to wait for an unreachable daemon: a restart takes seconds, a package upgrade on the
/// host a minute or two.
const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until the operation is finished, unless `--no-wait` is given, and reports the result. On
/// success, calls `done` for further output.
pub async fn wait(
    globals: &Globals,
    client: &Client,
    operation: Operation,
    waiting: Waiting,
    done: impl FnOnce(&Operation) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if waiting.no_wait {
        if globals.json {
            return output::json(&operation);
        }
        let text = format!(
            "{} of {} in progress: operation {}",
            operation.kind.as_str(),
            operation.name,
            operation.id
        );
        return Ok(output::line(&text)?);
    }
    let over = tokio::select! {
        over = follow(globals, client, operation.clone()) => over?,
        _ = tokio::signal::ctrl_c() => {
            output::note(&format!(
                "\nThe operation continues. See: startclaw operations {}",
                operation.name
            ));
            return Err(Failure::new(Exit::Interrupted, "no longer waiting").into());
        }
    };
    if globals.json {
        output::json(&over)?;
    }
    if over.state == OperationState::Failed {
        let why = over.error.as_deref().unwrap_or("unknown reason");
        let text = format!("{} of {} failed: {why}", over.kind.as_str(), over.name);
        return Err(Failure::new(Exit::Failed, text).into());
    }
    if globals.json { Ok(()) } else { done(&over) }
}

pub async fn follow(
    globals: &Globals,
    client: &Client,
    operation: Operation,
) -> anyhow::Result<Operation> {
    let mut shown = output::Shown::begin(globals.json);
    let mut last = operation;
    shown.update(&last);
    let mut news = pin!(client.follow(last.id.clone(), PATIENCE));
    while let Some(progress) = news.next().await {
        match progress {
            Ok(Progress::Now(now)) => {
                shown.update(&now);
                last = now;
            }
            Ok(Progress::Lost(why)) => shown.lost(&why),
            Err(e) => {
                shown.end();
                return Err(e.into());
            }
        }
    }
    shown.end();
    Ok(last)
}

/// The duration of an operation, as text.
pub fn took(operation: &Operation) -> String {
    output::took(operation.finished_at.unwrap_or_default().since(operation.created_at))
}
