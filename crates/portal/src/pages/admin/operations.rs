//! `/admin/operations`: operations in progress, and failed ones.

use askama::Template;
use startclaw_model::{Operation, OperationState};

use super::alerts;
use crate::{
    access::{Admin, Names},
    answer::{Answer, page},
    assets::Page as _,
    error::sentence,
    frame::{Notice, Site},
    labels,
    pages::{instance::step_label, operation::title},
};

/// Operations considered, newest first.
const LOOKED_AT: u32 = 500;
/// Failed operations shown.
const FAILED: usize = 50;

#[derive(Template)]
#[template(path = "admin/operations.html")]
struct Operations {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    alert_count: u64,
    running: Vec<AdminOperation>,
    failed: Vec<AdminOperation>,
}

struct AdminOperation {
    id: String,
    kind: String,
    name: String,
    who: String,
    step: String,
    when: String,
    tone: &'static str,
}

pub(crate) async fn show(admin: Admin) -> Answer {
    let newest = admin.operations(LOOKED_AT).await?;
    let names = admin.names().await?;
    let (open, over): (Vec<_>, Vec<_>) = newest.iter().partition(|o| !o.state.is_over());
    let failed = over.into_iter().filter(|o| o.state == OperationState::Failed).take(FAILED);
    Ok(page(&Operations {
        site: admin.site(),
        here: "operations",
        notice: None,
        alert_count: alerts(&admin).await?,
        failed: failed.map(|o| row(o, &names)).collect(),
        running: open.into_iter().map(|o| row(o, &names)).collect(),
    }))
}

fn row(operation: &Operation, names: &Names) -> AdminOperation {
    let failed = operation.state == OperationState::Failed;
    AdminOperation {
        id: operation.id.to_string(),
        kind: title(operation),
        name: operation.name.to_string(),
        who: names.of(&operation.actor),
        step: match &operation.error {
            Some(why) => sentence(why),
            None => step_label(operation),
        },
        when: labels::ago(operation.finished_at.unwrap_or(operation.created_at)),
        tone: if failed { "bad" } else { "busy" },
    }
}
