//! The shape of an answer: a page for people, a problem document (RFC 9457) for programs.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use startclaw_model::Name;

use crate::{decide::Refusal, pages::Message};

/// Seconds until a starting instance is looked at again.
const SOON: u32 = 2;
/// Seconds until a failing instance is looked at again.
const LATER: u32 = 15;

/// The word for a refusal, for metrics.
pub(crate) const fn label(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoInstance => "no-instance",
        Refusal::Ambiguous => "ambiguous",
        Refusal::Hidden => "hidden",
        Refusal::SignIn => "sign-in",
        Refusal::CrossSite => "cross-site",
        Refusal::Starting => "starting",
        Refusal::Failing(_) => "failing",
        Refusal::Removing => "removing",
        Refusal::Busy => "busy",
        Refusal::Trouble => "trouble",
    }
}

/// The answer to a request that goes no further. `name` is the instance it was for.
pub(crate) fn refuse(refusal: &Refusal, name: Option<&Name>, page: bool) -> Response {
    let (status, message) = describe(refusal, name);
    answer(status, &message, page)
}

/// The answer to whoever is not signed in to the instance `name`: the pages at `site` let its owner in.
pub(crate) fn sign_in(name: &Name, page: bool, site: &str) -> Response {
    let (status, message) = describe(&Refusal::SignIn, Some(name));
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

/// A problem document.
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

fn describe(refusal: &Refusal, name: Option<&Name>) -> (StatusCode, Message) {
    let name = name.map_or("this instance", Name::as_str);
    match refusal {
        Refusal::NoInstance => (
            StatusCode::NOT_FOUND,
            Message::new("Nothing lives here", &["There is no instance at this address."]),
        ),
        Refusal::Ambiguous => (
            StatusCode::BAD_REQUEST,
            Message::new("This address is malformed", &["Check the link that brought you here."]),
        ),
        Refusal::Hidden => {
            (StatusCode::NOT_FOUND, Message::new("Not found", &["There is nothing at this path."]))
        }
        Refusal::SignIn => (
            StatusCode::UNAUTHORIZED,
            Message {
                quoted: Some(format!("startclaw open {name}")),
                ..Message::new(
                    format!("Sign in to {name}"),
                    &[
                        "This device is not signed in. With an account here you open it from your own pages; else you get in with a sign-in link, which whoever runs this platform makes with:",
                    ],
                )
            },
        ),
        Refusal::CrossSite => (
            StatusCode::FORBIDDEN,
            Message::new(
                "Not from here",
                &["Another site's page sent this request. Open the instance in a tab of its own."],
            ),
        ),
        Refusal::Starting => (
            StatusCode::SERVICE_UNAVAILABLE,
            Message {
                refresh: Some(SOON),
                waiting: true,
                ..Message::new(format!("{name} is starting"), &["That takes a few seconds."])
            },
        ),
        Refusal::Failing(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Message {
                refresh: Some(LATER),
                quoted: reason.clone(),
                ..Message::new(
                    format!("{name} does not start"),
                    &[
                        "Something is wrong with it. It is tried again by itself; whoever runs this platform sees why with “startclaw status”.",
                    ],
                )
            },
        ),
        Refusal::Removing => (
            StatusCode::GONE,
            Message::new(format!("{name} is being removed"), &["It does not come back."]),
        ),
        Refusal::Busy => (
            StatusCode::SERVICE_UNAVAILABLE,
            Message {
                refresh: Some(SOON),
                ..Message::new(
                    "Too many sign in at this moment",
                    &["Please open the link again in a moment. It was not used up."],
                )
            },
        ),
        Refusal::Trouble => (
            StatusCode::SERVICE_UNAVAILABLE,
            Message {
                refresh: Some(SOON),
                ..Message::new(
                    "Something of ours does not work",
                    &["Please try again in a moment."],
                )
            },
        ),
    }
}
