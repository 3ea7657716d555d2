//! The daemon's listener for Caddy: which host and path lead where.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderMap, StatusCode, header},
    response::Response,
    routing::get,
};
use startclaw_engine::Engine;
use tower::ServiceExt;

use crate::{
    EdgeSettings, ask, authorize, decide::Refusal, door, pages::Message, reply, site::Site,
};

/// The largest form that is read: a ticket and its name.
const MAX_FORM: usize = 4096;

/// What the handlers know.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) engine: Engine,
    pub(crate) settings: Arc<EdgeSettings>,
}

/// Everything that Caddy sends to the daemon, except the API: its questions, the doors of the
/// instances, and the pages of the domain itself. Serve it at [`EdgeSettings::listen`] only:
/// whoever reaches it is believed to be Caddy.
pub fn router(engine: Engine, settings: EdgeSettings) -> Router {
    let domain = settings.domain.clone();
    let edge = Edge { engine, settings: Arc::new(settings) };
    let front = Router::new().route("/", get(front)).fallback(nothing);
    let rest = Router::new()
        .route("/ask", get(ask::ask))
        .route("/authorize", get(authorize::authorize))
        .route("/.startclaw/enter", get(door::look).post(door::enter))
        .route("/.startclaw/leave", get(door::ask_to_leave).post(door::leave))
        .fallback(nothing)
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .with_state(edge);
    by_site(domain, move |site| match site {
        Site::Front => front.clone(),
        Site::Api | Site::Instance(_) | Site::Foreign => rest.clone(),
    })
}

/// Puts the API beside the edge: requests for `api.DOMAIN` go to `api`, all others to `edge`.
pub fn with_api(edge: Router, api: Router, settings: &EdgeSettings) -> Router {
    by_site(settings.domain.clone(), move |site| match site {
        Site::Api => api.clone(),
        Site::Front | Site::Instance(_) | Site::Foreign => edge.clone(),
    })
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

/// The host that a request is for. Caddy passes on what the client sent.
pub(crate) fn host(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default()
}

async fn front() -> Response {
    Message::new(
        "StartClaw",
        &[
            "This is the home of OpenClaw instances. Each lives at an address of its own.",
            "To get into yours, open the sign-in link you were given, or ask whoever runs this platform for one.",
        ],
    )
    .with_status(StatusCode::OK)
}

async fn nothing() -> Response {
    reply::refuse(&Refusal::Hidden, None, true)
}
