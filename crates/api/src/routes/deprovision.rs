//! `DELETE /deprovision`

use startclaw_model::Operation;

use super::{Accepted, accepted};
use crate::{
    caller::{Caller, Write},
    extract::{Key, Query},
    problem::Problem,
    wire::NamedQuery,
};

/// Remove an instance and its data
///
/// Container, volume, network and secrets go. There is no way back.
#[utoipa::path(
    delete, path = "/deprovision", tag = "instances", operation_id = "deprovision",
    params(NamedQuery, ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key answers the same operation.")),
    responses((status = 202, description = "It is under way.", body = Operation)),
    security(("token" = ["write"])),
)]
pub(crate) async fn deprovision(
    caller: Caller<Write>,
    key: Key,
    Query(query): Query<NamedQuery>,
) -> Result<Accepted, Problem> {
    caller.see(&query.name)?;
    let promise = key.of("DELETE /deprovision", &query);
    Ok(accepted(caller.engine().deprovision(caller.actor(), &query.name, promise).await?))
}
