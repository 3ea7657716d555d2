//! `POST /restart`

use startclaw_model::Operation;

use super::{Accepted, accepted};
use crate::{
    caller::{Caller, Write},
    extract::{Body, Key, KeyHeader},
    problem::Problem,
    wire::NameBody,
};

/// Recreate an instance's container
///
/// The data are kept. A failing instance is retried at once.
#[utoipa::path(
    post, path = "/restart", tag = "instances", operation_id = "restart",
    params(KeyHeader),
    request_body = NameBody,
    responses((status = 202, description = "It is under way.", body = Operation)),
    security(("token" = ["write"])),
)]
pub(crate) async fn restart(
    caller: Caller<Write>,
    key: Key,
    Body(body): Body<NameBody>,
) -> Result<Accepted, Problem> {
    let of = caller.require_access(&body.name)?;
    let promise = key.of("POST /restart", &body);
    Ok(accepted(caller.engine().restart(caller.actor(), of, promise).await?))
}
