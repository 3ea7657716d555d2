//! `/account`: password, passkeys, devices.

use askama::Template;
use axum::{
    extract::{Path, Query},
    http::StatusCode,
};
use serde::Deserialize;
use startclaw_accounts::AccountError;
use startclaw_model::Secret;

use super::{Done, instances::meters};
use crate::{
    access::CurrentUser,
    answer::{Answer, Rejection, go, page, page_with},
    assets::Page as _,
    error::sentence,
    form::{SecretField, Sent},
    frame::{Meter, Notice, Site},
    labels,
};

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    email: String,
    confirmed: bool,
    form: PasswordForm,
    passkeys: Vec<PasskeyRow>,
    sessions: Vec<SessionRow>,
    others: bool,
    meters: Vec<Meter>,
}

#[derive(Default)]
struct PasswordForm {
    current: SecretField,
    password: SecretField,
}

struct PasskeyRow {
    id: String,
    name: String,
    added: String,
    used: String,
}

struct SessionRow {
    id: String,
    device: String,
    address: String,
    since: String,
    seen: String,
    this: bool,
}

#[derive(Deserialize)]
pub(crate) struct Change {
    current: Secret,
    password: Secret,
}

pub(crate) async fn show(user: CurrentUser, Query(done): Query<Done>) -> Answer {
    Ok(page(&whole(&user, PasswordForm::default(), done.notice()).await?))
}

pub(crate) async fn confirm(user: CurrentUser) -> Answer {
    user.resend_confirmation().await?;
    Ok(go("/account?done=sent"))
}

pub(crate) async fn password(user: CurrentUser, Sent(sent): Sent<Change>) -> Answer {
    let mut form = PasswordForm::default();
    match user.confirm_password(&sent.current).await {
        Ok(()) => {}
        Err(e @ (AccountError::Invalid { .. } | AccountError::Slow { .. })) => {
            form.current.error = Some(sentence(&e.to_string()));
        }
        Err(e) => return Err(user.refuse(e)),
    }
    if form.current.error.is_none() {
        match user.set_password(&sent.password).await {
            Ok(()) => return Ok(go("/account?done=password")),
            Err(AccountError::Invalid { message, .. }) => {
                form.password.error = Some(sentence(&message));
            }
            Err(e) => return Err(user.refuse(e)),
        }
    }
    let page = whole(&user, form, None).await?;
    Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &page))
}

pub(crate) async fn remove_passkey(user: CurrentUser, Path(id): Path<String>) -> Answer {
    user.remove_passkey(&id).await?;
    Ok(go("/account?done=passkey-removed"))
}

pub(crate) async fn end_session(user: CurrentUser, Path(id): Path<String>) -> Answer {
    user.end_session(&id).await?;
    Ok(go("/account?done=ended"))
}

pub(crate) async fn end_others(user: CurrentUser) -> Answer {
    user.end_other_sessions().await?;
    Ok(go("/account?done=ended"))
}

async fn whole(
    user: &CurrentUser,
    form: PasswordForm,
    notice: Option<Notice>,
) -> Result<AccountPage, Rejection> {
    let who = user.signed_in();
    let passkeys = user.passkeys().await?;
    let sessions = user.sessions().await?;
    let info = user.info().await?;
    let never = || "never".to_owned();
    Ok(AccountPage {
        site: user.site(),
        here: "account",
        notice,
        email: who.account.email.to_string(),
        confirmed: who.account.confirmed_at.is_some(),
        form,
        passkeys: passkeys
            .into_iter()
            .map(|key| PasskeyRow {
                name: key.label,
                added: labels::ago(key.created_at),
                used: key.used_at.map_or_else(never, labels::ago),
                id: key.id,
            })
            .collect(),
        others: sessions.len() > 1,
        sessions: sessions
            .into_iter()
            .map(|session| SessionRow {
                device: labels::device(&session.device),
                since: labels::ago(session.created_at),
                seen: labels::ago(session.seen_at),
                this: session.id == who.session.id,
                address: session.address,
                id: session.id,
            })
            .collect(),
        meters: meters(&info),
    })
}
