//! `GET /ask?domain=…`: whether Caddy may get a certificate for a name. Answered from memory, so
//! that requests for made-up names cost almost nothing.

use axum::{
    extract::{Query, State},
    http::StatusCode,
};
use serde::Deserialize;
use startclaw_model::InstanceState;

use crate::{router::Edge, site::Site};

#[derive(Debug, Deserialize)]
pub(crate) struct AskQuery {
    domain: String,
}

/// 200 for the domain, the API and every instance that is not being removed; else 404.
pub(crate) async fn ask(State(edge): State<Edge>, Query(asked): Query<AskQuery>) -> StatusCode {
    let known = match Site::of_name(&asked.domain, &edge.settings.domain) {
        Site::Front | Site::Api => true,
        Site::Instance(name) => edge
            .engine
            .route(name.as_str())
            .is_some_and(|route| route.state != InstanceState::Removing),
        Site::Foreign => false,
    };
    if known { StatusCode::OK } else { StatusCode::NOT_FOUND }
}
