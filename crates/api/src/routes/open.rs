//! `POST /open`

use axum::Json;

use crate::{
    caller::{Caller, Write},
    extract::Body,
    problem::Problem,
    wire::{NameBody, SentSecret, SignInLink},
};

/// Create a one-time sign-in link
///
/// The first to open it is signed in as the instance's owner, so hand it only to that person.
#[utoipa::path(
    post, path = "/open", tag = "instances", operation_id = "open",
    request_body = NameBody,
    responses((status = 201, description = "Shown this once.", body = SignInLink)),
    security(("token" = ["write"])),
)]
pub(crate) async fn open(
    caller: Caller<Write>,
    Body(body): Body<NameBody>,
) -> Result<(axum::http::StatusCode, Json<SignInLink>), Problem> {
    let of = caller.require_access(&body.name)?;
    let ticket = caller.engine().create_login_token(caller.actor(), of, None).await?;
    let link = SignInLink { url: SentSecret(ticket.link), expires_at: ticket.expires_at };
    Ok((axum::http::StatusCode::CREATED, Json(link)))
}
