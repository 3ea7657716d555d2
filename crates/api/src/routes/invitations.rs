//! `GET`, `POST` and `DELETE /invitations`

use std::time::Duration;

use axum::{Json, http::StatusCode};

use crate::{
    caller::{Admin, Caller},
    extract::{Body, Nothing, Query},
    problem::Problem,
    wire::{AccountLink, InvitationQuery, Invitations, Invite},
};

/// Default lifetime of an invitation, in days.
const DAYS: u32 = 7;

/// List open invitations
///
/// Without their tokens.
#[utoipa::path(
    get, path = "/invitations", tag = "accounts", operation_id = "invitations",
    responses((status = 200, description = "Newest first.", body = Invitations)),
    security(("token" = ["admin"])),
)]
pub(crate) async fn list(
    caller: Caller<Admin>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Json<Invitations>, Problem> {
    let found = caller.accounts().invitations().await?;
    Ok(Json(Invitations { invitations: found.into_iter().map(Into::into).collect() }))
}

/// Invite a user
///
/// The link in the response creates one account.
#[utoipa::path(
    post, path = "/invitations", tag = "accounts", operation_id = "invite",
    request_body = Invite,
    responses((status = 201, description = "Shown this once.", body = AccountLink)),
    security(("token" = ["admin"])),
)]
pub(crate) async fn create(
    caller: Caller<Admin>,
    Body(body): Body<Invite>,
) -> Result<(StatusCode, Json<AccountLink>), Problem> {
    let days = match body.days.unwrap_or(DAYS) {
        days @ 1..=365 => Duration::from_secs(u64::from(days) * 24 * 3600),
        _ => return Err(Problem::field("days", "days must be between 1 and 365")),
    };
    let link = caller.accounts().invite(caller.actor(), body.email, days).await?;
    Ok((StatusCode::CREATED, Json(link.into())))
}

/// Revoke an invitation
#[utoipa::path(
    delete, path = "/invitations", tag = "accounts", operation_id = "revokeInvitation",
    params(InvitationQuery),
    responses((status = 204, description = "It is good for nothing any more.")),
    security(("token" = ["admin"])),
)]
pub(crate) async fn revoke(
    caller: Caller<Admin>,
    Query(query): Query<InvitationQuery>,
) -> Result<StatusCode, Problem> {
    // An invalid id is not echoed anywhere: it may be the link itself.
    if query.id.len() > 32 || !query.id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Problem::field("id", "give the invitation's id; GET /invitations lists them"));
    }
    caller.accounts().revoke_invitation(caller.actor(), &query.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
