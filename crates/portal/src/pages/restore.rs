//! `/instances/NAME/restore/SNAPSHOT`: describes what a restore does, and requests it.

use askama::Template;
use axum::extract::Path;
use startclaw_model::Snapshot;

use super::instance::{SnapshotRow, follow, snapshot_row};
use crate::{
    access::OwnedInstance,
    answer::{Answer, Rejection, page},
    assets::Page as _,
    error::RejectionKind,
    frame::{Notice, Site},
    labels,
};

#[derive(Template)]
#[template(path = "restore.html")]
struct Restore {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    name: String,
    snapshot: SnapshotRow,
    undo_for: String,
}

pub(crate) async fn show(own: OwnedInstance, Path((_, id)): Path<(String, String)>) -> Answer {
    let snapshot = find(&own, &id).await?;
    Ok(page(&Restore {
        site: own.site(),
        here: "instances",
        notice: None,
        name: own.name().to_string(),
        snapshot: snapshot_row(&snapshot, &own.settings().backup.time_zone),
        undo_for: labels::counted(own.settings().backup.keep_replaced_hours.into(), "hour"),
    }))
}

pub(crate) async fn restore(own: OwnedInstance, Path((_, id)): Path<(String, String)>) -> Answer {
    let snapshot = find(&own, &id).await?;
    follow(&own, own.restore(&snapshot.id).await)
}

async fn find(own: &OwnedInstance, id: &str) -> Result<Snapshot, Rejection> {
    let found = own.backups().await?.into_iter().find(|s| s.id.as_str() == id && !s.is_missing());
    found.ok_or_else(|| own.refuse(RejectionKind::Nothing))
}
