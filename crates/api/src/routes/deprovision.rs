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
/// secrets are removed. While backups are kept, `POST /restore` restores it. With `purge=true` the
/// backups are deleted too, which cannot be undone. A repeated request while it is in progress can
/// still reduce what is kept.
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
    let of = caller.require_access(&query.name)?;
    let promise = key.of("DELETE /deprovision", &query);
    let (actor, policy) = (caller.actor(), query.deletion_policy());
    Ok(accepted(caller.engine().deprovision(actor, of, policy, promise).await?))
}
