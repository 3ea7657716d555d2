//! The daemon's listener for Caddy: routes by host and path.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderMap, header},
    middleware::{Next, from_fn},
    response::Response,
    routing::get,
};
use startclaw_engine::Engine;
use tokio::sync::Semaphore;
use tower::ServiceExt;

use crate::{
    EdgeSettings, ask, auth_routes, authorize, decide::Rejection, drain::drained, reply, site::Site,
};

/// The largest form that is read: a login token and its name.
const MAX_FORM: usize = 4096;
/// How long a response may take; the longest wait is for the state of an instance, 8 s.
const ANSWER: Duration = Duration::from_secs(10);
/// Maximum number of concurrent sign-ins; further ones are rejected as busy.
const ENTERING: usize = 64;
/// Maximum number of requests that wait for the state of an instance; further ones get "starting".
const SETTLING: usize = 256;

/// State of the handlers.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) engine: Engine,
    pub(crate) settings: Arc<EdgeSettings>,
    pub(crate) entering: Arc<Semaphore>,
    pub(crate) settling: Arc<Semaphore>,
}

/// Everything that Caddy sends to the daemon, except the API: its own requests, the auth routes of
/// the instances, and `front`, the portal. Serve it at [`EdgeSettings::listen`] only: every client
/// of that address is trusted to be Caddy.
pub fn router(engine: Engine, front: Router, settings: EdgeSettings) -> Router {
    let domain = settings.domain.clone();
    let edge = Edge {
        engine,
        settings: Arc::new(settings),
        entering: Arc::new(Semaphore::new(ENTERING)),
        settling: Arc::new(Semaphore::new(SETTLING)),
    };
    let rest = Router::new()
        .route("/ask", get(ask::ask))
        .route("/authorize", get(authorize::authorize))
        .route("/.startclaw/enter", get(auth_routes::sign_in_page).post(auth_routes::sign_in))
        .route("/.startclaw/leave", get(auth_routes::sign_out_page).post(auth_routes::sign_out))
        .fallback(nothing)
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(from_fn(in_time))
        .with_state(edge);
    by_site(domain, move |site| match site {
        Site::Front => front.clone(),
        Site::Api | Site::Instance(_) | Site::Foreign => rest.clone(),
    })
}

/// Adds the API: requests for `api.DOMAIN` go to `api`, all others to `edge`. Caddy talks to the
/// result, so request bodies are drained before a response.
pub fn with_api(edge: Router, api: Router, settings: &EdgeSettings) -> Router {
    drained(by_site(settings.domain.clone(), move |site| match site {
        Site::Api => api.clone(),
        Site::Front | Site::Instance(_) | Site::Foreign => edge.clone(),
    }))
}

fn by_site(
    domain: String,
    pick: impl Fn(Site) -> Router + Clone + Send + Sync + 'static,
) -> Router {
    Router::new().fallback_service(tower::service_fn(move |request: Request| {
        let chosen = pick(Site::of_header(host(request.headers()), &domain));
        async move { Ok::<_, Infallible>(chosen.oneshot(request).await.unwrap_or_else(|e| match e {})) }
    }))
}

/// The host of a request. Caddy forwards what the client sent.
pub(crate) fn host(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default()
}

/// Limits the time of a request, so that no client can occupy the daemon's connections.
async fn in_time(request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(ANSWER, next.run(request)).await;
    answer.unwrap_or_else(|_| reply::refuse(&Rejection::Internal, None, true))
}

async fn nothing() -> Response {
    reply::refuse(&Rejection::Hidden, None, true)
}
