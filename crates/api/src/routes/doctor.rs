//! `GET /doctor`

use axum::Json;

use crate::{
    caller::{Caller, Read},
    extract::{Nothing, Query},
    problem::Problem,
    wire::Findings,
};

/// Check the machine
///
/// Docker, the firewall, the image, disk, memory, ports, Caddy, the clock: how each is, and
/// how to mend it.
#[utoipa::path(
    get, path = "/doctor", tag = "machine", operation_id = "doctor",
    responses((status = 200, description = "One finding for each check.", body = Findings)),
    security(("token" = ["read"])),
)]
pub(crate) async fn doctor(
    caller: Caller<Read>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Json<Findings>, Problem> {
    caller.everywhere()?;
    let mut findings = caller.engine().check().await;
    if let Some(checks) = &caller.settings().checks {
        findings.extend(checks().await);
    }
    Ok(Json(Findings { findings }))
}
