//! The journey of a new user.

use std::time::Duration;

use end_to_end::{Platform, browser, fake, person::PASSWORD, until};
use serde_json::{Value, json};

use crate::{BOT_TOKEN, HEAVY, MODEL_KEY, OPEN};

const ANSWER: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn a_new_user_signs_up_sees_it_come_alive_looks_after_it_and_leaves() {
    let model = fake::model::Model::start(MODEL_KEY).await;
    let telegram = fake::telegram::Telegram::start(BOT_TOKEN).await;
    let extra = format!("{OPEN}[instances]\ntelegram_api = \"{}\"\n", telegram.api_root());
    let platform = Platform::start(14, &[model.address(), telegram.address()], &extra).await;
    let parameters = json!({
        "site": platform.site(), "origin": platform.origin("alice"),
        "email": "alice@example.com", "password": PASSWORD,
        "baseUrl": model.base_url(), "key": MODEL_KEY, "token": BOT_TOKEN,
    });
    // Sends a word to the bot, waits for the answer, and returns the conversation that the model
    // received.
    let say = async |ask: Value| {
        let word = ask["say"].as_str().unwrap();
        let (update, answer) =
            (telegram.update(&format!("repeat {word}")), format!("echo: {word}"));
        until("an update is accepted", ANSWER, async || {
            let webhook = telegram.webhook()?;
            let request = platform.client().post(&webhook.url).json(&update);
            let request = request.header("x-telegram-bot-api-secret-token", &webhook.secret);
            request.send().await.ok()?.status().is_success().then_some(())
        })
        .await;
        until("the answer arrives at Telegram", ANSWER, async || {
            telegram.sent().contains(&answer).then_some(())
        })
        .await;
        json!(model.last())
    };
    let seen = browser::run_with(&platform, "portal-user", parameters, say).await;

    assert_eq!(seen["steps"], json!(["Step 1 of 3", "Step 2 of 3", "Step 3 of 3"]));
    assert_eq!(seen["name"], "alice", "names are lowercase");
    assert_eq!(seen["nameAnswer"], format!("alice.{} is free.", platform.domain()));
    assert_eq!(seen["keyAnswer"], "Key verified.");
    let reloaded = &seen["reloaded"];
    assert_eq!(reloaded["step"], "Step 2 of 3", "not past a key that is asked for again");
    assert_eq!(reloaded["provider"], "custom");
    assert_eq!((&reloaded["baseUrl"], &reloaded["key"]), (&json!(model.base_url()), &json!("")));
    assert!(reloaded["error"].as_str().unwrap().contains("Enter it again"), "{reloaded:#}");
    let stored = reloaded["stored"].as_str().unwrap();
    assert!(stored.contains("alice") && !stored.contains("canary"), "no secret is kept: {stored}");
    assert_eq!((&seen["backAt"], &seen["backKey"]), (&json!("Step 2 of 3"), &json!(true)));
    for why in ["offline", "refused"] {
        assert_eq!(seen["lost"][why], "Not up to date. Trying again…", "{why}");
    }
    assert_eq!(seen["telegramAnswer"], "This is @claw_bot.");
    for what in ["provision", "restart", "backup", "restore"] {
        let way = &seen[what];
        assert!(way["changes"].as_u64() >= Some(2), "{what} was shown live: {way:#}");
        assert_eq!(way["reloaded"], false, "{what}");
        println!("{what}: {} s, seen to change {} times", way["seconds"], way["changes"]);
    }
    assert_eq!(seen["connected"], true, "{seen:#}");
    let text = seen["text"].as_str().unwrap().to_lowercase();
    assert!(!text.contains("pairing required") && !text.contains("gateway token"), "{text}");
    let keys = seen["keys"].to_string();
    assert!(!keys.contains("canary") && keys.contains("set "), "keys are never shown: {keys}");
    let restored = seen["restored"].as_str().unwrap();
    assert!(restored.contains("pelicans"), "it remembers what was said before the backup");
    assert!(!restored.contains("herons"), "and not what was said after it");
    assert_eq!((&seen["before"], &seen["after"]), (&json!(200), &json!(401)), "both sessions end");
    let open = (&seen["inside"], &seen["cut"]);
    assert_eq!(open, (&json!(true), &json!(true)), "open connections to the instance end too");
    assert_eq!(seen["home"], "/sign-in");
    assert_eq!(seen["liveFaults"], json!([]), "{:#}", seen["liveFaults"]);
    assert_eq!(seen["faults"], json!([]), "{:#}", seen["faults"]);
    assert!(seen["liveWeight"].as_u64() < Some(HEAVY), "{}", seen["liveWeight"]);
    println!("first paint of the front page: {} ms", seen["firstPaint"]);
    println!("scripts and styles of the operation page: {} bytes", seen["liveWeight"]);
}
