//! Errors of the client.

use reqwest::Response;

use crate::problem::{Document, TYPE_PREFIX};

/// The kind of a failure; decides the exit code of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Invalid request.
    Usage,
    /// The daemon cannot be reached.
    Unreachable,
    /// Not found.
    NotFound,
    /// Not permitted: no token, an invalid one, or one without the scope.
    Denied,
    /// Conflict: the name is taken, the instance is being removed, the host is at capacity.
    Conflict,
    /// Temporarily unavailable.
    Unavailable,
    /// Invalid response.
    Protocol,
    /// Internal error of the daemon.
    Failed,
}

/// A failed request.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    /// The kind of failure.
    pub cause: Cause,
    /// The message for people.
    pub message: String,
    /// The problem document, if the daemon sent one.
    pub problem: Option<Box<Document>>,
}

impl ClientError {
    pub(super) fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), problem: None }
    }

    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    pub(super) fn setup(e: reqwest::Error) -> Self {
        Self::new(Cause::Usage, format!("cannot set up the connection: {}", chain(&e)))
    }

    /// The HTTP status, if the daemon responded.
    pub fn status(&self) -> Option<u16> {
        self.problem.as_ref().map(|p| p.status)
    }

    /// The invalid field, if any.
    pub fn field(&self) -> Option<&str> {
        self.problem.as_ref()?.field.as_deref()
    }
}

pub(super) fn unreachable(place: &str, e: reqwest::Error) -> ClientError {
    // Without the URL, which may contain a query; the place is enough.
    let e = e.without_url();
    if e.is_timeout() && !e.is_connect() {
        return ClientError::new(Cause::Unavailable, format!("{place} does not answer in time"));
    }
    ClientError::new(
        Cause::Unreachable,
        format!("cannot reach the daemon at {place}: {}", root(&e)),
    )
}

/// The innermost cause is the specific one: "connection refused", "no such file".
fn root(e: &dyn std::error::Error) -> String {
    let mut e = e;
    while let Some(next) = e.source() {
        e = next;
    }
    e.to_string()
}

fn chain(e: &dyn std::error::Error) -> String {
    let (outer, inner) = (e.to_string(), root(e));
    if outer == inner { outer } else { format!("{outer}: {inner}") }
}

/// The error of a response.
pub(super) async fn of_response(response: Response, place: &str) -> ClientError {
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap_or_default();
    let problem = serde_json::from_slice::<Document>(&bytes)
        .ok()
        .filter(|p| p.kind.starts_with(TYPE_PREFIX))
        .map(Box::new);
    let cause = match status {
        401 | 403 | 429 => Cause::Denied,
        404 => Cause::NotFound,
        409 | 507 => Cause::Conflict,
        // A proxy in front of a stopped daemon returns these two.
        502 | 504 => Cause::Unreachable,
        503 => Cause::Unavailable,
        400..=499 => Cause::Usage,
        _ => Cause::Failed,
    };
    let (cause, message) = match &problem {
        Some(problem) => (cause, problem.detail.clone()),
        // Without a problem document the response is not from the daemon.
        None if status == 404 => (Cause::Unreachable, format!("{place} is no StartClaw API")),
        None => (cause, format!("{place} answered with status {status}")),
    };
    ClientError { cause, message, problem }
}
