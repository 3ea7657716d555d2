//! `POST /backup`, `GET /backups`, `DELETE /backups` and what is about all backups.

use axum::Json;
use startclaw_engine::RemovedOf;
use startclaw_model::Operation;

use super::{Accepted, accepted};
use crate::{
    caller::{Admin, Caller, Read, Write},
    extract::{Body, Query},
    problem::Problem,
    wire::{
        Backup, BackupDestination, Backups, NameBody, NamedQuery, PurgeQuery, PurgedBackups,
        RemovedInstances, RemovedQuery, RescannedBackups,
    },
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
    let found = caller.engine().backups_with_reasons(of).await?;
    let backups = found.into_iter().map(|(snapshot, why)| Backup::new(snapshot, why)).collect();
    let time_zone = caller.settings().time_zone.to_string();
    Ok(Json(Backups { backups, time_zone }))
}

/// Compare all repositories with the database
///
/// Backups that the database does not know are listed again, such as after the destination was
/// repaired by hand, and those that are missing are told. It is done nightly as well.
#[utoipa::path(
    post, path = "/backups/rescan", tag = "backups", operation_id = "rescanBackups",
    responses((status = 200, description = "What is known now.", body = RescannedBackups)),
    security(("token" = ["write"])),
)]
pub(crate) async fn rescan(caller: Caller<Write>) -> Result<Json<RescannedBackups>, Problem> {
    caller.require_global()?;
    let (known, missing) = caller.engine().rescan_backups().await?;
    Ok(Json(RescannedBackups { known, missing }))
}

/// Accept the destination in the settings
///
/// The daemon knows the destination that holds the backups by an identity that is stored there, and
/// refuses another one: a folder that is not mounted, a new bucket, a changed setting. This accepts
/// the present one. Backups that are only at the former destination are not listed any more.
#[utoipa::path(
    post, path = "/backups/destination", tag = "backups", operation_id = "acceptBackupDestination",
    responses((status = 200, description = "It is accepted.", body = BackupDestination)),
    security(("token" = ["admin"])),
)]
pub(crate) async fn accept_destination(
    caller: Caller<Admin>,
) -> Result<Json<BackupDestination>, Problem> {
    let destination = caller.engine().accept_backup_destination(caller.actor()).await?;
    Ok(Json(BackupDestination { destination }))
}

/// List removed instances that have backups
///
/// They can be restored; if `account` is set, those of this account, also of one that was deleted.
#[utoipa::path(
    get, path = "/backups/removed", tag = "backups", operation_id = "removedInstances",
    params(RemovedQuery),
    responses((status = 200, description = "By name.", body = RemovedInstances)),
    security(("token" = ["read"])),
)]
pub(crate) async fn removed(
    caller: Caller<Read>,
    Query(query): Query<RemovedQuery>,
) -> Result<Json<RemovedInstances>, Problem> {
    caller.require_global()?;
    let found = caller.engine().removed(query.account.as_ref()).await?;
    Ok(Json(RemovedInstances { instances: found.into_iter().map(Into::into).collect() }))
}

/// Delete the backups of removed instances of one name
///
/// This cannot be undone. It waits some seconds for it; if backups are still `pending` then, repeat
/// the request, or leave it: it is retried daily. The backups of an instance that is there are
/// deleted with it: `DELETE /deprovision` with `purge`.
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
    purge_removed(&caller, (&query.name).into()).await
}

/// Delete the backups of removed instances of one account
///
/// As by name. The account may be deleted; one without removed instances is not an error.
#[utoipa::path(
    delete, path = "/backups/removed", tag = "backups", operation_id = "purgeBackupsOfAccount",
    params(PurgeQuery),
    responses((status = 200, description = "What was deleted.", body = PurgedBackups)),
    security(("token" = ["write"])),
)]
pub(crate) async fn purge_of_account(
    caller: Caller<Write>,
    Query(query): Query<PurgeQuery>,
) -> Result<Json<PurgedBackups>, Problem> {
    purge_removed(&caller, (&query.account).into()).await
}

async fn purge_removed(
    caller: &Caller<Write>,
    of: RemovedOf,
) -> Result<Json<PurgedBackups>, Problem> {
    // A token for one instance ends with it, and others had the name before.
    caller.require_global()?;
    Ok(Json(caller.engine().purge_backups_of_removed(caller.actor(), of).await?.into()))
}
