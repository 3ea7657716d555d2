//! Errors of the API: RFC 9457 problem documents.

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use startclaw_accounts::AccountError;
use startclaw_engine::EngineError;
use utoipa::ToSchema;

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The kind of a problem. Its keyword is the last part of the document's `type`, which programs
/// match; the texts are for people and may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is not valid HTTP or JSON.
    Malformed,
    /// A field is missing, unknown, of the wrong type, or has an invalid value.
    Invalid,
    /// No token, or an invalid one.
    Unauthenticated,
    /// The token's scope is insufficient.
    Forbidden,
    /// Not found, or not visible to the caller.
    NotFound,
    /// The path does not support this method; `Allow` lists those it does.
    MethodNotAllowed,
    /// The name is in use by another instance.
    NameTaken,
    /// The instance is being removed.
    Removing,
    /// Conflicts with the current state or an operation in progress.
    Conflict,
    /// The request took too long to arrive.
    Slow,
    /// The body is larger than 64 KiB.
    TooLarge,
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// The `Idempotency-Key` was used with a different request.
    KeyReused,
    /// Too many attempts; `Retry-After` says when to retry.
    TooManyAttempts,
    /// The host is at capacity.
    Full,
    /// Too many requests, or the host does not respond; `Retry-After` says when to retry.
    Unavailable,
    /// Internal error; the cause is in the daemon's log.
    Internal,
}

impl Kind {
    /// All kinds, for the documentation.
    pub const ALL: [Self; 17] = [
        Self::Malformed,
        Self::Invalid,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NameTaken,
        Self::Removing,
        Self::Conflict,
        Self::Slow,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::KeyReused,
        Self::TooManyAttempts,
        Self::Full,
        Self::Unavailable,
        Self::Internal,
    ];

    /// Keyword, status and title.
    const fn facts(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::Malformed => ("malformed", S::BAD_REQUEST, "Malformed request"),
            Self::Invalid => ("invalid", S::UNPROCESSABLE_ENTITY, "Invalid field"),
            Self::Unauthenticated => {
                ("unauthenticated", S::UNAUTHORIZED, "Authentication required")
            }
            Self::Forbidden => ("forbidden", S::FORBIDDEN, "Insufficient scope"),
            Self::NotFound => ("not-found", S::NOT_FOUND, "Not found"),
            Self::MethodNotAllowed => {
                ("method-not-allowed", S::METHOD_NOT_ALLOWED, "Method not allowed")
            }
            Self::NameTaken => ("name-taken", S::CONFLICT, "Name already in use"),
            Self::Removing => ("removing", S::CONFLICT, "The instance is being removed"),
            Self::Conflict => ("conflict", S::CONFLICT, "Conflict with the current state"),
            Self::Slow => ("slow", S::REQUEST_TIMEOUT, "The request took too long to arrive"),
            Self::TooLarge => ("too-large", S::PAYLOAD_TOO_LARGE, "The body is too large"),
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", S::UNSUPPORTED_MEDIA_TYPE, "The body is not JSON")
            }
            Self::KeyReused => {
                ("key-reused", S::UNPROCESSABLE_ENTITY, "The Idempotency-Key was used before")
            }
            Self::TooManyAttempts => {
                ("too-many-attempts", S::TOO_MANY_REQUESTS, "Too many attempts")
            }
            Self::Full => ("full", S::INSUFFICIENT_STORAGE, "Host at capacity"),
            Self::Unavailable => ("unavailable", S::SERVICE_UNAVAILABLE, "Service unavailable"),
            Self::Internal => ("internal", S::INTERNAL_SERVER_ERROR, "Internal error"),
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> StatusCode {
        self.facts().1
    }

    /// The `type` of the document.
    pub fn uri(self) -> String {
        format!("{TYPE_PREFIX}{}", self.facts().0)
    }

    /// The title.
    pub const fn title(self) -> &'static str {
        self.facts().2
    }
}

/// The prefix of a problem's `type`.
pub const TYPE_PREFIX: &str = "urn:startclaw:problem:";

/// An invalid field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// The field, dotted where it is nested.
    #[schema(example = "limits.memory_hard_mib")]
    pub field: String,
    /// What to do about it.
    pub message: String,
}

/// A problem document (RFC 9457).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(title = "Problem")]
pub struct Document {
    /// The kind of problem: `urn:startclaw:problem:` and a keyword, for programs.
    #[serde(rename = "type")]
    #[schema(example = "urn:startclaw:problem:invalid")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The error, and what to do.
    pub detail: String,
    /// The id of this request, as `urn:uuid:…`; also in the daemon's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The invalid field, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The invalid fields, and what to do about each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// An error response.
#[derive(Debug, Clone)]
pub struct Problem(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: Kind,
    detail: String,
    field: Option<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<String>,
}

impl Problem {
    /// A problem whose detail may be shown to clients.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self(Box::new(Inner { kind, detail, field: None, headers: Vec::new(), cause: None }))
    }

    /// An invalid field.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let (field, message) = (field.into(), message.into());
        let detail = if field.is_empty() { message.clone() } else { format!("{field}: {message}") };
        Self::new(Kind::Invalid, detail).about(field, message)
    }

    /// An internal error. `cause` is logged and never sent to the client.
    pub fn internal(cause: impl Into<String>) -> Self {
        let detail = "internal error; see the daemon's log";
        Self::new(Kind::Internal, detail).because(cause)
    }

    /// Adds a header to the response.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.push((name, value));
        }
        self
    }

    fn about(mut self, field: String, message: String) -> Self {
        self.0.field = Some(FieldError { field, message });
        self
    }

    fn because(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The cause, for the log.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The document, for the request with this id.
    pub(crate) fn document(&self, request: Option<&str>) -> Document {
        let Inner { kind, detail, field, .. } = &*self.0;
        Document {
            kind: kind.uri(),
            title: kind.title().to_owned(),
            status: kind.status().as_u16(),
            detail: detail.clone(),
            instance: request.map(|id| format!("urn:uuid:{id}")),
            field: field.as_ref().map(|f| f.field.clone()),
            errors: field.iter().cloned().collect(),
        }
    }

    /// The response to the request with this id.
    pub(crate) fn answer(self, request: Option<&str>) -> Response {
        let body = serde_json::to_vec(&self.document(request)).unwrap_or_default();
        let mut response = (self.kind().status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        for (name, value) in &self.0.headers {
            headers.insert(name, value.clone());
        }
        // The outermost layer reads it from here, logs it and adds the request's id.
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.answer(None)
    }
}

impl From<EngineError> for Problem {
    fn from(e: EngineError) -> Self {
        let text = e.to_string();
        match e {
            EngineError::Invalid { field, message } => Self::field(field, message),
            EngineError::NoInstance(_)
            | EngineError::NoOperation(_)
            | EngineError::NoToken(_)
            | EngineError::NoSecret(_) => Self::new(Kind::NotFound, text),
            EngineError::NameTaken(_) => {
                Self::new(Kind::NameTaken, text.clone()).about("name".into(), text)
            }
            EngineError::Removing(_) => Self::new(Kind::Removing, text),
            EngineError::Conflict(_) | EngineError::Quota(_) => Self::new(Kind::Conflict, text),
            EngineError::NoAccess => Self::new(Kind::NotFound, text),
            EngineError::TooManyStreams => {
                Self::new(Kind::Unavailable, text).with(header::RETRY_AFTER, "5")
            }
            EngineError::TooSoon { at, .. } => {
                let wait = at.since(startclaw_model::Timestamp::now()).as_secs().max(1);
                Self::new(Kind::TooManyAttempts, text).with(header::RETRY_AFTER, &wait.to_string())
            }
            EngineError::Full | EngineError::DiskFull(_) => Self::new(Kind::Full, text),
            EngineError::KeyReused => Self::new(Kind::KeyReused, text),
            EngineError::HostUnavailable(inside) => Self::new(Kind::Unavailable, text)
                .with(header::RETRY_AFTER, "5")
                .because(chain(&inside)),
            EngineError::NoPlace(_) => Self::internal(text),
            EngineError::Inside(inside) => Self::internal(chain(inside.as_ref())),
        }
    }
}

impl From<AccountError> for Problem {
    fn from(e: AccountError) -> Self {
        let text = e.to_string();
        match e {
            AccountError::Invalid { field, message } => Self::field(field, message),
            AccountError::Instance(e) => e.into(),
            AccountError::Missing(_) | AccountError::DeadLink => Self::new(Kind::NotFound, text),
            AccountError::LastAdmin => Self::new(Kind::Conflict, text),
            AccountError::Refused | AccountError::UnknownPasskey => {
                Self::new(Kind::Unauthenticated, text)
            }
            AccountError::Suspended | AccountError::Closed | AccountError::ByMail => {
                Self::new(Kind::Forbidden, text)
            }
            AccountError::Slow { seconds } => Self::new(Kind::TooManyAttempts, text)
                .with(header::RETRY_AFTER, &seconds.to_string()),
            AccountError::Busy => Self::new(Kind::Unavailable, text).with(header::RETRY_AFTER, "5"),
            AccountError::Inside(inside) => Self::internal(chain(inside.as_ref())),
        }
    }
}

/// An error with all its causes.
fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut next = e.source();
    while let Some(e) = next {
        text = format!("{text}: {e}");
        next = e.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inside_stays_inside() {
        let inside = std::io::Error::other("/var/lib/secret/place");
        let problem = Problem::from(EngineError::Inside(Box::new(inside)));
        let text = serde_json::to_string(&problem.document(None)).unwrap();
        assert!(!text.contains("secret/place"), "{text}");
        assert!(problem.cause().unwrap().contains("secret/place"));
    }

    #[test]
    fn a_wrong_field_is_named() {
        let problem = Problem::field("limits.pids", "pids must be between 64 and 32768");
        let document = problem.document(Some("1"));
        assert_eq!(document.field.as_deref(), Some("limits.pids"));
        assert_eq!(document.status, 422);
        assert_eq!(document.instance.as_deref(), Some("urn:uuid:1"));
    }

    #[test]
    fn every_kind_has_a_word_of_its_own() {
        let words: std::collections::HashSet<_> = Kind::ALL.iter().map(|k| k.uri()).collect();
        assert_eq!(words.len(), Kind::ALL.len());
    }
}
