//! `/sign-in` and `/sign-out`.

use askama::Template;
use axum::{
    extract::Query,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Deserialize;
use startclaw_accounts::AccountError;
use startclaw_model::Secret;

use crate::{
    access::{CurrentUser, MaybeUser},
    answer::{Answer, go, next_or_home, page, page_with, signed_in},
    assets::Page as _,
    cookie,
    error::sentence,
    form::{Field, SecretField, Sent},
    frame::{Notice, Site},
};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    site: Site,
    here: &'static str,
    notice: Option<Notice>,
    form: SignInForm,
}

struct SignInForm {
    email: Field,
    password: SecretField,
    next: String,
}

#[derive(Default, Deserialize)]
pub(crate) struct Next {
    #[serde(default)]
    next: String,
}

impl Next {
    /// The page to redirect to, if it is one of the portal.
    pub fn path(&self) -> String {
        next_or_home(&self.next)
    }
}

#[derive(Deserialize)]
pub(crate) struct FormData {
    email: String,
    password: Secret,
    #[serde(default)]
    next: String,
}

pub(crate) async fn show(visitor: MaybeUser, Query(next): Query<Next>) -> Response {
    if visitor.user().is_some() {
        return go(&next.path());
    }
    page(&render_form(&visitor, String::new(), next.next, None))
}

pub(crate) async fn sign_in(
    visitor: MaybeUser,
    headers: HeaderMap,
    Sent(form): Sent<FormData>,
) -> Answer {
    let device = cookie::read(&headers, cookie::DEVICE);
    match visitor.sign_in(&form.email, &form.password, device).await {
        Ok(fresh) => {
            // A new session replaces the old one, so that none is left behind.
            if let Some(old) = visitor.user() {
                old.sign_out().await?;
            }
            Ok(signed_in(&fresh, &next_or_home(&form.next)))
        }
        Err(e @ (AccountError::Refused | AccountError::Slow { .. } | AccountError::Suspended)) => {
            let status = match e {
                AccountError::Slow { .. } => StatusCode::TOO_MANY_REQUESTS,
                _ => StatusCode::UNAUTHORIZED,
            };
            let notice = Some(Notice::bad(sentence(&e.to_string())));
            Ok(page_with(status, &render_form(&visitor, form.email, form.next, notice)))
        }
        Err(e) => Err(visitor.refuse(e)),
    }
}

/// Ends the session and the instance sessions opened from it, and clears what the browser stored
/// for the portal.
pub(crate) async fn sign_out(user: CurrentUser) -> Answer {
    user.sign_out().await?;
    let mut response = go("/");
    let headers = response.headers_mut();
    if let Some(gone) = cookie::clear(cookie::SESSION) {
        headers.append(header::SET_COOKIE, gone);
    }
    headers.insert("clear-site-data", HeaderValue::from_static("\"cache\", \"storage\""));
    Ok(response)
}

fn render_form(visitor: &MaybeUser, email: String, next: String, notice: Option<Notice>) -> SignIn {
    SignIn {
        site: visitor.site(),
        here: "sign-in",
        notice,
        form: SignInForm { email: Field::of(email), password: SecretField::default(), next },
    }
}
