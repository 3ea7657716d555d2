//! `/reset`: sets a new password by a link.

use askama::Template;
use axum::{extract::Path, http::StatusCode, response::Response};
use serde::Deserialize;
use startclaw_accounts::{AccountError, LinkKind};
use startclaw_model::Secret;

use crate::{
    access::MaybeUser,
    answer::{Answer, page, page_with, signed_in},
    assets::Page as _,
    error::sentence,
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

pub(crate) async fn show(visitor: MaybeUser) -> Response {
    page(&asked(&visitor, false, Field::default(), None))
}

/// The response is the same for every address, and does not wait for the mail.
pub(crate) async fn ask(visitor: MaybeUser, Sent(sent): Sent<Address>) -> Answer {
    match visitor.request_password_link(&sent.email).await {
        Ok(()) => Ok(page(&asked(&visitor, true, Field::of(sent.email), None))),
        Err(AccountError::Invalid { message, .. }) => {
            let email = Field { value: sent.email, error: Some(sentence(&message)) };
            let form = asked(&visitor, false, email, None);
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &form))
        }
        Err(e @ AccountError::Slow { .. }) => {
            let notice = Some(Notice::bad(sentence(&e.to_string())));
            let form = asked(&visitor, false, Field::of(sent.email), notice);
            Ok(page_with(StatusCode::TOO_MANY_REQUESTS, &form))
        }
        Err(e) => Err(visitor.refuse(e)),
    }
}

pub(crate) async fn choose(visitor: MaybeUser, Path(token): Path<String>) -> Answer {
    visitor.check_link(&token, LinkKind::Password).await?;
    Ok(page(&chosen(&visitor, token, None)))
}

pub(crate) async fn set(
    visitor: MaybeUser,
    Path(token): Path<String>,
    Sent(sent): Sent<Password>,
) -> Answer {
    match visitor.set_password_by_link(&token, &sent.password).await {
        Ok(fresh) => Ok(signed_in(&fresh, "/instances")),
        Err(AccountError::Invalid { message, .. }) => {
            let form = chosen(&visitor, token, Some(sentence(&message)));
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &form))
        }
        Err(e) => Err(visitor.refuse(e)),
    }
}

fn asked(visitor: &MaybeUser, sent: bool, email: Field, notice: Option<Notice>) -> Ask {
    Ask { site: visitor.site(), here: "", notice, sent, form: ResetForm { email } }
}

fn chosen(visitor: &MaybeUser, token: String, error: Option<String>) -> Choose {
    let form = ResetSetForm { password: SecretField { error } };
    Choose { site: visitor.site(), here: "", notice: None, token, form }
}
