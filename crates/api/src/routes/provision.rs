//! `POST /provision`

use startclaw_model::{Operation, Owner};

use super::{Accepted, accepted};
use crate::{
    caller::{Caller, Write},
    extract::{Body, Key, KeyHeader},
    problem::Problem,
    wire::Provision,
};

/// The owner of instances that are provisioned at the Unix socket without one.
const LOCAL_OWNER: &str = "admin";

/// Create and start an instance
///
/// Returns the operation at once; the instance is live when the operation has succeeded.
#[utoipa::path(
    post, path = "/provision", tag = "instances", operation_id = "provision",
    params(KeyHeader),
    request_body = Provision,
    responses((status = 202, description = "It is under way.", body = Operation,
        headers(("Location" = String, description = "Where the operation can be followed.")))),
    security(("token" = ["write"])),
)]
pub(crate) async fn provision(
    caller: Caller<Write>,
    key: Key,
    Body(body): Body<Provision>,
) -> Result<Accepted, Problem> {
    caller.require_global()?;
    let promise = key.of("POST /provision", &body);
    let owner = match &body.owner {
        Some(owner) => owner.clone(),
        None if caller.is_local() => {
            Owner::parse(LOCAL_OWNER).map_err(|e| Problem::internal(e.to_string()))?
        }
        None => return Err(Problem::field("owner", "the owner is required")),
    };
    let request = body.into_request(owner, caller.settings().limits);
    Ok(accepted(caller.engine().provision(caller.actor(), request, promise).await?))
}
