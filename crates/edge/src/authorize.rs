//! `/authorize`: Caddy's `forward_auth` request before each request to an instance.
//!
//! The response is 200 with the upstream's address and the headers to set, or the response that
//! Caddy sends to the client.

use std::time::{Duration, Instant};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use startclaw_engine::Route;
use startclaw_model::{InstanceState, Name};
use startclaw_openclaw::USER_HEADER;

use crate::{
    authorize_request::AuthorizeRequest,
    client, cookie,
    decide::{Decision, Rejection, decide},
    reply,
    router::{Edge, host},
    site::Site,
};

/// The upstream that Caddy connects to.
const UPSTREAM: &str = "x-startclaw-upstream";
/// The client's address as sent to OpenClaw.
const CLIENT: &str = "x-startclaw-client";

/// After a restart of the daemon it takes a moment until every instance was observed. Requests wait
/// up to this long for it instead of failing.
const SETTLING: Duration = Duration::from_secs(8);
const SETTLING_STEP: Duration = Duration::from_millis(25);

pub(crate) async fn authorize(State(edge): State<Edge>, headers: HeaderMap) -> Response {
    let begun = Instant::now();
    let (response, outcome) = answer(&edge, &headers).await;
    metrics::histogram!("startclaw_edge_authorize_seconds", "outcome" => outcome)
        .record(begun.elapsed());
    response
}

async fn answer(edge: &Edge, headers: &HeaderMap) -> (Response, &'static str) {
    let Some(request) = AuthorizeRequest::of(headers) else {
        // Only Caddy sends this request, and always with all headers.
        return (StatusCode::BAD_REQUEST.into_response(), "malformed");
    };
    let name = match Site::of_header(host(headers), &edge.settings.domain) {
        Site::Instance(name) => Some(name),
        _ => None,
    };
    let decision = match &name {
        Some(name) => decide_access(edge, &request, name, headers).await,
        None => Decision::Refuse(Rejection::NoInstance),
    };
    match decision {
        Decision::Pass { upstream, user } => match pass(&upstream.to_string(), user, headers) {
            Some(response) => (response, "pass"),
            None => (reply::refuse(&Rejection::Internal, name.as_ref(), request.page), "internal"),
        },
        Decision::Refuse(refusal @ Rejection::SignIn) if let Some(name) = &name => {
            let site = edge.settings.site_origin();
            (reply::sign_in(name, request.page, &site), reply::label(&refusal))
        }
        Decision::Refuse(refusal) => {
            (reply::refuse(&refusal, name.as_ref(), request.page), reply::label(&refusal))
        }
    }
}

async fn decide_access(
    edge: &Edge,
    request: &AuthorizeRequest,
    name: &Name,
    headers: &HeaderMap,
) -> Decision {
    let Some(route) = wait_until_known(edge, name).await else {
        return Decision::Refuse(Rejection::NoInstance);
    };
    let session = match cookie::session(headers) {
        Some(value) => match edge.engine.session(&route.id, value).await {
            Ok(session) => session,
            Err(e) => {
                tracing::error!(error = ?e, %name, "cannot look up a session");
                return Decision::Refuse(Rejection::Internal);
            }
        },
        None => None,
    };
    let origin = edge.settings.instance_origin(name);
    decide(request, &route, &origin, session.as_ref().map(|s| s.identity.as_str()))
}

/// The instance's route, once its state is known.
async fn wait_until_known(edge: &Edge, name: &Name) -> Option<Route> {
    let until = Instant::now() + SETTLING;
    let mut permit = None;
    loop {
        let route = edge.engine.route(name.as_str())?;
        if route.state != InstanceState::Unknown || Instant::now() >= until {
            return Some(route);
        }
        if permit.is_none() {
            let Ok(one) = edge.settling.try_acquire() else { return Some(route) };
            permit = Some(one);
        }
        tokio::time::sleep(SETTLING_STEP).await;
    }
}

/// The response that lets a request through. Caddy removes the headers that are missing here from
/// the request, so values that the client sent never get through.
fn pass(upstream: &str, user: Option<String>, headers: &HeaderMap) -> Option<Response> {
    let mut response = StatusCode::OK.into_response();
    let out = response.headers_mut();
    out.insert(UPSTREAM, HeaderValue::from_str(upstream).ok()?);
    let client = client::outside_address(headers).to_string();
    out.insert(CLIENT, HeaderValue::from_str(&client).ok()?);
    if let Some(user) = user {
        out.insert(USER_HEADER, HeaderValue::from_str(&user).ok()?);
        if let Some(cookies) = cookie::without_session(headers) {
            out.insert(header::COOKIE, cookies);
        }
    }
    Some(response)
}
