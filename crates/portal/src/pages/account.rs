//! `/account`: password, passkeys, devices.

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::Deserialize;
use startclaw_accounts::AccountError;
use startclaw_model::Secret;

use super::{Done, instances::meters};
use crate::{
    Portal,
    answer::{Answer, Refused, go, page, page_with},
    assets::Page as _,
    error::sentence,
    form::{SecretField, Sent},
    frame::{Meter, Notice, Site},
    who::Person,
    words,
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

pub(crate) async fn show(
    State(portal): State<Portal>,
    person: Person,
    Query(done): Query<Done>,
) -> Answer {
    Ok(page(&whole(&portal, &person, PasswordForm::default(), done.notice()).await?))
}

pub(crate) async fn confirm(person: Person) -> Answer {
    let account = &person.signed_in().account;
    let sent = person.accounts().resend_confirmation(account, &person.origin).await;
    sent.map_err(|e| person.refuse(e))?;
    Ok(go("/account?done=sent"))
}

pub(crate) async fn password(
    State(portal): State<Portal>,
    person: Person,
    Sent(sent): Sent<Change>,
) -> Answer {
    let (accounts, who) = (person.accounts(), person.signed_in());
    let mut form = PasswordForm::default();
    match accounts.confirm_password(&who.account, &sent.current).await {
        Ok(()) => {}
        Err(e @ (AccountError::Invalid { .. } | AccountError::Slow { .. })) => {
            form.current.error = Some(sentence(&e.to_string()));
        }
        Err(e) => return Err(person.refuse(e)),
    }
    if form.current.error.is_none() {
        let hash = who.session.hash.as_str();
        match accounts.set_password(&who.account, &sent.password, Some(hash)).await {
            Ok(()) => return Ok(go("/account?done=password")),
            Err(AccountError::Invalid { message, .. }) => {
                form.password.error = Some(sentence(&message));
            }
            Err(e) => return Err(person.refuse(e)),
        }
    }
    let page = whole(&portal, &person, form, None).await?;
    Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &page))
}

pub(crate) async fn remove_passkey(person: Person, Path(id): Path<String>) -> Answer {
    let removed = person.accounts().remove_passkey(person.signed_in(), &id).await;
    removed.map_err(|e| person.refuse(e))?;
    Ok(go("/account?done=passkey-removed"))
}

pub(crate) async fn end_session(person: Person, Path(id): Path<String>) -> Answer {
    let ended = person.accounts().end_session(person.signed_in(), &id).await;
    ended.map_err(|e| person.refuse(e))?;
    Ok(go("/account?done=ended"))
}

pub(crate) async fn end_others(person: Person) -> Answer {
    let ended = person.accounts().end_other_sessions(person.signed_in()).await;
    ended.map_err(|e| person.refuse(e))?;
    Ok(go("/account?done=ended"))
}

async fn whole(
    portal: &Portal,
    person: &Person,
    form: PasswordForm,
    notice: Option<Notice>,
) -> Result<AccountPage, Refused> {
    let (accounts, who) = (person.accounts(), person.signed_in());
    let failed = |e| person.refuse(e);
    let passkeys = accounts.passkeys(&who.account.id).await.map_err(failed)?;
    let sessions = accounts.sessions(&who.account.id).await.map_err(failed)?;
    let info = accounts.info(who.account.clone()).await.map_err(failed)?;
    let never = || "never".to_owned();
    Ok(AccountPage {
        site: portal.site(Some(person)),
        here: "account",
        notice,
        email: who.account.email.to_string(),
        confirmed: who.account.confirmed_at.is_some(),
        form,
        passkeys: passkeys
            .into_iter()
            .map(|key| PasskeyRow {
                name: key.label,
                added: words::ago(key.created_at),
                used: key.used_at.map_or_else(never, words::ago),
                id: key.id,
            })
            .collect(),
        others: sessions.len() > 1,
        sessions: sessions
            .into_iter()
            .map(|session| SessionRow {
                device: words::device(&session.device),
                since: words::ago(session.created_at),
                seen: words::ago(session.seen_at),
                this: session.id == who.session.id,
                address: session.address,
                id: session.id,
            })
            .collect(),
        meters: meters(&info),
    })
}
