//! `GET /logs`

use axum::{
    body::{Body, Bytes},
    http::header,
    response::IntoResponse,
};
use futures::StreamExt;
use startclaw_engine::{LogRequest, Subject};

use crate::{
    caller::{Caller, Read},
    extract::Query,
    problem::Problem,
    stream::StreamPermit,
    wire::LogsQuery,
};

/// Get an instance's log
///
/// Plain text, one line each. With `follow`, the response continues with new lines.
#[utoipa::path(
    get, path = "/logs", tag = "instances", operation_id = "logs",
    params(LogsQuery),
    responses((status = 200, description = "The lines, oldest first.", body = String, content_type = "text/plain")),
    security(("token" = ["read"])),
)]
pub(crate) async fn logs(
    caller: Caller<Read>,
    Query(query): Query<LogsQuery>,
    permit: StreamPermit,
) -> Result<impl IntoResponse, Problem> {
    let of = caller.require_access(&query.name)?;
    let tail = match query.tail.unwrap_or(100) {
        n @ 0..=10_000 => n as usize,
        _ => return Err(Problem::field("tail", "tail must be between 0 and 10000")),
    };
    let instance = caller.engine().status(of).await?;
    let guard = caller.open_stream(Subject::Instance(instance.id.clone())).await?;
    let lines = caller.engine().logs(&instance, LogRequest { tail, follow: query.follow }).await?;
    let name = instance.name;
    let lines = permit.carry(guard, lines).map(move |line| match line {
        Ok(mut line) => {
            line.push('\n');
            Ok(Bytes::from(line))
        }
        Err(e) => {
            tracing::warn!(%name, error = %e, "a log stream was interrupted");
            // Aborting the stream is the only way left to signal that it is incomplete.
            Err(std::io::Error::other("the log stream was interrupted"))
        }
    });
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(lines)))
}
