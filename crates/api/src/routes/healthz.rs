//! `GET /healthz`

use axum::{Json, extract::State, http::header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    problem::{Kind, Problem},
    shared::Shared,
};

/// The daemon is healthy.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Check the health of the daemon
///
/// Its database answers and its loops run. Needs no token, and returns nothing about instances.
#[utoipa::path(
    get, path = "/healthz", tag = "machine", operation_id = "healthz",
    responses((status = 200, description = "It is well.", body = Health)),
    security(()),
)]
pub(crate) async fn healthz(State(shared): State<Shared>) -> Result<Json<Health>, Problem> {
    shared.engine.ping().await.map_err(|e| {
        tracing::error!(error = %e, "the daemon is not well");
        Problem::new(Kind::Unavailable, "the daemon is not well; its log says why")
            .with(header::RETRY_AFTER, "5")
    })?;
    Ok(Json(Health { status: "ok" }))
}
