//! `POST /drill`

use startclaw_model::Operation;

use super::{Accepted, accepted};
use crate::{
    caller::{Caller, Write},
    extract::Body,
    problem::Problem,
    wire::Drill,
};

/// Run a restore test
///
/// The newest backup of the instance, or of one that the daemon chooses, is restored to an isolated
/// volume, its databases are checked, and OpenClaw is booted on it without a network. The instance
/// itself is not affected. A repeated request during a test of the same instance returns the same
/// operation.
#[utoipa::path(
    post, path = "/drill", tag = "backups", operation_id = "drill",
    request_body = Drill,
    responses((status = 202, description = "It is under way.", body = Operation)),
    security(("token" = ["write"])),
)]
pub(crate) async fn drill(
    caller: Caller<Write>,
    Body(body): Body<Drill>,
) -> Result<Accepted, Problem> {
    let of = match &body.name {
        Some(name) => Some(caller.require_access(name)?),
        None => {
            caller.require_global()?;
            None
        }
    };
    Ok(accepted(caller.engine().drill(caller.actor(), of).await?))
}
