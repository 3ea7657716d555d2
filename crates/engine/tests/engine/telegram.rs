//! Access to a bot: approved users only, unless it was opened on purpose.

use serde_json::{Value, json};
use startclaw_engine::{Engine, EngineError, ProvisionRequest, TelegramConnection};
use startclaw_model::{
    Actor, CheckStatus, EventKind, InstanceId, InstanceState, Secret, TelegramAccess, Timestamp,
};
use startclaw_simulated::Behaviour;
use startclaw_testkit::*;

fn with_bot(text: &str, access: TelegramAccess) -> ProvisionRequest {
    ProvisionRequest {
        telegram_bot_token: Some(Secret::new("123456:AAE")),
        telegram_access: access,
        ..request(text)
    }
}

fn channel(platform: &TestPlatform, id: &InstanceId) -> Value {
    let config = platform.host.state().instance(id).config().unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    config["channels"]["telegram"].clone()
}

fn payload(payload: &Value) -> String {
    json!({ "ok": true, "payload": payload }).to_string()
}

/// The answers of a gateway about its bot.
fn answers(status: &Value, telegram: &Value, log: &[String]) -> Vec<(&'static str, String)> {
    let config = json!({ "hash": "h1", "config": { "channels": { "telegram": telegram } } });
    vec![
        (
            r#""method":"channels.status""#,
            payload(&json!({ "channelAccounts": { "telegram": [status] } })),
        ),
        (r#""method":"config.get""#, payload(&config)),
        (r#""method":"logs.tail""#, payload(&json!({ "lines": log }))),
    ]
}

fn asked_for_access(user: i64, at: Timestamp) -> String {
    let sender = json!({ "senderUserId": user.to_string(), "username": "alice" });
    json!({ "1": sender, "2": "telegram pairing request", "time": at.to_string() }).to_string()
}

async fn live_bot(engine: &Engine) {
    let request = with_bot("alice", TelegramAccess::Pairing);
    let asked = engine.provision(&Actor::system(), request, None).await.unwrap();
    over(engine, &asked).await;
}

#[tokio::test]
async fn the_state_of_a_bot_is_what_its_gateway_says() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    live_bot(&engine).await;
    let pairing = json!({ "dmPolicy": "pairing", "allowFrom": ["7"] });
    let old = Timestamp::from_millis(Timestamp::now().as_millis() - 2 * 3_600_000);
    let log = [
        asked_for_access(5, old),
        asked_for_access(7, Timestamp::now()),
        asked_for_access(4242, Timestamp::now()),
    ];
    for (status, connection) in [
        (
            json!({ "probe": { "ok": true, "bot": { "username": "claw_bot" } } }),
            TelegramConnection::Connected("claw_bot".into()),
        ),
        (json!({ "probe": { "ok": false, "error": "Unauthorized" } }), TelegramConnection::Refused),
        (
            json!({ "probe": { "ok": false, "error": "ECONNREFUSED" } }),
            TelegramConnection::Unreachable,
        ),
        (json!({}), TelegramConnection::Unverified),
    ] {
        platform.host.state().answers = answers(&status, &pairing, &log);
        let found = engine.telegram(&name("alice")).await.unwrap();
        assert_eq!(found.connection, connection);
        assert_eq!((found.open, found.allowed.as_slice()), (Some(false), &[7][..]));
        let users: Vec<_> = found.requests.iter().map(|request| request.user).collect();
        assert_eq!(users, [4242], "neither too old nor approved already");
    }
}

#[tokio::test]
async fn an_approval_is_a_change_of_the_running_configuration() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    live_bot(&engine).await;
    let alice = name("alice");
    let set = |telegram: &Value, done: bool| {
        let mut all = answers(&json!({}), telegram, &[]);
        all.push((r#""method":"config.patch""#, json!({ "ok": done }).to_string()));
        platform.host.state().answers = all;
        platform.host.state().posted.clear();
    };
    let patches = || {
        let posted = platform.host.state().posted.clone();
        let patch = |body: &String| {
            let body: Value = serde_json::from_str(body).unwrap();
            let raw = body["params"]["raw"].as_str()?;
            Some(serde_json::from_str::<Value>(raw).unwrap()["channels"]["telegram"].clone())
        };
        posted.iter().filter_map(patch).collect::<Vec<_>>()
    };
    let pairing = json!({ "dmPolicy": "pairing", "allowFrom": ["7"] });
    set(&pairing, true);
    engine.approve_telegram(&Actor::system(), &alice, 4242).await.unwrap();
    assert_eq!(patches(), [json!({ "allowFrom": ["7", "4242"] })]);
    let events = engine.own_events(&alice, 10).await.unwrap();
    let noted =
        |what: &str| events.iter().any(|e| e.kind == EventKind::Changed && e.detail.contains(what));
    assert!(noted("approved the Telegram user 4242"), "{events:?}");
    // Approving an approved user, or closing a closed bot, changes nothing.
    set(&pairing, true);
    engine.approve_telegram(&Actor::system(), &alice, 7).await.unwrap();
    engine.close_telegram(&Actor::system(), &alice).await.unwrap();
    assert_eq!(patches(), [Value::Null; 0]);
    set(&json!({ "dmPolicy": "open", "allowFrom": ["*", 7] }), true);
    engine.close_telegram(&Actor::system(), &alice).await.unwrap();
    assert_eq!(patches(), [json!({ "dmPolicy": "pairing", "allowFrom": ["7"] })]);
    // Each attempt meets a concurrent change.
    set(&pairing, false);
    let refused = engine.approve_telegram(&Actor::system(), &alice, 4242).await.unwrap_err();
    assert!(matches!(refused, EngineError::Conflict(_)), "{refused}");
    assert_eq!(patches().len(), 3);
}

#[tokio::test]
async fn the_doctor_names_open_bots_and_claims_nothing_of_those_that_do_not_answer() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    live_bot(&engine).await;
    let check = async || {
        let all = engine.diagnose().await;
        all.into_iter().find(|finding| finding.name == "telegram").unwrap()
    };
    let silent = check().await;
    assert!(silent.detail.contains("1 of 1 did not answer"), "{silent:?}");
    let open = json!({ "dmPolicy": "open", "allowFrom": ["*"] });
    platform.host.state().answers = answers(&json!({}), &open, &[]);
    let found = check().await;
    assert_eq!(found.status, CheckStatus::Warning);
    assert!(found.detail.contains("alice"), "{found:?}");
    assert!(found.fix.is_some_and(|fix| fix.contains("startclaw pairing alice close")));
}

#[tokio::test]
async fn a_new_bot_asks_for_approval_unless_it_was_opened_by_choice() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    for (text, access, policy) in
        [("alice", TelegramAccess::Pairing, "pairing"), ("bob", TelegramAccess::Open, "open")]
    {
        let asked = engine.provision(&Actor::system(), with_bot(text, access), None).await.unwrap();
        let id = over(&engine, &asked).await.instance;
        assert_eq!(channel(&platform, &id)["dmPolicy"], policy);
        let restart = engine.restart(&Actor::system(), &name(text), None).await.unwrap();
        over(&engine, &restart).await;
        assert_eq!(channel(&platform, &id)["dmPolicy"], policy, "its owner decides from then on");
        assert_eq!(platform.host.state().instance(&id).starts, 2, "no start without a request");
        let status = engine.telegram(&name(text)).await.unwrap();
        assert_eq!(status.connection, TelegramConnection::Unverified, "a token alone says nothing");
    }
    let no_bot = ProvisionRequest { telegram_access: TelegramAccess::Open, ..request("carol") };
    let refused = engine.provision(&Actor::system(), no_bot, None).await.unwrap_err();
    assert!(matches!(refused, EngineError::Invalid { field, .. } if field == "telegram_access"));
}

#[tokio::test]
async fn a_configuration_that_is_made_anew_is_never_open() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let open = with_bot("alice", TelegramAccess::Open);
    let asked = engine.provision(&Actor::system(), open, None).await.unwrap();
    let id = over(&engine, &asked).await.instance;
    assert_eq!(channel(&platform, &id)["allowFrom"], json!(["*"]));
    {
        let mut world = platform.host.state();
        world.instance(&id).volumes.insert(0, Some("{ not json".into()));
        world.instance(&id).behaviour = Behaviour::Exits(78);
        world.end(&id, 78, false);
    }
    until("a readable configuration is there", async || {
        platform.host.state().instance(&id).config().is_some_and(|c| c.starts_with(b"{\n"))
    })
    .await;
    assert_eq!(channel(&platform, &id)["dmPolicy"], "pairing");
    assert!(channel(&platform, &id).get("allowFrom").is_none());
    platform.host.state().instance(&id).behaviour = Behaviour::Healthy;
    becomes(&engine, "alice", InstanceState::Live).await;
}

#[tokio::test]
async fn an_approval_names_what_is_wrong_with_it() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    let actor = Actor::system();
    let refused = engine.approve_telegram(&actor, &name("alice"), 0).await.unwrap_err();
    assert!(matches!(refused, EngineError::Invalid { .. }), "{refused}");
    let refused = engine.approve_telegram(&actor, &name("alice"), 7).await.unwrap_err();
    assert!(refused.to_string().contains("has no Telegram bot"), "{refused}");
    let refused = engine.close_telegram(&actor, &name("nosuch")).await.unwrap_err();
    assert!(matches!(refused, EngineError::NoInstance(_)), "{refused}");
}
