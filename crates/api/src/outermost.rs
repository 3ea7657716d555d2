//! The outermost layer: assigns a request id, limits time and concurrency, records metrics and
//! logs, and turns errors into problem documents.

use std::time::{Duration, Instant};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::Instrument;

use crate::{
    problem::{Kind, Problem},
    shared::Shared,
};

/// How long a request may take until its response begins; streams continue after that.
const TIME_LIMIT: Duration = Duration::from_secs(30);

pub(crate) async fn outermost(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let id = uuid::Uuid::now_v7().to_string();
    let method = request.method().clone();
    // The pattern, not the path: a path could contain anything, and metrics need few label values.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unknown".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!(
        "request", id = %id, api = shared.access.as_str(), %method, %route,
        actor = tracing::field::Empty
    );
    let began = Instant::now();
    let response = answer(&shared, request, next).instrument(span.clone()).await;
    let response = finish(response, &method, &id);
    let taken = began.elapsed();
    measure(&shared, &method, route, response.status(), taken);
    span.in_scope(|| log_response(&response, &method, taken));
    response
}

async fn answer(shared: &Shared, request: Request, next: Next) -> Response {
    let Ok(_place) = shared.requests.clone().try_acquire_owned() else {
        return Problem::new(Kind::Unavailable, "too many requests at once; try again")
            .with(header::RETRY_AFTER, "1")
            .into_response();
    };
    match tokio::time::timeout(TIME_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Kind::Unavailable, "request timed out; try again")
            .with(header::RETRY_AFTER, "5")
            .into_response(),
    }
}

/// Turns the router's own errors into problem documents, and adds the common headers.
fn finish(response: Response, method: &Method, id: &str) -> Response {
    let mut response = match response.extensions().get::<Problem>().cloned() {
        Some(problem) => problem.answer(Some(id)),
        None if response.status() == StatusCode::METHOD_NOT_ALLOWED => wrong_method(method, id),
        None => response,
    };
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CACHE_CONTROL, "no-store");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert("x-request-id", value);
    }
    response
}

/// `OPTIONS` is told what the path takes; every other method that it does not take is an error.
/// The router adds `Allow` to the answer after this layer.
fn wrong_method(method: &Method, id: &str) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let detail = "this path does not take this method; the Allow header lists those that it takes";
    Problem::new(Kind::MethodNotAllowed, detail).answer(Some(id))
}

fn measure(shared: &Shared, method: &Method, route: String, status: StatusCode, taken: Duration) {
    let method = match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS") => known.to_owned(),
        _ => "other".to_owned(),
    };
    metrics::histogram!(
        "startclaw_http_request_seconds",
        "api" => shared.access.as_str(),
        "method" => method,
        "route" => route,
        "status" => status.as_u16().to_string(),
    )
    .record(taken);
}

fn log_response(response: &Response, method: &Method, taken: Duration) {
    let status = response.status().as_u16();
    let ms = (taken.as_secs_f64() * 10_000.0).round() / 10.0;
    let problem = response.extensions().get::<Problem>();
    if let Some(cause) = problem.and_then(Problem::cause) {
        tracing::error!(status, ms, cause, "a request failed");
    } else if status >= 500 {
        tracing::warn!(status, ms, "a request was rejected");
    } else if method == Method::GET || method == Method::HEAD {
        tracing::debug!(status, ms, "answered");
    } else {
        tracing::info!(status, ms, "answered");
    }
}

/// The response to a panic in a handler.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands over the payload")]
pub(crate) fn panicked(
    payload: Box<dyn std::any::Any + Send + 'static>,
) -> axum::http::Response<Body> {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    Problem::internal(format!("a handler panicked: {text}")).into_response()
}
