//! `/instances/NAME/restore/SNAPSHOT`: describes what a restore does, and requests it.

use askama::Template;
use axum::extract::{Path, State};
use startclaw_engine::RestoreRequest;
use startclaw_model::{Snapshot, SnapshotChoice};

use super::instance::{SnapshotRow, follow, snapshot_row};
use crate::{
    Portal,
    answer::{Answer, Rejection, page},
    assets::Page as _,
    auth::OwnedInstance,
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

pub(crate) async fn show(
    State(portal): State<Portal>,
    own: OwnedInstance,
    Path((_, id)): Path<(String, String)>,
) -> Answer {
    let snapshot = find(&own, &id).await?;
    Ok(page(&Restore {
        site: portal.site(Some(&own.user)),
        here: "instances",
        notice: None,
        name: own.name().to_string(),
        snapshot: snapshot_row(&snapshot),
        undo_for: labels::counted(portal.settings.backup.keep_replaced_hours.into(), "hour"),
    }))
}

pub(crate) async fn restore(own: OwnedInstance, Path((_, id)): Path<(String, String)>) -> Answer {
    let snapshot = find(&own, &id).await?;
    let request = RestoreRequest {
        name: own.name().clone(),
        instance: Some(own.instance.id.clone()),
        snapshot: SnapshotChoice::Id(snapshot.id.to_string()),
        as_name: None,
    };
    let asked = own.engine().restore(&own.user.actor(), request, None).await;
    follow(&own, asked)
}

async fn find(own: &OwnedInstance, id: &str) -> Result<Snapshot, Rejection> {
    let all = own.engine().backups(&own.instance).await.map_err(|e| own.refuse(e))?;
    let found = all.into_iter().find(|s| s.id.as_str() == id);
    found.ok_or_else(|| own.refuse(RejectionKind::Nothing))
}
