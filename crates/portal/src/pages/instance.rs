//! `/instances/NAME`: the state of an instance, and its actions.

use askama::Template;
use axum::{extract::Query, http::StatusCode, response::Response};
use serde::Deserialize;
use startclaw_backups::BackupSettings;
use startclaw_engine::{EngineError, InstanceStatus};
use startclaw_model::{InstanceState, Operation, Secret, SecretName, Snapshot, TimeZone};

use super::{Done, instances::host_of, operation};
use crate::{
    access::OwnedInstance,
    answer::{Answer, Rejection, go, page, page_with},
    assets::Page as _,
    chart,
    error::sentence,
    form::Sent,
    frame::{Chart, EventRow, Notice, Site},
    labels,
    pages::new::given,
};

/// Events shown.
const EVENTS: u32 = 12;

#[derive(Template)]
#[template(path = "instance.html")]
struct InstancePage {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    instance: InstanceView,
    state: StateView,
    charts: Vec<Chart>,
    events: Vec<EventRow>,
    secrets: Vec<SecretRow>,
    snapshots: Vec<SnapshotRow>,
    kept: String,
    undo: Option<Undo>,
}

struct InstanceView {
    name: String,
    host: String,
    address: String,
    version: String,
    provider: &'static str,
    has_provider: bool,
    telegram: &'static str,
    has_bot: bool,
    created: String,
    backup: String,
    verified: String,
    owner: Option<String>,
    removing: bool,
}

#[derive(Template)]
#[template(path = "part/state.html")]
struct StatePart {
    state: StateView,
}

struct StateView {
    tone: &'static str,
    text: &'static str,
    since: String,
    detail: Option<&'static str>,
    reason: Option<String>,
    next: Option<&'static str>,
    log: Vec<String>,
    operation: Option<OperationLink>,
    say: String,
}

struct OperationLink {
    id: String,
    text: &'static str,
}

#[derive(Template)]
#[template(path = "part/charts.html")]
struct ChartsPart {
    charts: Vec<Chart>,
}

struct SecretRow {
    name: String,
    label: String,
    since: Option<String>,
    error: Option<String>,
}

/// A backup, in the list or on the page that restores it.
pub(crate) struct SnapshotRow {
    pub id: String,
    pub time: String,
    pub datetime: String,
    pub age: String,
    pub size: String,
    pub files: String,
    pub place: &'static str,
    /// It cannot be restored.
    pub missing: bool,
}

struct Undo {
    text: String,
}

#[derive(Deserialize)]
pub(crate) struct NewSecret {
    secret: String,
    value: Option<Secret>,
}

pub(crate) async fn show(own: OwnedInstance, Query(done): Query<Done>) -> Answer {
    Ok(page(&whole(&own, done.notice(), None).await?))
}

/// Only the state; the page polls it every few seconds.
pub(crate) async fn state(own: OwnedInstance) -> Answer {
    let open = own.open_operation().await?;
    Ok(page(&StatePart { state: state_of(own.status(), open.as_ref()) }))
}

pub(crate) async fn charts(own: OwnedInstance) -> Response {
    page(&ChartsPart { charts: charts_of(&own) })
}

/// Opens the instance without another sign-in: redirects with a login token that ends with this
/// session.
pub(crate) async fn open(own: OwnedInstance) -> Answer {
    let token = own.create_login_token().await?;
    Ok(go(token.link.expose()))
}

pub(crate) async fn restart(own: OwnedInstance) -> Answer {
    follow(&own, own.restart().await)
}

pub(crate) async fn backup(own: OwnedInstance) -> Answer {
    follow(&own, own.back_up().await)
}

pub(crate) async fn undo(own: OwnedInstance) -> Answer {
    follow(&own, own.undo_restore().await)
}

/// Replaces a secret; its value is never shown.
pub(crate) async fn secrets(own: OwnedInstance, Sent(sent): Sent<NewSecret>) -> Answer {
    let mistake = match (SecretName::parse(&sent.secret), given(sent.value)) {
        (Err(e), _) => e.to_string(),
        (Ok(_), None) => "paste the new key".to_owned(),
        (Ok(name), Some(value)) => match own.set_secret(name, value).await {
            Err(EngineError::Invalid { message, .. }) => message,
            asked => return follow(&own, asked),
        },
    };
    let page = whole(&own, None, Some((sent.secret, sentence(&mistake)))).await?;
    Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &page))
}

/// Redirects to the page of the operation.
pub(crate) fn follow(own: &OwnedInstance, asked: Result<Operation, EngineError>) -> Answer {
    let operation = asked.map_err(|e| own.refuse(e))?;
    Ok(go(&format!("/operations/{}", operation.id)))
}

async fn whole(
    own: &OwnedInstance,
    notice: Option<Notice>,
    mistake: Option<(String, String)>,
) -> Result<InstancePage, Rejection> {
    let zone = &own.settings().backup.time_zone;
    let events = own.events(EVENTS).await?;
    let snapshots = own.backups().await?;
    let open = own.open_operation().await?;
    Ok(InstancePage {
        site: own.site(),
        here: "instances",
        notice,
        instance: facts(own),
        state: state_of(own.status(), open.as_ref()),
        charts: charts_of(own),
        events: events.iter().map(|e| labels::event(e, false)).collect(),
        secrets: secret_rows(own, mistake).await?,
        snapshots: snapshots.iter().map(|s| snapshot_row(s, zone)).collect(),
        kept: kept(&own.settings().backup),
        undo: own.status().undo_until.map(|until| Undo {
            text: format!(
                "A backup was restored. You can undo this until {}.",
                labels::moment(until, zone)
            ),
        }),
    })
}

fn facts(own: &OwnedInstance) -> InstanceView {
    let instance = own.status();
    let theirs = instance.account.as_ref() == Some(&own.user().account().id);
    InstanceView {
        name: instance.name.to_string(),
        host: host_of(&instance.url),
        address: instance.url.clone(),
        version: instance.profile.version.clone(),
        provider: match &instance.profile.provider {
            Some(provider) => provider.kind.title(),
            None => "set up in its Control UI",
        },
        has_provider: instance.profile.provider.is_some(),
        telegram: if instance.profile.telegram { "token stored" } else { "not connected" },
        has_bot: instance.profile.telegram,
        created: labels::day(instance.created_at, &own.settings().backup.time_zone),
        backup: labels::last_backup(instance),
        verified: labels::verified_backup(instance),
        owner: (!theirs).then(|| instance.owner.to_string()),
        removing: instance.state == InstanceState::Removing,
    }
}

fn state_of(instance: &InstanceStatus, open: Option<&Operation>) -> StateView {
    let (tone, text) = labels::state(instance.state);
    let failing = instance.state == InstanceState::Failing;
    let name = &instance.name;
    StateView {
        tone,
        text,
        since: labels::lasting(instance.since),
        detail: match instance.state {
            InstanceState::Starting => Some("A boot takes about ten seconds."),
            InstanceState::Unknown => Some("The platform has just started and is checking all instances."),
            _ => None,
        },
        reason: instance.reason.as_deref().map(sentence),
        next: failing.then_some(
            "Retrying automatically. If a key is wrong, replace it below; if a setting is wrong, restore a backup.",
        ),
        log: if failing { instance.last_log.clone() } else { Vec::new() },
        operation: open.map(|operation| OperationLink {
            id: operation.id.to_string(),
            text: match operation.kind {
                startclaw_model::OperationKind::Provision => "Creating",
                startclaw_model::OperationKind::Restart => "Restart in progress",
                startclaw_model::OperationKind::SetSecrets => "Updating keys",
                startclaw_model::OperationKind::Deprovision => "Removal in progress",
                startclaw_model::OperationKind::Backup => "Backup in progress",
                startclaw_model::OperationKind::Restore => "Restore in progress",
                startclaw_model::OperationKind::Drill => "Restore test in progress",
            },
        }),
        say: match instance.state {
            InstanceState::Live => format!("{name} is live"),
            InstanceState::Failing => format!("{name} does not start"),
            InstanceState::Removing => format!("{name} is being removed"),
            InstanceState::Starting | InstanceState::Unknown => format!("{name} is starting"),
        },
    }
}

fn charts_of(own: &OwnedInstance) -> Vec<Chart> {
    let limits = own.status().limits();
    let memory = u32::try_from(limits.memory_hard_mib).ok();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "256 CPUs at most")]
    let cpu = (limits.cpus * 1000.0) as u32;
    chart::memory_and_cpu(&own.usage(), memory, Some(cpu))
}

async fn secret_rows(
    own: &OwnedInstance,
    mistake: Option<(String, String)>,
) -> Result<Vec<SecretRow>, Rejection> {
    let there = own.secrets().await?;
    let made_by_us = SecretName::telegram_webhook_secret();
    let mut names: Vec<SecretName> = Vec::new();
    if own.status().profile.provider.is_some() {
        names.push(SecretName::model_api_key());
    }
    names.push(SecretName::telegram_bot_token());
    let more = there.iter().map(|s| s.name.clone()).filter(|n| *n != made_by_us);
    let more: Vec<_> = more.filter(|n| !names.contains(n)).collect();
    names.extend(more);
    let row = |name: SecretName| {
        let set = there.iter().find(|s| s.name == name);
        let error = mistake.as_ref().filter(|(which, _)| which == name.as_str());
        SecretRow {
            label: if name == SecretName::model_api_key() {
                "API key of the model provider".to_owned()
            } else if name == SecretName::telegram_bot_token() {
                "Telegram bot token".to_owned()
            } else {
                name.to_string()
            },
            name: name.to_string(),
            since: set.map(|s| labels::ago(s.updated_at)),
            error: error.map(|(_, text)| text.clone()),
        }
    };
    Ok(names.into_iter().map(row).collect())
}

pub(crate) fn snapshot_row(snapshot: &Snapshot, zone: &TimeZone) -> SnapshotRow {
    SnapshotRow {
        id: snapshot.id.to_string(),
        time: labels::moment(snapshot.taken_at, zone),
        datetime: snapshot.taken_at.to_string(),
        age: labels::ago(snapshot.taken_at),
        size: labels::bytes(snapshot.bytes),
        files: labels::thousands(snapshot.files),
        place: match (snapshot.local, snapshot.remote) {
            (true, true) => "on this server and in the bucket",
            (false, true) => "in backup storage",
            (true, false) => "on this server",
            (false, false) => "missing",
        },
        missing: snapshot.is_missing(),
    }
}

fn kept(backup: &BackupSettings) -> String {
    if !backup.nightly {
        return "Nightly backups are off; only manual backups are taken.".to_owned();
    }
    let BackupSettings { at, time_zone, keep_days, .. } = backup;
    format!("Every night at {at} {time_zone}, kept for {keep_days} days.")
}

/// The label of the current step of an operation, for the admin's lists.
pub(crate) fn step_label(operation: &Operation) -> String {
    operation
        .steps
        .last()
        .map_or_else(|| "queued".to_owned(), |step| operation::label(step.name).to_owned())
}
