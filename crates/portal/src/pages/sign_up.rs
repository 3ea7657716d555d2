//! `/sign-up`, and `/invite/TOKEN`, the same form with an invitation.

use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;
use startclaw_accounts::{AccountError, SignUp};
use startclaw_model::Secret;

use crate::{
    Portal,
    answer::{Answer, go, page, page_with, signed_in},
    assets::Page as _,
    auth::MaybeUser,
    error::sentence,
    form::{Field, SecretField, Sent},
    frame::{Notice, Site},
};

#[derive(Template)]
#[template(path = "sign_up.html")]
struct SignUpPage {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    allowed: bool,
    by_mail: bool,
    sent: bool,
    form: SignUpForm,
}

#[derive(Default)]
struct SignUpForm {
    email: Field,
    password: SecretField,
    invite: Option<String>,
    invited: bool,
    email_fixed: bool,
}

#[derive(Deserialize)]
pub(crate) struct FormData {
    email: String,
    #[serde(default)]
    password: Option<Secret>,
    invite: Option<String>,
}

pub(crate) async fn show(State(portal): State<Portal>, visitor: MaybeUser) -> Response {
    if visitor.user().is_some() {
        return go("/instances");
    }
    let allowed = portal.accounts.settings().sign_up == SignUp::Open;
    page(&render_form(&portal, allowed, SignUpForm::default(), None))
}

pub(crate) async fn invited(
    State(portal): State<Portal>,
    visitor: MaybeUser,
    Path(token): Path<String>,
) -> Answer {
    if visitor.user().is_some() {
        return Ok(go("/instances"));
    }
    let found = visitor.accounts().invitation(&token).await;
    let found = found.map_err(|e| portal.refuse(e, None))?;
    let Some(invitation) = found else {
        return Ok(page(&render_form(&portal, false, SignUpForm::default(), None)));
    };
    let form = SignUpForm {
        invited: !startclaw_accounts::was_asked_for(&invitation),
        email_fixed: invitation.email.is_some(),
        email: Field::of(invitation.email.map(|e| e.to_string()).unwrap_or_default()),
        invite: Some(token),
        ..SignUpForm::default()
    };
    Ok(page(&render_form(&portal, true, form, None)))
}

pub(crate) async fn make(
    State(portal): State<Portal>,
    visitor: MaybeUser,
    Sent(sent): Sent<FormData>,
) -> Answer {
    let accounts = visitor.accounts();
    let invite = sent.invite.as_deref().filter(|token| !token.is_empty());
    let made = if invite.is_none() && accounts.signs_up_by_mail() {
        accounts.ask_sign_up_link(&sent.email, &visitor.origin).await.map(|()| None)
    } else {
        let password = sent.password.unwrap_or_else(|| Secret::new(""));
        accounts.sign_up(&sent.email, &password, invite, &visitor.origin).await.map(Some)
    };
    let why = match made {
        Ok(Some(fresh)) => return Ok(signed_in(&fresh, "/new")),
        Ok(None) => {
            // The same page for every address.
            let form = SignUpForm { email: Field::of(sent.email), ..SignUpForm::default() };
            return Ok(page(&SignUpPage { sent: true, ..render_form(&portal, true, form, None) }));
        }
        Err(why) => why,
    };
    let mut form = SignUpForm {
        email: Field::of(sent.email),
        invite: invite.map(str::to_owned),
        ..SignUpForm::default()
    };
    let (status, notice, allowed) = match &why {
        AccountError::Invalid { field: "password", message } => {
            form.password.error = Some(sentence(message));
            (StatusCode::UNPROCESSABLE_ENTITY, None, true)
        }
        AccountError::Invalid { message, .. } => {
            form.email.error = Some(sentence(message));
            (StatusCode::UNPROCESSABLE_ENTITY, None, true)
        }
        AccountError::Slow { .. } | AccountError::Busy => {
            (StatusCode::TOO_MANY_REQUESTS, Some(Notice::bad(sentence(&why.to_string()))), true)
        }
        AccountError::Closed | AccountError::DeadLink => (StatusCode::FORBIDDEN, None, false),
        _ => return Err(portal.refuse(why, None)),
    };
    Ok(page_with(status, &render_form(&portal, allowed, form, notice)))
}

fn render_form(
    portal: &Portal,
    allowed: bool,
    form: SignUpForm,
    notice: Option<Notice>,
) -> SignUpPage {
    let by_mail = form.invite.is_none() && portal.accounts.signs_up_by_mail();
    SignUpPage {
        site: portal.site(None),
        here: "sign-up",
        notice,
        allowed,
        by_mail,
        sent: false,
        form,
    }
}
