//! `GET /doctor`

use axum::Json;

use crate::{
    caller::{Caller, Read},
    extract::{Nothing, Query},
    problem::Problem,
    wire::CheckList,
};

/// Diagnose the host
///
/// Docker, the firewall, the image, disk, memory, ports, Caddy, the clock: the status of each, and
/// how to fix it.
#[utoipa::path(
    get, path = "/doctor", tag = "machine", operation_id = "doctor",
    responses((status = 200, description = "One finding for each check.", body = CheckList)),
    security(("token" = ["read"])),
)]
pub(crate) async fn doctor(
    caller: Caller<Read>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Json<CheckList>, Problem> {
    caller.require_global()?;
    let mut findings = caller.engine().diagnose().await;
    if let Some(checks) = &caller.settings().checks {
        findings.extend(checks().await);
    }
    Ok(Json(CheckList { checks: findings }))
}
