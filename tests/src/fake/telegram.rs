//! Telegram's Bot API, as far as a bot with a webhook uses it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::HeaderMap,
    routing::any,
};
use serde_json::{Value, json};

use super::Listening;

pub struct Telegram {
    listening: Listening,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    token: String,
    webhook: Option<Webhook>,
    sent: Vec<String>,
    calls: Vec<String>,
    updates: i64,
}

/// The webhook of a bot.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub url: String,
    /// The value of `X-Telegram-Bot-Api-Secret-Token`.
    pub secret: String,
}

impl Telegram {
    /// Starts one that knows this bot.
    pub async fn start(token: &str) -> Self {
        let seen = Arc::new(Mutex::new(Seen { token: token.to_owned(), ..Seen::default() }));
        let router = Router::new().route("/{bot}/{method}", any(call)).with_state(seen.clone());
        Self { listening: Listening::start(router).await, seen }
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// The base address of the Bot API for OpenClaw.
    pub fn api_root(&self) -> String {
        format!("http://{}", self.listening.address)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bot's webhook, once it is set.
    pub fn webhook(&self) -> Option<Webhook> {
        self.seen().webhook.clone()
    }

    /// The texts sent by the bot, oldest first.
    pub fn sent(&self) -> Vec<String> {
        self.seen().sent.clone()
    }

    /// The called methods, oldest first.
    pub fn calls(&self) -> Vec<String> {
        self.seen().calls.clone()
    }

    /// The update that Telegram delivers when a user writes `text` to the bot.
    pub fn update(&self, text: &str) -> Value {
        let mut seen = self.seen();
        seen.updates += 1;
        let n = seen.updates;
        let person =
            json!({ "id": 4242, "is_bot": false, "first_name": "Alice", "username": "alice" });
        json!({
            "update_id": 1000 + n,
            "message": {
                "message_id": n, "date": 1_790_000_000 + n, "text": text, "from": person,
                "chat": { "id": 4242, "type": "private", "first_name": "Alice", "username": "alice" },
            },
        })
    }
}

/// The parameters of a call: JSON, a form, or (for uploads) none that are needed here.
fn parameters(headers: &HeaderMap, body: &[u8]) -> Value {
    let kind = headers.get("content-type").and_then(|h| h.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/json") {
        return serde_json::from_slice(body).unwrap_or_default();
    }
    Value::Null
}

async fn call(
    State(seen): State<Arc<Mutex<Seen>>>,
    Path((bot, method)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Json<Value> {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    if bot != format!("bot{}", seen.token) {
        return Json(json!({ "ok": false, "error_code": 401, "description": "Unauthorized" }));
    }
    let parameters = parameters(&headers, &body);
    seen.calls.push(method.clone());
    let text = |key: &str| parameters[key].as_str().unwrap_or_default().to_owned();
    let result = match method.as_str() {
        "getMe" => json!({
            "id": 123_456, "is_bot": true, "first_name": "Claw", "username": "claw_bot",
            "can_join_groups": true, "can_read_all_group_messages": false, "supports_inline_queries": false,
        }),
        "setWebhook" => {
            seen.webhook = Some(Webhook { url: text("url"), secret: text("secret_token") });
            json!(true)
        }
        "getWebhookInfo" => json!({
            "url": seen.webhook.as_ref().map(|w| w.url.clone()).unwrap_or_default(),
            "has_custom_certificate": false, "pending_update_count": 0,
        }),
        "deleteWebhook" => {
            seen.webhook = None;
            json!(true)
        }
        "getUpdates" => json!([]),
        "sendMessage" | "editMessageText" => {
            let said = text("text");
            seen.sent.push(said.clone());
            json!({ "message_id": 9000 + seen.sent.len(), "date": 1_790_000_000,
                    "chat": { "id": 4242, "type": "private" }, "text": said })
        }
        _ => json!(true),
    };
    Json(json!({ "ok": true, "result": result }))
}
