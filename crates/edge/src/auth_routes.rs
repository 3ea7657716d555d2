//! `/.startclaw/…`: the way in and out of an instance, on its own host.
//!
//! The cookie can only be set by the instance's own host, so a person comes here with a
//! one-time login token. Looking at the link (GET) uses nothing up; pressing the button (POST)
//! does.

use std::time::Duration;

use axum::{
    extract::{Form, FromRequest as _, FromRequestParts, Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use startclaw_engine::Route;
use startclaw_model::{InstanceState, Name};

use crate::{
    authorize_request::Fetch,
    cookie,
    decide::Rejection,
    pages::{self, Message},
    reply,
    router::{Edge, host},
    site::Site,
};

/// How long the form may take to arrive. It is some hundred bytes, and Caddy sends it in one go.
const FORM_TIME: Duration = Duration::from_secs(5);

/// The instance whose host was asked for.
pub(crate) struct AuthRoute {
    name: Name,
    route: Route,
}

impl FromRequestParts<Edge> for AuthRoute {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Response> {
        let found = match Site::of_header(host(&parts.headers), &edge.settings.domain) {
            Site::Instance(name) => {
                edge.engine.route(name.as_str()).map(|route| Self { name, route })
            }
            _ => None,
        };
        match found {
            None => Err(reply::refuse(&Rejection::NoInstance, None, true)),
            Some(target) if target.route.state == InstanceState::Removing => {
                Err(reply::refuse(&Rejection::Removing, Some(&target.name), true))
            }
            Some(target) => Ok(target),
        }
    }
}

/// What a sign-in link or its form carries.
#[derive(Deserialize)]
pub(crate) struct SignInForm {
    #[serde(default)]
    ticket: String,
}

/// Shows what the link is for, and the button.
pub(crate) async fn sign_in_page(target: AuthRoute, Query(entry): Query<SignInForm>) -> Response {
    if cookie::is_token(&entry.ticket) {
        pages::sign_in(&target.name, &entry.ticket)
    } else {
        Message::new(
            "This sign-in link is incomplete",
            &["Copy the whole link, up to its last character, and open it again."],
        )
        .with_status(StatusCode::BAD_REQUEST)
    }
}

/// Takes the login token and opens a session. Strangers get here: nothing of the form is read
/// before its headers are right, and no more forms than a few at a time.
pub(crate) async fn sign_in(
    State(edge): State<Edge>,
    target: AuthRoute,
    request: Request,
) -> Response {
    let headers = request.headers().clone();
    if !from_own_page(&edge, &target.name, &headers) {
        return reply::refuse(&Rejection::CrossSite, Some(&target.name), true);
    }
    let Ok(_permit) = edge.entering.try_acquire() else {
        return reply::refuse(&Rejection::Busy, Some(&target.name), true);
    };
    let form =
        tokio::time::timeout(FORM_TIME, Form::<SignInForm>::from_request(request, &())).await;
    let Ok(form) = form else {
        return Message::new("That took too long", &["Open the link again."])
            .with_status(StatusCode::REQUEST_TIMEOUT);
    };
    let ticket = match form {
        Ok(Form(entry)) if cookie::is_token(&entry.ticket) => entry.ticket,
        _ => {
            return Message::new("This sign-in link is incomplete", &["Open the link again."])
                .with_status(StatusCode::BAD_REQUEST);
        }
    };
    match edge.engine.sign_in(&target.route.id, &target.name, &ticket).await {
        Ok(Some((value, _))) => {
            // A new session takes the old one's place, so that none is left behind.
            end_session(&edge, &headers).await;
            redirect_inside(cookie::set(value.expose()))
        }
        // Somebody who is in already and went back to the link is not stopped.
        Ok(None) if is_inside(&edge, &target, &headers).await => redirect_inside(None),
        Ok(None) => Message::new(
            "This sign-in link does not work any more",
            &[
                "A sign-in link works once, for a few minutes, and for one instance. Ask for a new one.",
            ],
        )
        .with_status(StatusCode::FORBIDDEN),
        Err(e) => {
            tracing::error!(error = ?e, name = %target.name, "a ticket could not be taken");
            reply::refuse(&Rejection::Internal, Some(&target.name), true)
        }
    }
}

/// Asks before it signs out.
pub(crate) async fn sign_out_page(target: AuthRoute) -> Response {
    pages::sign_out(&target.name)
}

/// Ends the session. What the portal stored on the device goes as well; the cookies of the
/// neighbours stay, which `Clear-Site-Data: "cookies"` would take too.
pub(crate) async fn sign_out(
    State(edge): State<Edge>,
    target: AuthRoute,
    headers: HeaderMap,
) -> Response {
    if !from_own_page(&edge, &target.name, &headers) {
        return reply::refuse(&Rejection::CrossSite, Some(&target.name), true);
    }
    if !end_session(&edge, &headers).await {
        return reply::refuse(&Rejection::Internal, Some(&target.name), true);
    }
    let mut response = Message::new(
        format!("You are signed out of {}", target.name),
        &["Close tabs of it that are still open. A new sign-in link brings you back."],
    )
    .with_status(StatusCode::OK);
    let out = response.headers_mut();
    out.insert(header::SET_COOKIE, HeaderValue::from_static(cookie::CLEAR));
    out.insert("clear-site-data", HeaderValue::from_static("\"cache\", \"storage\""));
    response
}

/// Whether the form on our own page sent this, and not a neighbour's.
fn from_own_page(edge: &Edge, name: &Name, headers: &HeaderMap) -> bool {
    let own = edge.settings.instance_origin(name);
    headers.get(header::ORIGIN).is_some_and(|o| o.as_bytes() == own.as_bytes())
        && Fetch::of(headers).site.is_none_or(|site| site == "same-origin")
}

async fn is_inside(edge: &Edge, target: &AuthRoute, headers: &HeaderMap) -> bool {
    match cookie::session(headers) {
        Some(value) => {
            edge.engine.session(&target.route.id, value).await.is_ok_and(|s| s.is_some())
        }
        None => false,
    }
}

/// Ends the session that the request came with, if any; `false` when that failed.
async fn end_session(edge: &Edge, headers: &HeaderMap) -> bool {
    let Some(value) = cookie::session(headers) else { return true };
    let ended = edge.engine.sign_out(value).await;
    if let Err(e) = &ended {
        tracing::error!(error = ?e, "a session could not be ended");
    }
    ended.is_ok()
}

fn redirect_inside(cookie: Option<HeaderValue>) -> Response {
    let headers = [
        (header::LOCATION, "/"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let mut response = (StatusCode::SEE_OTHER, headers).into_response();
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
