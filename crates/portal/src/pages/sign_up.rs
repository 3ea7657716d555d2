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
    form: SignUpForm,
}

#[derive(Default)]
struct SignUpForm {
    email: Field,
    password: SecretField,
    invite: Option<String>,
    email_fixed: bool,
}

#[derive(Deserialize)]
pub(crate) struct FormData {
    email: String,
    password: Secret,
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
    let made = accounts.sign_up(&sent.email, &sent.password, invite, &visitor.origin).await;
    let why = match made {
        Ok(fresh) => return Ok(signed_in(&fresh, "/new")),
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
    SignUpPage { site: portal.site(None), here: "sign-up", notice, allowed, form }
}
