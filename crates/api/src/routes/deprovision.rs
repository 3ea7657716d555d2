//! `DELETE /deprovision`

use startclaw_model::Operation;

use super::{Accepted, accepted};
use crate::{
    caller::{Caller, Write},
    extract::{Key, KeyHeader, Query},
    problem::Problem,
    wire::DeprovisionQuery,
};

/// Remove an instance and its data
///
/// A final backup is taken first, unless `backup=false`; then container, volume, network and
/// secrets go. While backups are kept, `POST /restore` brings it back. With `purge=true` they go
/// too, and there is no way back. Asked again while it is in progress, it can still ask for less.
#[utoipa::path(
    delete, path = "/deprovision", tag = "instances", operation_id = "deprovision",
    params(DeprovisionQuery, KeyHeader),
    responses((status = 202, description = "It is under way.", body = Operation)),
    security(("token" = ["write"])),
)]
pub(crate) async fn deprovision(
    caller: Caller<Write>,
    key: Key,
    Query(query): Query<DeprovisionQuery>,
) -> Result<Accepted, Problem> {
    caller.require_access(&query.name)?;
    let promise = key.of("DELETE /deprovision", &query);
    let (actor, policy) = (caller.actor(), query.deletion_policy());
    Ok(accepted(caller.engine().deprovision(actor, &query.name, policy, promise).await?))
}
