//! `GET /ask?domain=…`: may Caddy get a certificate for this name? Answered from memory, so
//! that strangers who knock with made-up names cost next to nothing.

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

/// 200 for the domain, the API and each instance that is not being removed; 404 otherwise.
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
