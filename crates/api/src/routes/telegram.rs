//! `GET /telegram`, `POST /telegram/approve`, `POST /telegram/close`

use axum::Json;

use crate::{
    caller::{Caller, Read, Write},
    extract::{Body, Query},
    problem::Problem,
    wire::{ApproveTelegram, NameBody, NamedQuery, Telegram},
};

/// Show an instance's Telegram bot: connection, access and requests
///
/// Queried from the instance itself: whether its bot is connected, who can command the agent, and
/// who requests access.
#[utoipa::path(
    get, path = "/telegram", tag = "instances", operation_id = "telegram",
    params(NamedQuery),
    responses((status = 200, description = "As the instance says.", body = Telegram)),
    security(("token" = ["read"])),
)]
pub(crate) async fn show(
    caller: Caller<Read>,
    Query(query): Query<NamedQuery>,
) -> Result<Json<Telegram>, Problem> {
    let of = caller.require_access(&query.name)?;
    Ok(Json(caller.engine().telegram(of).await?.into()))
}

/// Approve a Telegram user
///
/// The user can command the agent from then on, without a restart.
#[utoipa::path(
    post, path = "/telegram/approve", tag = "instances", operation_id = "approveTelegram",
    request_body = ApproveTelegram,
    responses((status = 200, description = "As it is now.", body = Telegram)),
    security(("token" = ["write"])),
)]
pub(crate) async fn approve(
    caller: Caller<Write>,
    Body(body): Body<ApproveTelegram>,
) -> Result<Json<Telegram>, Problem> {
    let of = caller.require_access(&body.name)?;
    caller.engine().approve_telegram(caller.actor(), of, body.user).await?;
    Ok(Json(caller.engine().telegram(of).await?.into()))
}

/// Close a bot that is open to every Telegram user
///
/// Users that its configuration lists keep access; others wait for approval.
#[utoipa::path(
    post, path = "/telegram/close", tag = "instances", operation_id = "closeTelegram",
    request_body = NameBody,
    responses((status = 200, description = "As it is now.", body = Telegram)),
    security(("token" = ["write"])),
)]
pub(crate) async fn close(
    caller: Caller<Write>,
    Body(body): Body<NameBody>,
) -> Result<Json<Telegram>, Problem> {
    let of = caller.require_access(&body.name)?;
    caller.engine().close_telegram(caller.actor(), of).await?;
    Ok(Json(caller.engine().telegram(of).await?.into()))
}
