//! A model provider with OpenAI's chat completions API, which repeats a word on request.

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
    /// Starts one that accepts only this key.
    pub async fn start(key: &str) -> Self {
        let seen = Arc::new(Mutex::new(Seen { key: key.to_owned(), ..Seen::default() }));
        let router = Router::new()
            .route("/v1/chat/completions", post(complete))
            .route("/v1/models", get(models))
            .with_state(seen.clone());
        Self { listening: Listening::start(router).await, seen }
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// The `base_url` for OpenClaw.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.listening.address)
    }

    /// Number of completion requests.
    pub fn requests(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).requests.len()
    }

    /// The last completion request, with its conversation.
    pub fn last(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.requests.last().map(Value::to_string).unwrap_or_default()
    }

    /// Accepts another key from now on.
    pub fn change_key(&self, key: &str) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).key = key.to_owned();
    }
}

async fn models() -> Json<Value> {
    Json(json!({ "object": "list", "data": [{ "id": "echo-1", "object": "model" }] }))
}

/// The word after the last "repeat" in the user's messages, of which OpenClaw sends all.
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
