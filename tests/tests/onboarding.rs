//! The ten steps of onboarding, and sign-in in a browser.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use end_to_end::{Platform, browser, fake, until};
use serde_json::json;

const MODEL_KEY: &str = "sk-canary-7f3a9c";
const BOT_TOKEN: &str = "123456:AAE-canary-51bd0e";
const ANSWER: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn a_user_signs_up_messages_the_bot_and_is_answered() {
    let model = fake::model::Model::start(MODEL_KEY).await;
    let telegram = fake::telegram::Telegram::start(BOT_TOKEN).await;
    let extra = format!("[instances]\ntelegram_api = \"{}\"\n", telegram.api_root());
    let platform = Platform::start(1, &[model.address(), telegram.address()], &extra).await;

    // 2: the frontend calls the API. 3 to 7: volume, config, container, edge.
    let (status, operation) = platform
        .api(
            "POST",
            "/provision",
            Some(json!({
                "name": "alice", "owner": "alice@example.com",
                "provider": { "kind": "custom", "model": "echo-1", "base_url": model.base_url() },
                "api_key": MODEL_KEY, "telegram_bot_token": BOT_TOKEN,
            })),
        )
        .await;
    assert_eq!(status, 202, "{operation}");
    let done = platform.over(&operation).await;
    assert_eq!(done["state"], "succeeded", "{done:#}");
    let steps: Vec<_> =
        done["steps"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    for step in ["volume", "config", "container", "start", "live"] {
        assert!(steps.contains(&step), "{steps:?}");
    }

    // 8: the subdomain is live over TLS, and without a session it explains how to sign in.
    let origin = platform.origin("alice");
    let stranger = platform.client().get(&origin).send().await.unwrap();
    assert_eq!(stranger.status(), 401);
    let cookie = platform.sign_in("alice").await;
    let page = platform.client().get(&origin).header("cookie", &cookie).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().to_lowercase().contains("openclaw"));

    // 9: the bot set its webhook at Telegram; a user writes to it.
    let webhook = until("the bot has set its webhook", ANSWER, async || telegram.webhook()).await;
    assert_eq!(webhook.url, format!("{origin}/telegram-webhook"));
    let deliver = async |text: &str, secret: &str| {
        platform
            .client()
            .post(&webhook.url)
            .header("x-telegram-bot-api-secret-token", secret)
            .json(&telegram.update(text))
            .send()
            .await
            .unwrap()
    };
    assert_eq!(deliver("let me in", "wrong").await.status(), 401);
    let accepted = deliver("repeat pelicans", &webhook.secret).await;
    assert_eq!(accepted.status(), 200);
    assert_eq!(accepted.headers()["x-openclaw-delivery-accepted"], "durable");

    // Until the owner approves the user, the bot answers with the pairing text only.
    let refused = until("the bot answers a stranger", ANSWER, async || telegram.sent().pop()).await;
    assert!(refused.contains("4242") && !refused.contains("pelicans"), "{refused}");
    assert_eq!(model.requests(), 0, "a stranger reaches no agent");
    an_owner_approves_the_person(&platform).await;

    // 10: OpenClaw responds, once it has loaded the approval.
    until("an approved person is answered", ANSWER, async || {
        deliver("repeat pelicans", &webhook.secret).await;
        let answered = async {
            while !telegram.sent().iter().any(|text| text == "echo: pelicans") {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), answered).await.ok()
    })
    .await;
    assert!(model.requests() > 0);

    nowhere_but_in_the_vault(&platform).await;
    a_changed_key_is_used(&platform, &model, &telegram, &webhook).await;
    an_invented_token_is_refused(&platform).await;
}

/// The request is shown, approved by its user id, and then gone.
async fn an_owner_approves_the_person(platform: &Platform) {
    let asked = until("the request is shown", ANSWER, async || {
        let (status, telegram) = platform.api("GET", "/telegram?name=alice", None).await;
        assert_eq!(status, 200, "{telegram}");
        let is_whole = telegram["requests"] != json!([]) && telegram["connection"] == "connected";
        is_whole.then_some(telegram)
    })
    .await;
    assert_eq!((&asked["bot"], &asked["open"]), (&json!("claw_bot"), &json!(false)), "{asked:#}");
    assert_eq!(asked["requests"][0]["user"], 4242, "{asked:#}");
    assert_eq!(asked["requests"][0]["username"], "alice", "{asked:#}");
    let approval = json!({ "name": "alice", "user": 4242 });
    let (status, now) = platform.api("POST", "/telegram/approve", Some(approval)).await;
    assert_eq!(status, 200, "{now}");
    until("the approval is shown", ANSWER, async || {
        let (_, now) = platform.api("GET", "/telegram?name=alice", None).await;
        (now["allowed"] == json!([4242]) && now["requests"] == json!([])).then_some(())
    })
    .await;
}

/// A token that Telegram does not know is never shown as connected.
async fn an_invented_token_is_refused(platform: &Platform) {
    let set = ["secrets", "set", "alice", "TELEGRAM_BOT_TOKEN"];
    let set = platform.run(&set, "654321:AAE-invented\n").await;
    assert!(set.status.success(), "{}", platform.report(&set));
    platform.becomes("alice", "live").await;
    until("the token is refused", ANSWER, async || {
        let (status, telegram) = platform.api("GET", "/telegram?name=alice", None).await;
        assert_eq!(status, 200, "{telegram}");
        (telegram["connection"] == "refused").then_some(())
    })
    .await;
}

/// The planted secrets are in no file, response or log.
async fn nowhere_but_in_the_vault(platform: &Platform) {
    let container = platform.container("alice");
    let volume = platform.objects("volume").remove(0);
    let mount = platform.docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", &volume]);
    let mut places = vec![
        ("docker inspect", platform.docker(&["inspect", &container])),
        ("docker logs", platform.docker(&["logs", &container])),
        ("the daemon's log", platform.daemon_log()),
        ("Caddy's log", std::fs::read_to_string(platform.path("caddy.log")).unwrap_or_default()),
        (
            "the access log",
            std::fs::read_to_string(platform.path("access.log")).unwrap_or_default(),
        ),
        ("the environment", platform.docker(&["exec", &container, "env"])),
    ];
    for path in ["/status", "/operations", "/events", "/secrets?name=alice", "/tokens"] {
        places.push((path, platform.api("GET", path, None).await.1.to_string()));
    }
    for (place, text) in places {
        assert!(!text.contains("canary"), "a secret is in {place}");
    }
    for folder in [mount, platform.path("data").display().to_string()] {
        let found = std::process::Command::new("grep")
            .args(["-rlaF", "canary-", &folder])
            .output()
            .expect("grep runs");
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "a secret is in a file");
    }
}

/// `secrets set` passes the new key to OpenClaw.
async fn a_changed_key_is_used(
    platform: &Platform,
    model: &fake::model::Model,
    telegram: &fake::telegram::Telegram,
    webhook: &fake::telegram::Webhook,
) {
    model.change_key("sk-canary-second");
    let set =
        platform.run(&["secrets", "set", "alice", "MODEL_API_KEY"], "sk-canary-second\n").await;
    assert!(set.status.success(), "{}", platform.report(&set));
    platform.becomes("alice", "live").await;
    until("an update is accepted again", ANSWER, async || {
        let answer = platform
            .client()
            .post(&webhook.url)
            .header("x-telegram-bot-api-secret-token", &webhook.secret)
            .json(&telegram.update("repeat herons"))
            .send()
            .await
            .ok()?;
        answer.headers().contains_key("x-openclaw-delivery-accepted").then_some(())
    })
    .await;
    until("the answer with the new key arrives", ANSWER, async || {
        telegram.sent().iter().any(|t| t == "echo: herons").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn a_person_signs_in_at_a_browser_and_a_neighbours_cookie_opens_nothing() {
    let platform = Platform::start(2, &[], "").await;
    for name in ["alice", "bob"] {
        let made =
            platform.run(&["provision", name, "--owner", &format!("{name}@example.com")], "").await;
        assert!(made.status.success(), "{}", platform.report(&made));
    }
    let link = platform.json(&["open", "alice", "--json"]).await;
    let seen = browser::run(
        &platform,
        "sign-in",
        json!({ "link": link["url"], "origin": platform.origin("alice"), "otherOrigin": platform.origin("bob") }),
    )
    .await;
    let connected =
        |s: &serde_json::Value| s["closed"] == false && s["received"].as_u64() >= Some(3);
    assert!(seen["sockets"].as_array().unwrap().iter().any(connected), "{seen:#}");
    assert!(seen["url"].as_str().unwrap().starts_with(&platform.origin("alice")), "{seen:#}");
    // Without a model, the page asks for a provider's key, but not for a token of its own.
    let text = seen["text"].as_str().unwrap().to_lowercase();
    assert!(!text.contains("pairing required") && !text.contains("gateway token"), "{seen:#}");
    let cookie = &seen["cookies"][0];
    assert_eq!(cookie["domain"], format!("alice.{}", platform.domain()), "host-only: {cookie}");
    assert_eq!((&cookie["secure"], &cookie["httpOnly"]), (&json!(true), &json!(true)));
    assert_eq!(seen["usedTwice"], false, "{seen:#}");
    assert_eq!(seen["otherStatus"], 401, "{seen:#}");
    assert_eq!(seen["carriedStatus"], 401, "{seen:#}");
}
