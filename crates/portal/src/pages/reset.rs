//! `/reset`: sets a new password by a link.

use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;
use startclaw_accounts::{AccountError, LinkKind};
use startclaw_model::Secret;

use crate::{
    Portal,
    answer::{Answer, page, page_with, signed_in},
    assets::Page as _,
    auth::MaybeUser,
    error::{RejectionKind, sentence},
    form::{Field, SecretField, Sent},
    frame::{Notice, Site},
};

#[derive(Template)]
#[template(path = "reset.html")]
struct Ask {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    sent: bool,
    form: ResetForm,
}

struct ResetForm {
    email: Field,
}

#[derive(Template)]
#[template(path = "reset_set.html")]
struct Choose {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    token: String,
    form: ResetSetForm,
}

struct ResetSetForm {
    password: SecretField,
}

#[derive(Deserialize)]
pub(crate) struct Address {
    email: String,
}

#[derive(Deserialize)]
pub(crate) struct Password {
    password: Secret,
}

pub(crate) async fn show(State(portal): State<Portal>) -> Response {
    page(&asked(&portal, false, Field::default(), None))
}

/// The response is the same for every address, and does not wait for the mail.
pub(crate) async fn ask(
    State(portal): State<Portal>,
    visitor: MaybeUser,
    Sent(sent): Sent<Address>,
) -> Answer {
    match visitor.accounts().ask_password_link(&sent.email, &visitor.origin).await {
        Ok(()) => Ok(page(&asked(&portal, true, Field::of(sent.email), None))),
        Err(AccountError::Invalid { message, .. }) => {
            let email = Field { value: sent.email, error: Some(sentence(&message)) };
            let form = asked(&portal, false, email, None);
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &form))
        }
        Err(e @ AccountError::Slow { .. }) => {
            let notice = Some(Notice::bad(sentence(&e.to_string())));
            let form = asked(&portal, false, Field::of(sent.email), notice);
            Ok(page_with(StatusCode::TOO_MANY_REQUESTS, &form))
        }
        Err(e) => Err(portal.refuse(e, visitor.user())),
    }
}

pub(crate) async fn choose(
    State(portal): State<Portal>,
    visitor: MaybeUser,
    Path(token): Path<String>,
) -> Answer {
    let good = visitor.accounts().is_good(&token, LinkKind::Password).await;
    if good.map_err(|e| portal.refuse(e, visitor.user()))? {
        Ok(page(&chosen(&portal, token, None)))
    } else {
        Err(portal.refuse(RejectionKind::DeadLink, visitor.user()))
    }
}

pub(crate) async fn set(
    State(portal): State<Portal>,
    visitor: MaybeUser,
    Path(token): Path<String>,
    Sent(sent): Sent<Password>,
) -> Answer {
    let accounts = visitor.accounts();
    match accounts.set_password_by_link(&token, &sent.password, &visitor.origin).await {
        Ok(fresh) => Ok(signed_in(&fresh, "/instances")),
        Err(AccountError::Invalid { message, .. }) => {
            let form = chosen(&portal, token, Some(sentence(&message)));
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &form))
        }
        Err(e) => Err(portal.refuse(e, visitor.user())),
    }
}

fn asked(portal: &Portal, sent: bool, email: Field, notice: Option<Notice>) -> Ask {
    Ask { site: portal.site(None), here: "", notice, sent, form: ResetForm { email } }
}

fn chosen(portal: &Portal, token: String, error: Option<String>) -> Choose {
    let form = ResetSetForm { password: SecretField { error } };
    Choose { site: portal.site(None), here: "", notice: None, token, form }
}
