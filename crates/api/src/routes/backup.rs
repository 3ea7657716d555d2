//! `POST /backup`, `GET /backups` and `DELETE /backups`

use axum::Json;
use startclaw_model::Operation;

use super::{Accepted, accepted};
use crate::{
    caller::{Caller, Read, Write},
    extract::{Body, Query},
    problem::Problem,
    wire::{Backups, NameBody, NamedQuery, PurgedBackups},
};

/// Back up an instance now
///
/// The instance pauses for tenths of a second; connections stay open. A repeated request during a
/// backup returns the same operation.
#[utoipa::path(
    post, path = "/backup", tag = "backups", operation_id = "backup",
    request_body = NameBody,
    responses((status = 202, description = "It is under way.", body = Operation)),
    security(("token" = ["write"])),
)]
pub(crate) async fn backup(
    caller: Caller<Write>,
    Body(body): Body<NameBody>,
) -> Result<Accepted, Problem> {
    let of = caller.require_access(&body.name)?;
    Ok(accepted(caller.engine().backup(caller.actor(), of).await?))
}

/// List the backups of an instance
///
/// Including those of a deprovisioned instance, while its backups are kept.
#[utoipa::path(
    get, path = "/backups", tag = "backups", operation_id = "backups",
    params(NamedQuery),
    responses((status = 200, description = "The newest first.", body = Backups)),
    security(("token" = ["read"])),
)]
pub(crate) async fn list(
    caller: Caller<Read>,
    Query(query): Query<NamedQuery>,
) -> Result<Json<Backups>, Problem> {
    let of = caller.require_access(&query.name)?;
    let found = caller.engine().backups(of).await?;
    Ok(Json(Backups { backups: found.into_iter().map(Into::into).collect() }))
}

/// Delete the backups of a removed instance
///
/// Of all removed instances of this name, which cannot be undone. It waits some seconds for it; if
/// backups are still `pending` then, repeat the request, or leave it: it is retried daily. The
/// backups of an instance that is there are deleted with it: `DELETE /deprovision` with `purge`.
#[utoipa::path(
    delete, path = "/backups", tag = "backups", operation_id = "purgeBackups",
    params(NamedQuery),
    responses((status = 200, description = "What was deleted.", body = PurgedBackups)),
    security(("token" = ["write"])),
)]
pub(crate) async fn purge(
    caller: Caller<Write>,
    Query(query): Query<NamedQuery>,
) -> Result<Json<PurgedBackups>, Problem> {
    caller.require_access(&query.name)?;
    // A token for one instance ends with it, and others had the name before.
    caller.require_global()?;
    let engine = caller.engine();
    Ok(Json(engine.purge_backups_of_removed(caller.actor(), &query.name).await?.into()))
}
