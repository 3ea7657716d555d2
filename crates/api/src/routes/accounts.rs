//! `GET`, `POST` and `DELETE /accounts`, and changes of an account

use axum::{Json, http::StatusCode};
use startclaw_model::Email;

use crate::{
    caller::{Admin, Caller},
    extract::{Body, Nothing, Query},
    problem::Problem,
    wire::{
        Account, AccountLink, Accounts, CreateAccount, EmailBody, EmailQuery, FreshAccount, Quota,
        SetAdmin, SetQuota, Transfer,
    },
};

/// List accounts
///
/// With the usage and the quota of each.
#[utoipa::path(
    get, path = "/accounts", tag = "accounts", operation_id = "accounts",
    responses((status = 200, description = "By address.", body = Accounts)),
    security(("token" = ["admin"])),
)]
pub(crate) async fn list(
    caller: Caller<Admin>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Json<Accounts>, Problem> {
    let found = caller.accounts().all().await?;
    Ok(Json(Accounts { accounts: found.into_iter().map(Into::into).collect() }))
}

/// Create an account
///
/// It has no password: hand over the link in the response, with which the owner sets one.
#[utoipa::path(
    post, path = "/accounts", tag = "accounts", operation_id = "createAccount",
    request_body = CreateAccount,
    responses((status = 201, description = "The link is shown this once.", body = FreshAccount)),
    security(("token" = ["admin"])),
)]
pub(crate) async fn create(
    caller: Caller<Admin>,
    Body(body): Body<CreateAccount>,
) -> Result<(StatusCode, Json<FreshAccount>), Problem> {
    let accounts = caller.accounts();
    let (account, link) = accounts.create(caller.actor(), body.email, body.admin).await?;
    let account = accounts.info(account).await?.into();
    Ok((StatusCode::CREATED, Json(FreshAccount { account, link: link.into() })))
}

/// Delete an account
///
/// Sign-in is blocked at once. Its instances are deprovisioned with a final backup each; when the
/// last one is gone, the account is deleted.
#[utoipa::path(
    delete, path = "/accounts", tag = "accounts", operation_id = "deleteAccount",
    params(EmailQuery),
    responses((status = 202, description = "It leaves.", body = Account)),
    security(("token" = ["admin"])),
)]
pub(crate) async fn remove(
    caller: Caller<Admin>,
    Query(query): Query<EmailQuery>,
) -> Result<(StatusCode, Json<Account>), Problem> {
    let accounts = caller.accounts();
    let account = accounts.find(&query.email).await?;
    // Read before the deletion: without instances the account is gone in a moment.
    let mut shown: Account = accounts.info(account.clone()).await?.into();
    accounts.delete(caller.actor(), account).await?;
    shown.state = startclaw_model::AccountState::PendingDeletion;
    Ok((StatusCode::ACCEPTED, Json(shown)))
}

/// Create a link to set a password
///
/// For a forgotten password. It works once, and revokes the previous link.
#[utoipa::path(
    post, path = "/accounts/link", tag = "accounts", operation_id = "accountLink",
    request_body = EmailBody,
    responses((status = 201, description = "Shown this once.", body = AccountLink)),
    security(("token" = ["admin"])),
)]
pub(crate) async fn link(
    caller: Caller<Admin>,
    Body(body): Body<EmailBody>,
) -> Result<(StatusCode, Json<AccountLink>), Problem> {
    let account = caller.accounts().find(&body.email).await?;
    let link = caller.accounts().password_link(caller.actor(), &account).await?;
    Ok((StatusCode::CREATED, Json(link.into())))
}

/// Suspend an account
///
/// Its sessions end at once, also those in instances. Its instances keep running.
#[utoipa::path(
    post, path = "/accounts/suspend", tag = "accounts", operation_id = "suspendAccount",
    request_body = EmailBody,
    responses((status = 200, description = "As it is now.", body = Account)),
    security(("token" = ["admin"])),
)]
pub(crate) async fn suspend(
    caller: Caller<Admin>,
    Body(body): Body<EmailBody>,
) -> Result<Json<Account>, Problem> {
    let account = caller.accounts().find(&body.email).await?;
    caller.accounts().suspend(caller.actor(), account, true).await?;
    shown(&caller, &body.email).await
}

/// Reactivate a suspended account
#[utoipa::path(
    post, path = "/accounts/resume", tag = "accounts", operation_id = "resumeAccount",
    request_body = EmailBody,
    responses((status = 200, description = "As it is now.", body = Account)),
    security(("token" = ["admin"])),
)]
pub(crate) async fn resume(
    caller: Caller<Admin>,
    Body(body): Body<EmailBody>,
) -> Result<Json<Account>, Problem> {
    let account = caller.accounts().find(&body.email).await?;
    caller.accounts().suspend(caller.actor(), account, false).await?;
    shown(&caller, &body.email).await
}

/// Grant or revoke admin rights
#[utoipa::path(
    post, path = "/accounts/admin", tag = "accounts", operation_id = "setAdmin",
    request_body = SetAdmin,
    responses((status = 200, description = "As it is now.", body = Account)),
    security(("token" = ["admin"])),
)]
pub(crate) async fn admin(
    caller: Caller<Admin>,
    Body(body): Body<SetAdmin>,
) -> Result<Json<Account>, Problem> {
    let account = caller.accounts().find(&body.email).await?;
    caller.accounts().set_admin(caller.actor(), account, body.admin).await?;
    shown(&caller, &body.email).await
}

/// Set the quota of an account
///
/// Existing instances stay, even above the quota.
#[utoipa::path(
    post, path = "/accounts/quota", tag = "accounts", operation_id = "setQuota",
    request_body = SetQuota,
    responses((status = 200, description = "As it is now.", body = Account)),
    security(("token" = ["admin"])),
)]
pub(crate) async fn quota(
    caller: Caller<Admin>,
    Body(body): Body<SetQuota>,
) -> Result<Json<Account>, Problem> {
    if let Some((field, maximum)) = body.quota.as_ref().and_then(Quota::too_large) {
        return Err(Problem::field(field, format!("must not exceed {maximum}")));
    }
    let account = caller.accounts().find(&body.email).await?;
    caller.accounts().set_quota(caller.actor(), account, body.quota.map(Into::into)).await?;
    shown(&caller, &body.email).await
}

/// Transfer an instance to an account
///
/// The new owner then sees it in the portal, and the previous one does not.
#[utoipa::path(
    post, path = "/accounts/transfer", tag = "accounts", operation_id = "transferInstance",
    request_body = Transfer,
    responses((status = 200, description = "The account as it is now.", body = Account)),
    security(("token" = ["admin"])),
)]
pub(crate) async fn transfer(
    caller: Caller<Admin>,
    Body(body): Body<Transfer>,
) -> Result<Json<Account>, Problem> {
    let account = caller.accounts().find(&body.email).await?;
    caller.accounts().transfer(caller.actor(), &body.name, &account).await?;
    shown(&caller, &body.email).await
}

async fn shown(caller: &Caller<Admin>, email: &Email) -> Result<Json<Account>, Problem> {
    let account = caller.accounts().find(email).await?;
    Ok(Json(caller.accounts().info(account).await?.into()))
}
