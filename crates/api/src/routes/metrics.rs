//! `GET /metrics`

use axum::{http::header, response::IntoResponse};

use crate::{
    caller::{Caller, Read},
    extract::{Nothing, Query},
    problem::{Kind, Problem},
};

/// Get metrics for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "machine", operation_id = "metrics",
    responses((status = 200, description = "Prometheus' text format.", body = String, content_type = "text/plain")),
    security(("token" = ["read"])),
)]
pub(crate) async fn metrics(
    caller: Caller<Read>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<impl IntoResponse, Problem> {
    caller.require_global()?;
    let handle = caller
        .settings()
        .metrics
        .as_ref()
        .ok_or_else(|| Problem::new(Kind::NotFound, "this daemon runs without metrics"))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handle.render()))
}
