//! Bodies, queries, paths and the `Idempotency-Key`. Errors name the field and never repeat the
//! value, which may be a secret in the wrong place.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};
use startclaw_engine::Idempotency;
use startclaw_model::OperationId;

use crate::{
    problem::{Kind, Problem},
    shared::Shared,
};

/// The largest body: far above any valid request, and still harmless.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(15);
/// The longest `Idempotency-Key`.
const KEY_LIMIT: usize = 200;
/// How much of a field's name is repeated in an error.
const FIELD_LIMIT: usize = 80;

/// A JSON body.
pub(crate) struct Body<T>(pub T);

impl<T: DeserializeOwned + Serialize> FromRequest<Shared> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                Kind::UnsupportedMediaType,
                "send the body as JSON with Content-Type: application/json",
            )
            .with(header::ACCEPT, "application/json"));
        }
        let bytes = tokio::time::timeout(BODY_TIME, Bytes::from_request(request, shared))
            .await
            .map_err(|_| Problem::new(Kind::Slow, "the body took more than 15 seconds"))?
            .map_err(unreadable)?;
        parse_json(&bytes).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn unreadable(e: BytesRejection) -> Problem {
    if e.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::new(Kind::TooLarge, format!("a body has at most {BODY_LIMIT} bytes"))
    } else {
        Problem::new(Kind::Malformed, "the body is incomplete")
    }
}

fn parse_json<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, Problem> {
    use serde_json::error::Category;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut reader);
    let value = parsed.map_err(|e| {
        let (line, column) = (e.inner().line(), e.inner().column());
        match e.inner().classify() {
            Category::Data => wrong_field(&e.path().to_string(), &e.inner().to_string()),
            Category::Eof if bytes.is_empty() => {
                Problem::new(Kind::Malformed, "a JSON body is required")
            }
            _ => Problem::new(
                Kind::Malformed,
                format!("the body is no JSON: look at line {line}, column {column}"),
            ),
        }
    })?;
    reader.end().map_err(|_| Problem::new(Kind::Malformed, "something follows the JSON body"))?;
    require_objects(bytes, &value)?;
    Ok(value)
}

/// serde also reads a struct from an array of its fields' values. The document says object, and
/// an array that happens to fit must not do something that its sender did not mean.
fn require_objects<T: Serialize>(bytes: &[u8], read: &T) -> Result<(), Problem> {
    // What was read as T a moment ago is JSON, and a T has a JSON form.
    let inside = |e: serde_json::Error| Problem::internal(e.to_string());
    let sent = serde_json::from_slice(bytes).map_err(inside)?;
    let read = serde_json::to_value(read).map_err(inside)?;
    match array_for_object(&sent, &read, "") {
        None => Ok(()),
        Some(path) => Err(Problem::field(path, "expected an object, not an array")),
    }
}

/// The path at which `sent` has an array, and an object was read from it.
fn array_for_object(sent: &Value, read: &Value, path: &str) -> Option<String> {
    match (sent, read) {
        (Value::Array(_), Value::Object(_)) => Some(path.to_owned()),
        (Value::Object(sent), Value::Object(read)) => sent
            .iter()
            .find_map(|(field, sent)| array_for_object(sent, read.get(field)?, &join(path, field))),
        (Value::Array(sent), Value::Array(read)) => {
            sent.iter().zip(read).find_map(|(sent, read)| array_for_object(sent, read, path))
        }
        _ => None,
    }
}

/// The query.
pub(crate) struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Problem> {
        parse_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn parse_query<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let reader = serde_urlencoded::Deserializer::new(pairs);
    serde_path_to_error::deserialize(reader)
        .map_err(|e| wrong_field(&e.path().to_string(), &e.inner().to_string()))
}

/// No query parameters: unknown ones are rejected, not ignored.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// The id of an operation in a path.
pub(crate) struct OperationPath(pub OperationId);

impl FromRequestParts<Shared> for OperationPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Problem> {
        let unknown = || Problem::new(Kind::NotFound, "there is no such operation");
        let Ok(Path(id)) = Path::<String>::from_request_parts(parts, shared).await else {
            return Err(unknown());
        };
        let good = id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if good { Ok(Self(OperationId(id))) } else { Err(unknown()) }
    }
}

/// serde's error about a field, without the value.
fn wrong_field(path: &str, message: &str) -> Problem {
    // serde_json appends the position; the field is more useful.
    let message = message.split(" at line ").next().unwrap_or(message);
    let quoted = |m: &str| m.split('`').nth(1).map(str::to_owned);
    if let Some(rest) = message.strip_prefix("missing field ") {
        let field = join(path, &quoted(rest).unwrap_or_default());
        return Problem::field(field, "this field is needed");
    }
    if message.starts_with("unknown field ") {
        // If serde tracked that far, the path already ends with the unknown field.
        let unknown = quoted(message).unwrap_or_default();
        let field = if path.rsplit('.').next() == Some(&unknown) {
            path.to_owned()
        } else {
            join(path, &unknown)
        };
        let known = message.split(", expected ").nth(1).unwrap_or("no field here");
        return Problem::field(clip(&field), format!("this field is not known; expected {known}"));
    }
    if let Some(rest) = message.strip_prefix("duplicate field ") {
        let field = join(path, &quoted(rest).unwrap_or_default());
        return Problem::field(clip(&field), "this field is there twice");
    }
    for meets in ["invalid type: ", "invalid value: ", "unknown variant ", "invalid length "] {
        if message.starts_with(meets) {
            let wanted = message.rsplit(", expected ").next().unwrap_or("something else");
            let wanted = wanted.trim_start_matches("struct ");
            return Problem::field(clip(path_of(path)), format!("expected {wanted}"));
        }
    }
    // Numbers in a query: "invalid digit found in string" and the like contain no value, nor do the
    // errors of our own types.
    Problem::field(clip(path_of(path)), message)
}

fn path_of(path: &str) -> &str {
    if path == "." || path == "?" { "" } else { path }
}

fn join(path: &str, field: &str) -> String {
    match path_of(path) {
        "" => clip(field),
        path => clip(&format!("{path}.{field}")),
    }
}

fn clip(field: &str) -> String {
    field.chars().filter(|c| !c.is_control()).take(FIELD_LIMIT).collect()
}

/// The header that [`Key`] reads, in the document.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct KeyHeader {
    /// A repeated request with the same key answers the same operation. 1 to 200 visible ASCII
    /// characters.
    #[param(rename = "Idempotency-Key", pattern = "^[!-~]{1,200}$", nullable = false)]
    #[expect(dead_code, reason = "only described by this; Key reads it")]
    key: Option<String>,
}

/// What the client sent in `Idempotency-Key`.
pub(crate) struct Key(Option<String>);

impl FromRequestParts<Shared> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        let good = values.next().is_none()
            && (1..=KEY_LIMIT).contains(&value.len())
            && value.as_bytes().iter().all(u8::is_ascii_graphic);
        match value.to_str() {
            Ok(key) if good => Ok(Self(Some(key.to_owned()))),
            _ => Err(Problem::field(
                "Idempotency-Key",
                "one Idempotency-Key of 1 to 200 visible ASCII characters",
            )),
        }
    }
}

impl Key {
    /// Identifies a repeated request by its key. The digest covers the secrets too, so that another
    /// API key under the same idempotency key is detected.
    pub(crate) fn of<T: Serialize>(self, verb: &str, request: &T) -> Option<Idempotency> {
        let key = self.0?;
        let mut hash = Sha256::new();
        for part in [key.as_bytes(), verb.as_bytes(), &serde_json::to_vec(request).ok()?] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        let request_hash = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        Some(Idempotency { key, request_hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{LogsQuery, NamedQuery, Provision};

    fn body(text: &str) -> crate::problem::Document {
        parse_json::<Provision>(text.as_bytes()).err().unwrap().document(None)
    }

    #[test]
    fn errors_name_the_field_also_when_it_is_nested() {
        for (text, field) in [
            (r#"{}"#, "name"),
            (r#"{"name": 5}"#, "name"),
            (r#"{"name": "A"}"#, "name"),
            (r#"{"name": "a", "nmae": 1}"#, "nmae"),
            (r#"{"name": "a", "limits": {"cpu": 1}}"#, "limits.cpu"),
            (r#"{"name": "a", "limits": {"cpus": "x"}}"#, "limits.cpus"),
            (r#"{"name": "a", "provider": {}}"#, "provider.kind"),
            (r#"{"name": "a", "provider": {"kind": "x"}}"#, "provider.kind"),
            (r#"{"name": "a", "name": "b"}"#, "name"),
        ] {
            let document = body(text);
            assert_eq!(document.field.as_deref(), Some(field), "{text}: {}", document.detail);
            assert_eq!(document.status, 422, "{text}");
        }
    }

    #[test]
    fn what_was_sent_is_not_repeated() {
        for text in [
            r#"{"name": "a", "api_key": ["sk-canary"]}"#,
            r#"{"name": "a", "api_key": 777123}"#,
            r#"{"name": "sk-canary!"}"#,
            r#"{"name": "a", "provider": "sk-canary"}"#,
            r#"{"name": "a", "provider": {"kind": "sk-canary"}}"#,
            r#"{"name": "a", "limits": {"pids": "sk-canary, expected sk-canary"}}"#,
            r#"{"name": "a", "owner": "sk-canary, b"}"#,
            r#"sk-canary"#,
        ] {
            let text = serde_json::to_string(&body(text)).unwrap();
            assert!(!text.contains("canary") && !text.contains("777123"), "{text}");
        }
    }

    #[test]
    fn an_array_is_no_object() {
        for (text, field) in [
            (r#"["a"]"#, ""),
            (r#"{"name": "a", "limits": [512, 2048, 1.0, 512]}"#, "limits"),
            (r#"{"name": "a", "limits": []}"#, "limits"),
            (r#"{"name": "a", "provider": ["openai"]}"#, "provider"),
        ] {
            let document = body(text);
            assert_eq!(document.status, 422, "{text}: {}", document.detail);
            assert_eq!(document.field.unwrap_or_default(), field, "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        for text in ["", "{", "nul", "{\"name\": \"a\"} x", "\u{0}"] {
            assert_eq!(body(text).status, 400, "{text:?}");
        }
    }

    #[test]
    fn a_query_is_checked_alike() {
        let field = |e: Problem| e.document(None).field.unwrap_or_default();
        assert_eq!(field(parse_query::<NamedQuery>("").err().unwrap()), "name");
        assert_eq!(field(parse_query::<NamedQuery>("name=A").err().unwrap()), "name");
        assert_eq!(field(parse_query::<NamedQuery>("name=a&x=1").err().unwrap()), "x");
        assert_eq!(field(parse_query::<LogsQuery>("name=a&tail=-1").err().unwrap()), "tail");
        assert!(parse_query::<LogsQuery>("name=a&tail=5&follow=true").is_ok());
    }

    #[test]
    fn a_key_covers_verb_and_secrets() {
        let request = |secret: &str| {
            parse_json::<Provision>(format!(r#"{{"name":"a","api_key":"{secret}"}}"#).as_bytes())
                .unwrap()
        };
        let key = || Key(Some("k".into()));
        let hash = |verb, secret| key().of(verb, &request(secret)).unwrap().request_hash;
        assert_eq!(hash("POST /provision", "x"), hash("POST /provision", "x"));
        assert_ne!(hash("POST /provision", "x"), hash("POST /provision", "y"));
        assert_ne!(hash("POST /provision", "x"), hash("POST /other", "x"));
        assert!(Key(None).of("POST /provision", &request("x")).is_none());
    }
}
