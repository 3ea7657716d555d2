//! A model provider that speaks OpenAI's chat completions and repeats a word when told to.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response, Sse, sse::Event},
    routing::{get, post},
};
use futures::stream;
use serde_json::{Value, json};

use super::Listening;

/// A model provider.
pub struct Model {
    listening: Listening,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    key: String,
    requests: Vec<Value>,
}

impl Model {
    /// Starts one that takes only this key.
    pub async fn start(key: &str) -> Self {
        let seen = Arc::new(Mutex::new(Seen { key: key.to_owned(), ..Seen::default() }));
        let router = Router::new()
            .route("/v1/chat/completions", post(complete))
            .route("/v1/models", get(models))
            .with_state(seen.clone());
        Self { listening: Listening::start(router).await, seen }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// What OpenClaw is told as `base_url`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.listening.address)
    }

    /// How many completions were asked for.
    pub fn requests(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).requests.len()
    }

    /// The last completion that was asked for, with the conversation that came with it.
    pub fn last(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.requests.last().map(Value::to_string).unwrap_or_default()
    }

    /// Takes another key from now on.
    pub fn change_key(&self, key: &str) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).key = key.to_owned();
    }
}

async fn models() -> Json<Value> {
    Json(json!({ "object": "list", "data": [{ "id": "echo-1", "object": "model" }] }))
}

/// What the person said last, of all that OpenClaw sends along as the user's messages: the
/// word after the last "repeat".
fn word_to_repeat(request: &Value) -> String {
    let messages = request["messages"].as_array().cloned().unwrap_or_default();
    let texts = messages.iter().filter(|m| m["role"] == "user").map(|m| match &m["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|p| p["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    });
    let said = texts.collect::<Vec<_>>().join("\n");
    let after = said.rsplit_once("repeat ").map_or("", |(_, after)| after);
    after.chars().take_while(char::is_ascii_alphanumeric).collect()
}

async fn complete(
    State(seen): State<Arc<Mutex<Seen>>>,
    headers: HeaderMap,
    Json(request): Json<Value>,
) -> Response {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let sent = headers.get("authorization").and_then(|h| h.to_str().ok()).unwrap_or_default();
    if sent != format!("Bearer {}", seen.key) {
        let error = json!({ "error": { "message": "Incorrect API key provided", "code": "invalid_api_key" } });
        return (StatusCode::UNAUTHORIZED, Json(error)).into_response();
    }
    let answer = format!("echo: {}", word_to_repeat(&request));
    let streams = request["stream"] == true;
    seen.requests.push(request);
    if streams { in_pieces(&answer).into_response() } else { whole(&answer).into_response() }
}

fn whole(answer: &str) -> Json<Value> {
    Json(json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "echo-1",
        "choices": [{ "index": 0, "finish_reason": "stop",
                      "message": { "role": "assistant", "content": answer } }],
        "usage": { "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2 },
    }))
}

fn in_pieces(answer: &str) -> impl IntoResponse + use<> {
    let piece = |delta: Value, finish: Value| {
        json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "echo-1",
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }],
        })
        .to_string()
    };
    let pieces = [
        piece(json!({ "role": "assistant", "content": "" }), Value::Null),
        piece(json!({ "content": answer }), Value::Null),
        piece(json!({}), json!("stop")),
        "[DONE]".to_owned(),
    ];
    Sse::new(stream::iter(pieces.map(|p| Ok::<_, Infallible>(Event::default().data(p)))))
}
