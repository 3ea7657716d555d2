//! `GET /status`

use axum::Json;
use startclaw_engine::EngineError;

use crate::{
    caller::{Caller, Read},
    extract::Query,
    problem::Problem,
    wire::{Instances, NameQuery},
};

/// Get the status of instances
///
/// All that the caller has access to, or the named one.
#[utoipa::path(
    get, path = "/status", tag = "instances", operation_id = "status",
    params(NameQuery),
    responses((status = 200, description = "By name.", body = Instances)),
    security(("token" = ["read"])),
)]
pub(crate) async fn status(
    caller: Caller<Read>,
    Query(query): Query<NameQuery>,
) -> Result<Json<Instances>, Problem> {
    let asked = query.name.is_some();
    let of = match &query.name {
        Some(name) => Some(caller.require_access(name)?),
        None => match caller.own() {
            Ok(own) => own,
            // The instance of the token is gone: an empty list, not an error.
            Err(_) => return Ok(Json(Instances { instances: Vec::new() })),
        },
    };
    let found = match of {
        None => caller.engine().status_all().await?,
        Some(of) => match caller.engine().status(of).await {
            Err(EngineError::NoInstance(_)) if !asked => Vec::new(),
            one => vec![one?],
        },
    };
    Ok(Json(Instances { instances: found.into_iter().map(Into::into).collect() }))
}
