//! `GET /alerts`

use axum::Json;

use super::limit;
use crate::{
    caller::{Caller, Read},
    extract::Query,
    problem::Problem,
    wire::{Alerts, AlertsQuery},
};

/// List alerts, newest first
///
/// Those that are firing, and those that were resolved lately: instances that are failing, lost
/// data, backups that fail, a host or Docker that does not answer.
#[utoipa::path(
    get, path = "/alerts", tag = "machine", operation_id = "alerts",
    params(AlertsQuery),
    responses((status = 200, description = "Newest first.", body = Alerts)),
    security(("token" = ["read"])),
)]
pub(crate) async fn alerts(
    caller: Caller<Read>,
    Query(query): Query<AlertsQuery>,
) -> Result<Json<Alerts>, Problem> {
    caller.require_global()?;
    let found = caller.engine().recent_alerts(limit(query.limit)?).await?;
    Ok(Json(Alerts { alerts: found.into_iter().map(Into::into).collect() }))
}
