//! `POST /restore`

use startclaw_engine::RestoreRequest;
use startclaw_model::{Operation, SnapshotChoice};

use super::{Accepted, accepted};
use crate::{
    caller::{Caller, Write},
    extract::{Body, Key, KeyHeader},
    problem::Problem,
    wire::Restore,
};

/// Restore a backup
///
/// It is restored into a new volume. The instance switches to it and stays if it starts there;
/// otherwise it switches back. The replaced data are kept for a day (`undo`). With `as`, the backup
/// is restored to a new instance. A deprovisioned instance is restored with its keys and secrets.
#[utoipa::path(
    post, path = "/restore", tag = "backups", operation_id = "restore",
    params(KeyHeader),
    request_body = Restore,
    responses((status = 202, description = "It is under way.", body = Operation)),
    security(("token" = ["write"])),
)]
pub(crate) async fn restore(
    caller: Caller<Write>,
    key: Key,
    Body(body): Body<Restore>,
) -> Result<Accepted, Problem> {
    let of = caller.require_access(&body.name)?;
    if body.as_name.is_some() {
        // This creates a new instance, which a token of one instance may not.
        caller.require_global()?;
    }
    let promise = key.of("POST /restore", &body);
    let engine = caller.engine();
    let Restore { name, snapshot, as_name, undo } = &body;
    let operation = match (snapshot, undo) {
        (None, true) if as_name.is_none() => {
            engine.undo_restore(caller.actor(), of, promise).await?
        }
        (_, true) => {
            return Err(Problem::field("undo", "undo cannot be combined with snapshot or as"));
        }
        (None, false) => {
            return Err(Problem::field("snapshot", "required: latest, a day, a time or an id"));
        }
        (Some(text), false) => {
            let snapshot = SnapshotChoice::parse(text, &caller.settings().time_zone)
                .map_err(|e| Problem::field("snapshot", e.to_string()))?;
            let request = RestoreRequest {
                name: name.clone(),
                instance: of.id.cloned(),
                snapshot,
                as_name: as_name.clone(),
            };
            engine.restore(caller.actor(), request, promise).await?
        }
    };
    Ok(accepted(operation))
}
