//! `GET`, `PUT` and `DELETE /secrets`

use axum::Json;
use startclaw_model::Operation;

use super::{Accepted, accepted};
use crate::{
    caller::{Caller, Read, Write},
    extract::{Body, Key, KeyHeader, Query},
    problem::Problem,
    wire::{NamedQuery, SecretQuery, Secrets, SetSecret},
};

/// List the secrets of an instance
///
/// Names and times only. A value cannot be read again.
#[utoipa::path(
    get, path = "/secrets", tag = "secrets", operation_id = "secrets",
    params(NamedQuery),
    responses((status = 200, description = "By name.", body = Secrets)),
    security(("token" = ["read"])),
)]
pub(crate) async fn list(
    caller: Caller<Read>,
    Query(query): Query<NamedQuery>,
) -> Result<Json<Secrets>, Problem> {
    let of = caller.require_access(&query.name)?;
    let found = caller.engine().secrets(of).await?;
    Ok(Json(Secrets { secrets: found.into_iter().map(Into::into).collect() }))
}

/// Set or replace a secret of an instance
///
/// The instance restarts with it.
#[utoipa::path(
    put, path = "/secrets", tag = "secrets", operation_id = "setSecret",
    params(KeyHeader),
    request_body = SetSecret,
    responses((status = 202, description = "It is under way.", body = Operation)),
    security(("token" = ["write"])),
)]
pub(crate) async fn set(
    caller: Caller<Write>,
    key: Key,
    Body(body): Body<SetSecret>,
) -> Result<Accepted, Problem> {
    let promise = key.of("PUT /secrets", &body);
    let SetSecret { name, secret, value } = body;
    let of = caller.require_access(&name)?;
    let engine = caller.engine();
    Ok(accepted(engine.set_secret(caller.actor(), of, secret, value.0, promise).await?))
}

/// Remove a secret of an instance
///
/// The instance restarts without it.
#[utoipa::path(
    delete, path = "/secrets", tag = "secrets", operation_id = "removeSecret",
    params(SecretQuery, KeyHeader),
    responses((status = 202, description = "It is under way.", body = Operation)),
    security(("token" = ["write"])),
)]
pub(crate) async fn remove(
    caller: Caller<Write>,
    key: Key,
    Query(query): Query<SecretQuery>,
) -> Result<Accepted, Problem> {
    let of = caller.require_access(&query.name)?;
    let promise = key.of("DELETE /secrets", &query);
    let engine = caller.engine();
    Ok(accepted(engine.remove_secret(caller.actor(), of, &query.secret, promise).await?))
}
