//! The routes, one file each: authenticate the caller, call the engine, format the response.

pub(crate) mod accounts;
pub(crate) mod alerts;
pub(crate) mod backup;
pub(crate) mod deprovision;
pub(crate) mod doctor;
pub(crate) mod drill;
pub(crate) mod events;
pub(crate) mod healthz;
pub(crate) mod invitations;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod open;
pub(crate) mod operations;
pub(crate) mod provision;
pub(crate) mod restart;
pub(crate) mod restore;
pub(crate) mod secrets;
pub(crate) mod status;
pub(crate) mod telegram;
pub(crate) mod tokens;

use axum::{
    Json,
    http::{HeaderName, StatusCode, header},
};
use startclaw_model::Operation;

use crate::problem::Problem;

/// The response of a verb that takes time: the operation, and its address.
pub(crate) type Accepted = (StatusCode, [(HeaderName, String); 1], Json<Operation>);

pub(crate) fn accepted(operation: Operation) -> Accepted {
    let place = format!("/operations/{}", operation.id);
    (StatusCode::ACCEPTED, [(header::LOCATION, place)], Json(operation))
}

/// Checks the limit of a list.
pub(crate) fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    match asked.unwrap_or(50) {
        n @ 1..=1000 => Ok(n),
        _ => Err(Problem::field("limit", "limit must be between 1 and 1000")),
    }
}
