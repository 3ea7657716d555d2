//! `/operations/ID`: the live progress of an operation.

use std::time::Duration;

use askama::Template;
use futures::StreamExt;
use startclaw_model::{
    Actor, InstanceState, Operation, OperationKind, OperationState, OperationStep, StepName,
    StepState, Timestamp,
};

use crate::{
    access::{CurrentUser, VisibleOperation},
    answer::{Answer, page},
    assets::Page as _,
    error::sentence,
    frame::{Notice, Site},
    labels,
    stream::{piece, stream},
};

/// Changes within this time are sent as one.
const PACE: Duration = Duration::from_millis(150);

#[derive(Template)]
#[template(path = "operation.html")]
struct OperationPage {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    title: String,
    asked: String,
    operation: OperationView,
}

#[derive(Template)]
#[template(path = "part/steps.html")]
struct Steps {
    operation: OperationView,
}

struct OperationView {
    id: String,
    name: String,
    state: &'static str,
    tone: &'static str,
    elapsed: String,
    elapsed_ms: Option<u64>,
    say: String,
    steps: Vec<StepRow>,
    over: bool,
    open: bool,
    there: bool,
    error: Option<String>,
    next: Option<&'static str>,
}

struct StepRow {
    label: &'static str,
    tone: &'static str,
    time: String,
    elapsed_ms: Option<u64>,
    detail: Option<String>,
    progress: Option<StepProgressView>,
}

struct StepProgressView {
    text: String,
    percent: Option<u64>,
}

pub(crate) async fn show(own: VisibleOperation) -> Answer {
    let operation = own.operation();
    let state = own.instance_state().await;
    Ok(page(&OperationPage {
        site: own.site(),
        here: "instances",
        notice: None,
        title: title(operation),
        asked: asked(operation, own.user()),
        operation: view(operation, state),
    }))
}

/// Streams the steps until the operation is finished.
pub(crate) async fn events(own: VisibleOperation) -> Answer {
    let guard = own.open_stream().await?;
    let changes = own.changes().await?;
    let pieces = changes.then(async |(operation, state)| {
        let part = Steps { operation: view(&operation, state) };
        let progress = piece("progress", &part.render().unwrap_or_default());
        if operation.state.is_over() {
            return vec![progress, piece("end", "over")];
        }
        tokio::time::sleep(PACE).await;
        vec![progress]
    });
    Ok(stream(own.user().portal(), guard, pieces.flat_map(futures::stream::iter)))
}

/// The title of an operation.
pub(crate) fn title(operation: &Operation) -> String {
    let name = &operation.name;
    match operation.kind {
        OperationKind::Provision => format!("Creating {name}"),
        OperationKind::Restart => format!("Restarting {name}"),
        OperationKind::SetSecrets => format!("Updating the keys of {name}"),
        OperationKind::Deprovision => format!("Removing {name}"),
        OperationKind::Backup => format!("Backing up {name}"),
        OperationKind::Restore => format!("Restoring {name}"),
        OperationKind::Drill => format!("Restore test of {name}"),
    }
}

fn asked(operation: &Operation, user: &CurrentUser) -> String {
    let who = if operation.actor == user.actor() {
        "by you"
    } else if operation.actor == Actor::system() {
        "by the nightly schedule"
    } else if user.account().admin {
        // The owner, another admin, or an operator.
        "by another user"
    } else {
        "by an admin"
    };
    format!("Requested {} {who}", labels::ago(operation.created_at))
}

fn view(operation: &Operation, state: Option<InstanceState>) -> OperationView {
    let over = operation.state.is_over();
    let (words, tone) = match operation.state {
        OperationState::Queued => ("Queued", "busy"),
        OperationState::Running => ("In progress", "busy"),
        OperationState::Succeeded => ("Done", "good"),
        OperationState::Failed => ("Failed", "bad"),
    };
    let end = operation.finished_at.unwrap_or_else(Timestamp::now);
    let elapsed = end.since(operation.created_at);
    let steps = rows(operation);
    let now = operation.steps.last().filter(|_| !over).map(|s| label(s.name));
    let live = state == Some(InstanceState::Live);
    // Announce the instance as live at the end of an operation that starts it.
    let removes = matches!(operation.kind, OperationKind::Deprovision | OperationKind::Drill);
    let say = match operation.state {
        OperationState::Succeeded if live && !removes => format!("{} is live", operation.name),
        _ => now.unwrap_or(words).to_owned(),
    };
    OperationView {
        id: operation.id.to_string(),
        name: operation.name.to_string(),
        state: words,
        tone,
        elapsed: labels::took(elapsed),
        elapsed_ms: (!over).then(|| millis(elapsed)),
        say,
        steps,
        over,
        open: over && live && !removes,
        there: state.is_some(),
        error: operation.error.as_deref().map(sentence),
        next: operation.error.is_some().then(|| next(operation)),
    }
}

/// The steps so far, and the expected ones, so that the list keeps its height.
fn rows(operation: &Operation) -> Vec<StepRow> {
    let mut rows: Vec<_> = operation.steps.iter().map(row).collect();
    if !operation.state.is_over() {
        let done = |name: &&StepName| !operation.steps.iter().any(|s| s.name == **name);
        let expected = expected(operation.kind);
        // Expected steps before the current one were skipped and will not run.
        let at = operation.steps.last().and_then(|s| expected.iter().position(|e| *e == s.name));
        let rest = expected.iter().skip(at.map_or(0, |at| at + 1)).filter(done);
        rows.extend(rest.map(|name| StepRow {
            label: label(*name),
            tone: "todo",
            time: String::new(),
            elapsed_ms: None,
            detail: None,
            progress: None,
        }));
    }
    rows
}

const fn expected(kind: OperationKind) -> &'static [StepName] {
    match kind {
        OperationKind::Provision => &[
            StepName::Volume,
            StepName::Network,
            StepName::Secrets,
            StepName::Config,
            StepName::Container,
            StepName::Start,
            StepName::Boot,
            StepName::ApplyLimits,
            StepName::Live,
        ],
        OperationKind::Restart | OperationKind::SetSecrets => &[
            StepName::Stop,
            StepName::Container,
            StepName::Start,
            StepName::Boot,
            StepName::ApplyLimits,
            StepName::Live,
        ],
        OperationKind::Restore => &[
            StepName::Volume,
            StepName::Restore,
            StepName::Stop,
            StepName::Container,
            StepName::Start,
            StepName::Boot,
            StepName::ApplyLimits,
            StepName::Live,
        ],
        OperationKind::Drill => &[
            StepName::Volume,
            StepName::Restore,
            StepName::Databases,
            StepName::Boot,
            StepName::Cleanup,
        ],
        OperationKind::Deprovision | OperationKind::Backup => &[],
    }
}

fn row(step: &OperationStep) -> StepRow {
    let end = step.finished_at.unwrap_or_else(Timestamp::now);
    let time = end.since(step.started_at);
    let running = step.state == StepState::Running;
    StepRow {
        label: label(step.name),
        tone: match step.state {
            StepState::Running => "now",
            StepState::Done => "done",
            StepState::Failed => "failed",
        },
        time: labels::took(time),
        elapsed_ms: running.then(|| millis(time)),
        detail: step.detail.as_deref().map(sentence),
        progress: step.progress.filter(|_| running).map(|progress| StepProgressView {
            text: format!(
                "{}, {}",
                labels::counted(progress.files, "file"),
                labels::bytes(progress.bytes)
            ),
            percent: progress
                .total_bytes
                .filter(|total| *total > 0)
                .map(|total| (progress.bytes.saturating_mul(100) / total).min(100)),
        }),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The label of a step.
pub(crate) const fn label(step: StepName) -> &'static str {
    match step {
        StepName::Queue => "Waiting for a boot slot",
        StepName::Image => "Fetching OpenClaw",
        StepName::Volume => "Preparing storage",
        StepName::Network => "Creating network",
        StepName::Secrets => "Writing secrets",
        StepName::Config => "Writing the configuration",
        StepName::Container => "Creating container",
        StepName::Start => "Starting the container",
        StepName::Boot => "Starting OpenClaw",
        StepName::ApplyCpuLimit => "Applying the CPU limit",
        StepName::ApplyLimits => "Applying limits",
        StepName::Live => "Going live",
        StepName::Stop => "Stopping the old container",
        StepName::RemoveContainer => "Removing the container",
        StepName::RemoveNetwork => "Removing the network",
        StepName::RemoveSecrets => "Removing secrets",
        StepName::RemoveVolume => "Removing the data",
        StepName::RemoveOldVolume => "Removing old data",
        StepName::Repair => "Repairing state",
        StepName::Quiesce => "Quiescing",
        StepName::Freeze => "Pausing",
        StepName::Scan => "Reading data",
        StepName::Commit => "Saving changes",
        StepName::Upload => "Uploading",
        StepName::FinalBackup => "Taking a final backup",
        StepName::Forget => "Deleting expired backups",
        StepName::PurgeBackups => "Deleting all backups",
        StepName::Verify => "Verifying stored data",
        StepName::Restore => "Restoring data",
        StepName::Databases => "Checking the databases",
        StepName::Cleanup => "Cleaning up",
        StepName::Host => "Waiting for the host",
        StepName::Unfreeze => "Resuming",
        StepName::QuarantineConfig => "Keeping the unreadable configuration",
        StepName::Unknown => "Another step",
    }
}

fn next(operation: &Operation) -> &'static str {
    let copy = operation.source.as_ref().is_some_and(|source| *source != operation.instance);
    match operation.kind {
        OperationKind::Provision | OperationKind::Restart | OperationKind::SetSecrets => {
            "Retrying automatically. Its page shows the last log lines; a wrong key can be replaced there."
        }
        OperationKind::Restore if copy => {
            "The instance that was backed up was not changed. This one is new and had no data before: remove it if it does not start, or try another backup."
        }
        OperationKind::Restore => {
            "The data that it had before were not changed. Try another backup, or contact the operator of this platform."
        }
        OperationKind::Backup => "Retried tonight. Existing backups are not affected.",
        OperationKind::Drill => "The instance was not affected. Your administrator was notified.",
        OperationKind::Deprovision => "Contact your administrator.",
    }
}

#[cfg(test)]
mod tests {
    use startclaw_model::{InstanceId, Name};

    use super::*;

    fn operation(kind: OperationKind, steps: &[(StepName, StepState)]) -> Operation {
        let name = Name::parse("alice").unwrap();
        let mut operation = Operation::new(kind, InstanceId::new(), name, Actor::system());
        operation.state = OperationState::Running;
        operation.steps = steps
            .iter()
            .map(|(name, state)| OperationStep {
                name: *name,
                state: *state,
                started_at: Timestamp::now(),
                finished_at: None,
                detail: None,
                progress: None,
            })
            .collect();
        operation
    }

    #[test]
    fn a_copy_that_failed_is_not_told_to_have_had_data() {
        let mut restore = operation(OperationKind::Restore, &[]);
        restore.source = Some(restore.instance.clone());
        assert!(next(&restore).contains("data that it had before"));
        restore.source = Some(InstanceId::new());
        assert!(next(&restore).contains("had no data before"));
    }

    fn tones(operation: &Operation) -> Vec<(&'static str, &'static str)> {
        rows(operation).into_iter().map(|r| (r.label, r.tone)).collect()
    }

    #[test]
    fn what_is_still_to_come_is_in_the_list_and_the_list_keeps_its_height() {
        let begun = operation(OperationKind::Provision, &[(StepName::Volume, StepState::Running)]);
        assert_eq!(tones(&begun).len(), 9);
        let steps = [(StepName::Volume, StepState::Done), (StepName::Boot, StepState::Running)];
        let later = operation(OperationKind::Provision, &steps);
        let last: Vec<_> = tones(&later).into_iter().map(|(_, tone)| tone).collect();
        assert_eq!(last, ["done", "now", "todo", "todo"]);
    }

    #[test]
    fn the_end_offers_to_open_what_lives() {
        let mut done = operation(OperationKind::Provision, &[(StepName::Live, StepState::Done)]);
        done.state = OperationState::Succeeded;
        let seen = view(&done, Some(InstanceState::Live));
        assert!(seen.open && seen.there && seen.say == "alice is live");
        done.kind = OperationKind::Deprovision;
        assert!(!view(&done, None).open);
    }
}
