//! `/sign-up`, and `/invite/TOKEN`, the same form with an invitation.

use askama::Template;
use axum::{extract::Path, http::StatusCode, response::Response};
use serde::Deserialize;
use startclaw_accounts::{AccountError, SignUp};
use startclaw_model::Secret;

use crate::{
    access::MaybeUser,
    answer::{Answer, go, page, page_with, signed_in},
    assets::Page as _,
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

pub(crate) async fn show(visitor: MaybeUser) -> Response {
    if visitor.user().is_some() {
        return go("/instances");
    }
    let allowed = visitor.portal().sign_up() == SignUp::Open;
    page(&render_form(&visitor, allowed, SignUpForm::default(), None))
}

pub(crate) async fn invited(visitor: MaybeUser, Path(token): Path<String>) -> Answer {
    if visitor.user().is_some() {
        return Ok(go("/instances"));
    }
    let Some(invitation) = visitor.invitation(&token).await? else {
        return Ok(page(&render_form(&visitor, false, SignUpForm::default(), None)));
    };
    let form = SignUpForm {
        invited: !startclaw_accounts::was_asked_for(&invitation),
        email_fixed: invitation.email.is_some(),
        email: Field::of(invitation.email.map(|e| e.to_string()).unwrap_or_default()),
        invite: Some(token),
        ..SignUpForm::default()
    };
    Ok(page(&render_form(&visitor, true, form, None)))
}

pub(crate) async fn make(visitor: MaybeUser, Sent(sent): Sent<FormData>) -> Answer {
    let invite = sent.invite.as_deref().filter(|token| !token.is_empty());
    let made = if invite.is_none() && visitor.portal().signs_up_by_mail() {
        visitor.request_sign_up_link(&sent.email).await.map(|()| None)
    } else {
        let password = sent.password.unwrap_or_else(|| Secret::new(""));
        visitor.sign_up(&sent.email, &password, invite).await.map(Some)
    };
    let why = match made {
        Ok(Some(fresh)) => return Ok(signed_in(&fresh, "/new")),
        Ok(None) => {
            // The same page for every address.
            let form = SignUpForm { email: Field::of(sent.email), ..SignUpForm::default() };
            return Ok(page(&SignUpPage { sent: true, ..render_form(&visitor, true, form, None) }));
        }
        Err(why) => why,
    };
    let invitation = match invite {
        Some(token) => visitor.invitation(token).await?,
        None => None,
    };
    let mut form = SignUpForm {
        email: Field::of(sent.email),
        invite: invite.map(str::to_owned),
        invited: invitation.as_ref().is_some_and(|i| !startclaw_accounts::was_asked_for(i)),
        email_fixed: invitation.is_some_and(|i| i.email.is_some()),
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
        _ => return Err(visitor.refuse(why)),
    };
    Ok(page_with(status, &render_form(&visitor, allowed, form, notice)))
}

fn render_form(
    visitor: &MaybeUser,
    allowed: bool,
    form: SignUpForm,
    notice: Option<Notice>,
) -> SignUpPage {
    let by_mail = form.invite.is_none() && visitor.portal().signs_up_by_mail();
    SignUpPage {
        site: visitor.site(),
        here: "sign-up",
        notice,
        allowed,
        by_mail,
        sent: false,
        form,
    }
}
