//! Passkeys, as JSON for the portal's script.

use axum::{
    Json,
    extract::{FromRequest, Query, Request},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use startclaw_accounts::{AccountError, Ceremony};
use webauthn_rs_proto::{PublicKeyCredential, RegisterPublicKeyCredential};

use super::sign_in::Next;
use crate::{
    Portal,
    access::{CurrentUser, MaybeUser},
    answer::with_session,
    cookie,
    error::sentence,
};

/// A JSON body.
pub(crate) struct Body<T>(T);

impl<T: DeserializeOwned> FromRequest<Portal> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, portal: &Portal) -> Result<Self, Response> {
        match Json::<T>::from_request(request, portal).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(_) => Err(problem(StatusCode::BAD_REQUEST, "Invalid request. Try again.")),
        }
    }
}

/// The name of a new passkey.
#[derive(Deserialize)]
pub(crate) struct Label {
    #[serde(default)]
    name: String,
}

/// The label is stored in the cookie, after the ceremony's id, until the passkey is registered.
fn began(ceremony: &Ceremony, label: &str) -> Response {
    let value = format!("{}.{}", ceremony.id, hex(label.trim()));
    let mut response = Json(&ceremony.options).into_response();
    if let Some(set) = cookie::set(cookie::CEREMONY, &value) {
        response.headers_mut().append(header::SET_COOKIE, set);
    }
    response
}

fn ceremony(headers: &HeaderMap) -> (String, String) {
    let value = cookie::read(headers, cookie::CEREMONY).unwrap_or_default();
    let (id, label) = value.split_once('.').unwrap_or((value, ""));
    (id.to_owned(), unhex(label))
}

fn hex(text: &str) -> String {
    text.bytes().take(120).map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> String {
    let pair = |i: usize| u8::from_str_radix(text.get(i..i + 2)?, 16).ok();
    let bytes: Vec<u8> = (0..text.len() / 2).map_while(|i| pair(2 * i)).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) async fn begin(user: CurrentUser, Body(label): Body<Label>) -> Response {
    match user.begin_passkey().await {
        Ok(ceremony) => began(&ceremony, &label.name),
        Err(e) => refused(&e),
    }
}

pub(crate) async fn finish(
    user: CurrentUser,
    headers: HeaderMap,
    Body(answer): Body<RegisterPublicKeyCredential>,
) -> Response {
    let (id, label) = ceremony(&headers);
    match user.finish_passkey(&id, &label, &answer).await {
        Ok(()) => (StatusCode::CREATED, Json(json!({}))).into_response(),
        Err(e) => refused(&e),
    }
}

pub(crate) async fn begin_sign_in(visitor: MaybeUser, Body(_): Body<Value>) -> Response {
    match visitor.begin_passkey_sign_in() {
        Ok(ceremony) => began(&ceremony, ""),
        Err(e) => refused(&e),
    }
}

pub(crate) async fn finish_sign_in(
    visitor: MaybeUser,
    headers: HeaderMap,
    Query(next): Query<Next>,
    Body(answer): Body<PublicKeyCredential>,
) -> Response {
    let (id, _) = ceremony(&headers);
    match visitor.passkey_sign_in(&id, &answer).await {
        Ok(fresh) => with_session(Json(json!({ "next": next.path() })).into_response(), &fresh),
        Err(e) => refused(&e),
    }
}

fn refused(e: &AccountError) -> Response {
    let status = match e {
        AccountError::Inside(inside) => {
            tracing::error!(error = ?inside, "cannot use a passkey");
            StatusCode::INTERNAL_SERVER_ERROR
        }
        AccountError::Busy => StatusCode::SERVICE_UNAVAILABLE,
        AccountError::Slow { .. } => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::FORBIDDEN,
    };
    problem(status, &sentence(&e.to_string()))
}

fn problem(status: StatusCode, title: &str) -> Response {
    let body = Json(json!({ "title": title, "status": status.as_u16() }));
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_comes_back_as_it_was() {
        for label in ["My phone", "Ключ", ""] {
            assert_eq!(unhex(&hex(label)), label);
        }
        assert_eq!(unhex("zz;\""), "");
    }
}
