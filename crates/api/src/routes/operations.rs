//! `GET /operations`, `GET /operations/{id}` and `GET /operations/{id}/events`

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    response::sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, StreamExt};
use startclaw_engine::Subject;
use startclaw_model::{Operation, OperationId};

use super::limit;
use crate::{
    caller::{Caller, Read},
    extract::{Nothing, OperationPath, Query},
    problem::Problem,
    stream::StreamPermit,
    wire::{OperationEvent, Operations, OperationsQuery},
};

/// Interval of keep-alives on an idle stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// List operations, newest first
#[utoipa::path(
    get, path = "/operations", tag = "operations", operation_id = "operations",
    params(OperationsQuery),
    responses((status = 200, description = "Newest first.", body = Operations)),
    security(("token" = ["read"])),
)]
pub(crate) async fn list(
    caller: Caller<Read>,
    Query(query): Query<OperationsQuery>,
) -> Result<Json<Operations>, Problem> {
    let limit = limit(query.limit)?;
    let name = caller.filter(query.name)?;
    let operations = match caller.own()? {
        Some(own) => caller.engine().own_operations(own, limit).await?,
        None => caller.engine().operations(name.as_ref(), limit).await?,
    };
    Ok(Json(Operations { operations }))
}

/// Get an operation
#[utoipa::path(
    get, path = "/operations/{id}", tag = "operations", operation_id = "operation",
    params(("id" = String, Path, description = "The operation's id.")),
    responses((status = 200, description = "As it is now.", body = Operation)),
    security(("token" = ["read"])),
)]
pub(crate) async fn one(
    caller: Caller<Read>,
    OperationPath(id): OperationPath,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Json<Operation>, Problem> {
    Ok(Json(visible(&caller, &id).await?))
}

/// Follow an operation
///
/// Server-sent events named `operation`, each with the whole operation as JSON: its current state
/// first, then one per change. The stream ends when the operation is finished, or when the daemon
/// stops: then reconnect. `Last-Event-ID` is not needed, because each event is complete.
#[utoipa::path(
    get, path = "/operations/{id}/events", tag = "operations", operation_id = "watchOperation",
    params(("id" = String, Path, description = "The operation's id.")),
    responses((status = 200, description = "A stream of events; its schema is that of one event.", body = OperationEvent, content_type = "text/event-stream")),
    security(("token" = ["read"])),
)]
pub(crate) async fn watch(
    caller: Caller<Read>,
    OperationPath(id): OperationPath,
    Query(Nothing {}): Query<Nothing>,
    permit: StreamPermit,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + Send + 'static>, Problem> {
    let operation = visible(&caller, &id).await?;
    let guard = caller.open_stream(Subject::operation(&operation)).await?;
    let changes = caller.engine().watch(&id).await?;
    let events = permit.carry(guard, changes).enumerate().map(|(n, operation)| {
        let event = Event::default().event("operation").id(n.to_string());
        // An operation consists of texts, numbers and lists, so serialization cannot fail.
        Ok(event.data(serde_json::to_string(&operation).unwrap_or_default()))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// The operation, if the caller has access to its instance.
async fn visible(caller: &Caller<Read>, id: &OperationId) -> Result<Operation, Problem> {
    Ok(match caller.own()? {
        Some(own) => caller.engine().own_operation(own, id).await?,
        None => caller.engine().operation(id).await?,
    })
}
