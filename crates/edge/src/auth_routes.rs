//! `/.startclaw/…`: sign-in and sign-out of an instance, on its own host.
//!
//! Only the instance's own host can set its cookie, so the user comes here with a one-time login
//! token. Opening the link (GET) does not use the token; pressing the button (POST) does.

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

/// How long the form may take to arrive. It has a few hundred bytes, and Caddy buffers it.
const FORM_TIME: Duration = Duration::from_secs(5);

/// The instance that the request's host names.
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

/// The login token, in a sign-in link or its form.
#[derive(Deserialize)]
pub(crate) struct SignInForm {
    #[serde(default)]
    ticket: String,
}

/// Shows the name of the instance and the sign-in button.
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

/// Redeems the login token and opens a session. The route is unauthenticated: the headers are
/// checked before the form is read, and few forms are read at a time.
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
        return Message::new("Request timed out", &["Open the link again."])
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
            // A new session replaces the old one, so that none is left behind.
            end_session(&edge, &headers).await;
            redirect_inside(cookie::set(value.expose()))
        }
        // A signed-in user who opens a used link again is let through.
        Ok(None) if is_inside(&edge, &target, &headers).await => redirect_inside(None),
        Ok(None) => Message::new(
            "This sign-in link does not work any more",
            &[
                "A sign-in link works once, for a few minutes, and for one instance. Request a new one.",
            ],
        )
        .with_status(StatusCode::FORBIDDEN),
        Err(e) => {
            tracing::error!(error = ?e, name = %target.name, "cannot redeem a login token");
            reply::refuse(&Rejection::Internal, Some(&target.name), true)
        }
    }
}

/// Asks for confirmation.
pub(crate) async fn sign_out_page(target: AuthRoute) -> Response {
    pages::sign_out(&target.name)
}

/// Ends the session and clears what the instance's pages stored in the browser. The cookies of
/// other subdomains stay: `Clear-Site-Data: "cookies"` would clear them too.
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
        &["Close its open tabs. To sign in again, use a new sign-in link."],
    )
    .with_status(StatusCode::OK);
    let out = response.headers_mut();
    out.insert(header::SET_COOKIE, HeaderValue::from_static(cookie::CLEAR));
    out.insert("clear-site-data", HeaderValue::from_static("\"cache\", \"storage\""));
    response
}

/// Whether the form of our own page sent this, and not a page of another instance.
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

/// Ends the session of the request, if any; `false` on failure.
async fn end_session(edge: &Edge, headers: &HeaderMap) -> bool {
    let Some(value) = cookie::session(headers) else { return true };
    let ended = edge.engine.sign_out(value).await;
    if let Err(e) = &ended {
        tracing::error!(error = ?e, "cannot end a session");
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
