//! What the portal shows of a Telegram bot, and how its owner approves users.

use serde_json::{Value, json};
use startclaw_model::Timestamp;

use crate::test_platform::TestPlatform;

fn answer(payload: &Value) -> String {
    json!({ "ok": true, "payload": payload }).to_string()
}

/// Sets the answers of the gateway.
fn says(platform: &TestPlatform, probe: &Value, telegram: &Value) {
    let account = json!({ "probe": probe });
    let config = json!({ "hash": "h1", "config": { "channels": { "telegram": telegram } } });
    let sender =
        json!({ "senderUserId": "4242", "username": "mallory", "firstName": "<b>Alice</b>" });
    let line = json!({ "1": sender, "2": "telegram pairing request", "time": Timestamp::now().to_string() });
    platform.host.state().answers = vec![
        ("channels.status", answer(&json!({ "channelAccounts": { "telegram": [account] } }))),
        ("config.get", answer(&config)),
        ("logs.tail", answer(&json!({ "lines": [line.to_string()] }))),
        ("config.patch", json!({ "ok": true }).to_string()),
    ];
}

#[tokio::test]
async fn a_token_is_connected_only_when_telegram_knows_it() {
    let platform = TestPlatform::new().await;
    let alice = platform.person("alice@example.com").await;
    alice.post("/new", &[("name", "alice"), ("telegram", "123456:AAE-invented")]).await;
    platform.live("alice").await;
    let page = alice.get("/instances/alice").await;
    page.has("Token stored");
    assert!(!page.text.contains("onnected as"), "nothing was asked yet");
    let pairing = json!({ "dmPolicy": "pairing" });
    let at = "/instances/alice/telegram";
    alice.get(at).await.has("Token stored, not verified.");
    for (probe, text) in [
        (json!({ "ok": true, "bot": { "username": "claw_bot" } }), "Connected as @claw_bot."),
        (json!({ "ok": false, "error": "Unauthorized" }), "Telegram refused the bot token"),
        (json!({ "ok": false, "error": "ECONNREFUSED" }), "the instance cannot reach Telegram"),
    ] {
        says(&platform, &probe, &pairing);
        alice.get(at).await.has(text);
    }
    alice.post("/new", &[("name", "bob")]).await;
    platform.live("bob").await;
    alice.get("/instances/bob/telegram").await.has("No bot yet");
}

#[tokio::test]
async fn an_owner_approves_who_asks_and_closes_an_open_bot() {
    let platform = TestPlatform::new().await;
    let alice = platform.person("alice@example.com").await;
    alice.post("/new", &[("name", "alice"), ("telegram", "123456:AAE")]).await;
    platform.live("alice").await;
    let at = "/instances/alice/telegram";
    let probe = json!({ "ok": true, "bot": { "username": "claw_bot" } });
    says(&platform, &probe, &json!({ "dmPolicy": "pairing" }));
    let page = alice.get(at).await;
    page.has("Only approved users can talk to it.");
    page.has("1 request");
    page.has("@mallory");
    assert!(!page.text.contains("<b>"), "a name is text");
    let approved = alice.post(&format!("{at}/approve"), &[("user", "4242")]).await;
    assert_eq!(approved.location(), "/instances/alice/telegram?done=approved");
    alice.get(approved.location()).await.has("The Telegram user is approved.");
    let wrong = alice.post(&format!("{at}/approve"), &[("user", "@mallory")]).await;
    assert_eq!(wrong.status, 422);
    wrong.has("Invalid Telegram user id");
    wrong.has("<h1");
    says(&platform, &probe, &json!({ "dmPolicy": "open", "allowFrom": ["*"] }));
    alice.get(at).await.has("Open: every Telegram user can command it.");
    let closed = alice.post(&format!("{at}/close"), &[]).await;
    assert_eq!(closed.location(), "/instances/alice/telegram?done=closed");
    platform.host.state().answers.clear();
    let silent = alice.post(&format!("{at}/close"), &[]).await;
    assert_eq!(silent.status, 409);
    silent.has("does not answer as expected");
}
