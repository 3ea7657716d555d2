//! `GET /events`

use axum::Json;

use super::limit;
use crate::{
    caller::{Caller, Read},
    extract::Query,
    problem::Problem,
    wire::{Events, EventsQuery},
};

/// List events, newest first
///
/// The audit log: requests, failures, recoveries and sign-ins.
#[utoipa::path(
    get, path = "/events", tag = "operations", operation_id = "events",
    params(EventsQuery),
    responses((status = 200, description = "Newest first.", body = Events)),
    security(("token" = ["read"])),
)]
pub(crate) async fn events(
    caller: Caller<Read>,
    Query(query): Query<EventsQuery>,
) -> Result<Json<Events>, Problem> {
    let limit = limit(query.limit)?;
    let name = caller.filter(query.name)?;
    let events = match caller.own()? {
        Some(own) => caller.engine().own_events(own, limit).await?,
        None => caller.engine().events(name.as_ref(), limit).await?,
    };
    Ok(Json(Events { events }))
}
