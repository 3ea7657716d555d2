//! Format of rejections: a page for browsers, a problem document (RFC 9457) for programs.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use startclaw_model::Name;

use crate::{decide::Rejection, pages::Message};

/// Seconds until the page of a starting instance reloads.
const SOON: u32 = 2;
/// Seconds until the page of a failing instance reloads.
const LATER: u32 = 15;

/// The label of a rejection, for metrics.
pub(crate) const fn label(refusal: &Rejection) -> &'static str {
    match refusal {
        Rejection::NoInstance => "no-instance",
        Rejection::Ambiguous => "ambiguous",
        Rejection::Hidden => "hidden",
        Rejection::SignIn => "sign-in",
        Rejection::CrossSite => "cross-site",
        Rejection::Starting => "starting",
        Rejection::Failing(_) => "failing",
        Rejection::Removing => "removing",
        Rejection::Busy => "busy",
        Rejection::Internal => "internal",
    }
}

/// The response to a rejected request. `name` is the instance that it was for.
pub(crate) fn refuse(refusal: &Rejection, name: Option<&Name>, page: bool) -> Response {
    let (status, message) = describe(refusal, name);
    answer(status, &message, page)
}

/// The response to a request that is not signed in to the instance `name`; links to the portal at
/// `site`, where its owner can open it.
pub(crate) fn sign_in(name: &Name, page: bool, site: &str) -> Response {
    let (status, message) = describe(&Rejection::SignIn, Some(name));
    let href = format!("{site}/instances/{name}");
    let link = Some((href, format!("Sign in, then open {name}")));
    answer(status, &Message { link, ..message }, page)
}

fn answer(status: StatusCode, message: &Message, page: bool) -> Response {
    let mut response = if page { message.with_status(status) } else { problem(status, message) };
    let headers = response.headers_mut();
    if let Some(seconds) = message.refresh {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("StartClaw-Link"));
    }
    response
}

fn problem(status: StatusCode, message: &Message) -> Response {
    let body = json!({
        "type": "about:blank",
        "title": message.title,
        "status": status.as_u16(),
        "detail": message.lines.join(" "),
    });
    let headers = [
        (header::CONTENT_TYPE, "application/problem+json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, body.to_string()).into_response()
}

fn describe(refusal: &Rejection, name: Option<&Name>) -> (StatusCode, Message) {
    let name = name.map_or("this instance", Name::as_str);
    match refusal {
        Rejection::NoInstance => (
            StatusCode::NOT_FOUND,
            Message::new("Instance not found", &["There is no instance at this address."]),
        ),
        Rejection::Ambiguous => (
            StatusCode::BAD_REQUEST,
            Message::new("Malformed address", &["Check the link that brought you here."]),
        ),
        Rejection::Hidden => {
            (StatusCode::NOT_FOUND, Message::new("Not found", &["There is nothing at this path."]))
        }
        Rejection::SignIn => (
            StatusCode::UNAUTHORIZED,
            Message {
                quoted: Some(format!("startclaw open {name}")),
                ..Message::new(
                    format!("Sign in to {name}"),
                    &[
                        "This device is not signed in. Open the instance from the portal, or ask your administrator for a sign-in link, created with:",
                    ],
                )
            },
        ),
        Rejection::CrossSite => (
            StatusCode::FORBIDDEN,
            Message::new(
                "Request blocked",
                &["The request came from another site. Open the instance in its own tab."],
            ),
        ),
        Rejection::Starting => (
            StatusCode::SERVICE_UNAVAILABLE,
            Message {
                refresh: Some(SOON),
                waiting: true,
                ..Message::new(format!("{name} is starting"), &["That takes a few seconds."])
            },
        ),
        Rejection::Failing(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Message {
                refresh: Some(LATER),
                quoted: reason.clone(),
                ..Message::new(
                    format!("{name} does not start"),
                    &[
                        "Retrying automatically. The administrator can see the reason with “startclaw status”.",
                    ],
                )
            },
        ),
        Rejection::Removing => (
            StatusCode::GONE,
            Message::new(
                format!("{name} is being removed"),
                &["It cannot be restored from this page."],
            ),
        ),
        Rejection::Busy => (
            StatusCode::SERVICE_UNAVAILABLE,
            Message {
                refresh: Some(SOON),
                ..Message::new(
                    "Too many sign-ins",
                    &["Open the link again in a moment. It is still valid."],
                )
            },
        ),
        Rejection::Internal => (
            StatusCode::SERVICE_UNAVAILABLE,
            Message {
                refresh: Some(SOON),
                ..Message::new("Service unavailable", &["Please try again in a moment."])
            },
        ),
    }
}
