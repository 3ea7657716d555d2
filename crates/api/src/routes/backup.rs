//! `POST /backup` and `GET /backups`

use axum::Json;
use startclaw_model::Operation;

use super::{Accepted, accepted};
use crate::{
    caller::{Caller, Read, Write},
    extract::{Body, Query},
    problem::Problem,
    wire::{Backups, NameBody, NamedQuery},
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
