//! `GET`, `POST` and `DELETE /tokens`

use std::time::Duration;

use axum::{Json, http::StatusCode};
use startclaw_model::Scopes;

use crate::{
    caller::{Admin, Caller},
    extract::{Body, Nothing, Query},
    problem::Problem,
    wire::{CreateToken, FreshToken, SentSecret, TokenQuery, Tokens},
};

/// List tokens
///
/// Without their secret parts.
#[utoipa::path(
    get, path = "/tokens", tag = "tokens", operation_id = "tokens",
    responses((status = 200, description = "Oldest first.", body = Tokens)),
    security(("token" = ["admin"])),
)]
pub(crate) async fn list(
    caller: Caller<Admin>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Json<Tokens>, Problem> {
    let found = caller.engine().tokens().await?;
    Ok(Json(Tokens { tokens: found.into_iter().map(Into::into).collect() }))
}

/// Create a token for a program
///
/// Its value is in this response and nowhere else.
#[utoipa::path(
    post, path = "/tokens", tag = "tokens", operation_id = "createToken",
    request_body = CreateToken,
    responses((status = 201, description = "Shown this once.", body = FreshToken)),
    security(("token" = ["admin"])),
)]
pub(crate) async fn create(
    caller: Caller<Admin>,
    Body(body): Body<CreateToken>,
) -> Result<(StatusCode, Json<FreshToken>), Problem> {
    let scopes = Scopes::new(body.scopes, body.instance)
        .map_err(|e| Problem::field("scopes", e.to_string()))?;
    let life = match body.days {
        None => None,
        Some(days @ 1..=3650) => Some(Duration::from_secs(u64::from(days) * 24 * 3600)),
        Some(_) => return Err(Problem::field("days", "days must be between 1 and 3650")),
    };
    let fresh = caller.engine().create_token(caller.actor(), &body.label, scopes, life).await?;
    let token = FreshToken { value: SentSecret(fresh.value), token: fresh.stored.into() };
    Ok((StatusCode::CREATED, Json(token)))
}

/// Revoke a token
#[utoipa::path(
    delete, path = "/tokens", tag = "tokens", operation_id = "revokeToken",
    params(TokenQuery),
    responses((status = 204, description = "It is good for nothing any more.")),
    security(("token" = ["admin"])),
)]
pub(crate) async fn revoke(
    caller: Caller<Admin>,
    Query(query): Query<TokenQuery>,
) -> Result<StatusCode, Problem> {
    // An invalid id is not echoed in an error: it may be the token itself.
    if query.id.len() > 32 || !query.id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Problem::field("id", "give the token's id; GET /tokens lists them"));
    }
    caller.engine().revoke_token(caller.actor(), &query.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
