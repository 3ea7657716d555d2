//! Recovery after the loss of everything except the bucket and the recovery kit.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use end_to_end::{Bucket, Platform, fake, platform::OPERATION, until};
use serde_json::json;

const MODEL_KEY: &str = "sk-canary-0a1b2c";
const BOT_TOKEN: &str = "654321:AAE-canary-9f8e7d";
const ANSWER: Duration = Duration::from_secs(90);

/// Debian's age.
fn age(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn everything_comes_back_from_the_bucket_and_the_kit() {
    let model = fake::model::Model::start(MODEL_KEY).await;
    let telegram = fake::telegram::Telegram::start(BOT_TOKEN).await;
    let bucket = Bucket::start().await;
    let extra =
        format!("{}\n[instances]\ntelegram_api = \"{}\"\n", bucket.settings(), telegram.api_root());
    let allow = [model.address(), telegram.address()];
    let mut platform = Platform::start(13, &allow, &extra).await;
    let request = json!({
        "name": "alice", "owner": "alice@example.com",
        "provider": { "kind": "custom", "model": "echo-1", "base_url": model.base_url() },
        "api_key": MODEL_KEY, "telegram_bot_token": BOT_TOKEN,
        "telegram_access": "open",
    });
    let (status, operation) = platform.api("POST", "/provision", Some(request)).await;
    assert_eq!(status, 202, "{operation}");
    assert_eq!(platform.over(&operation).await["state"], "succeeded");
    platform.provision("bob").await;
    say(&platform, &telegram, "repeat pelicans", "echo: pelicans").await;
    for name in ["alice", "bob"] {
        let taken = platform.json(&["backup", name, "--json"]).await;
        assert_eq!(taken["state"], "succeeded", "{taken:#}");
    }
    // An earlier one, from the start of the daemon, does not know these instances.
    let done = std::time::SystemTime::now();
    until("the control plane is in the bucket", OPERATION, async || {
        bucket.newest("control-plane/snapshots").filter(|time| *time > done)
    })
    .await;

    // Only these two are stored away from the host.
    let safe = tempfile::tempdir().unwrap();
    let (kit, identity) = (safe.path().join("startclaw.kit"), safe.path().join("operator.txt"));
    age("age-keygen", &["--output", text(&identity)]);
    let recipient = age("age-keygen", &["-y", text(&identity)]);
    let made = ["recovery-kit", "--recipient", &recipient, "--output", text(&kit), "--json"];
    platform.json(&made).await;
    assert_eq!(platform.run(&made, "").await.status.code(), Some(6), "it overwrites no kit");
    let by_hand = age("age", &["--decrypt", "--identity", text(&identity), text(&kit)]);
    let key = std::fs::read_to_string(platform.path("data/master.key")).unwrap();
    assert!(by_hand.contains(key.trim()), "age itself opens it");

    let doctor = platform.json(&["doctor", "--json"]).await;
    let backups = doctor["checks"].as_array().unwrap().iter().find(|f| f["name"] == "backups");
    assert_eq!(backups.unwrap()["status"], "ok", "{doctor:#}");
    until("the metrics report it", OPERATION, async || {
        let metric = "startclaw_last_backup_timestamp_seconds{name=\"bob\"}";
        platform.metrics().await.contains(metric).then_some(())
    })
    .await;

    let recover = ["recover", "--kit", text(&kit), "--identity", text(&identity), "--json"];
    refused(&platform, &recover, "stop it first").await;
    platform.kill_daemon();
    refused(&platform, &recover, "already contains instances").await;
    platform.lose_machine();
    let stranger = safe.path().join("stranger.txt");
    age("age-keygen", &["--output", text(&stranger)]);
    let theirs = ["recover", "--kit", text(&kit), "--identity", text(&stranger)];
    refused(&platform, &theirs, "another recipient").await;
    let elsewhere = [&recover[..], &["--from", "gs://backups/other"]].concat();
    refused(&platform, &elsewhere, "no backup of StartClaw's database").await;

    let from = [&recover[..], &["--from", "gs://backups/some/prefix"]].concat();
    let recovered = platform.json(&from).await;
    let names: Vec<_> = recovered["instances"].as_array().unwrap().iter().collect();
    assert_eq!(names.len(), 2, "{recovered:#}");
    assert!(names.iter().all(|i| i["snapshot"].is_string()), "{recovered:#}");
    platform.start_daemon().await;
    platform.start_caddy().await;
    for name in ["alice", "bob"] {
        platform.becomes(name, "live").await;
        let cookie = platform.sign_in(name).await;
        assert_eq!(platform.page(name, &cookie).await, Some(200));
    }
    say(&platform, &telegram, "repeat storks", "echo: storks").await;
    assert!(model.last().contains("pelicans"), "it remembers: {}", model.last());
    let again = platform.json(&["backup", "alice", "--json"]).await;
    assert_eq!(again["state"], "succeeded", "{again:#}");
    let listed = platform.json(&["backups", "alice", "--json"]).await;
    assert_eq!(listed["backups"].as_array().unwrap().len(), 2, "{listed:#}");
    erased(&platform, &bucket).await;
}

/// The backups of a removed instance are deleted from the bucket on request, and no others.
async fn erased(platform: &Platform, bucket: &Bucket) {
    let id = async |name: &str| platform.status(name).await["id"].as_str().unwrap().to_owned();
    let (alice, bob) = (id("alice").await, id("bob").await);
    platform.json(&["deprovision", "bob", "--yes", "--json"]).await;
    assert!(bucket.objects(&bob) > 0, "a removed instance keeps its backups");
    let kept = bucket.objects(&alice);
    let done = platform.json(&["backups", "erase", "bob", "--yes", "--json"]).await;
    assert_eq!(done["pending"], 0, "{done:#}");
    assert_eq!(bucket.objects(&bob), 0, "{done:#}");
    assert_eq!(bucket.objects(&alice), kept);
}

/// Sends a message to the bot and waits for the answer.
async fn say(platform: &Platform, telegram: &fake::telegram::Telegram, text: &str, answer: &str) {
    // Until the webhook is set again, nothing listens at the old one.
    until(&format!("{text:?} is taken"), ANSWER, async || {
        let webhook = telegram.webhook()?;
        let sent = platform
            .client()
            .post(&webhook.url)
            .header("x-telegram-bot-api-secret-token", &webhook.secret)
            .json(&telegram.update(text))
            .send()
            .await
            .ok()?;
        (sent.status() == 200).then_some(())
    })
    .await;
    until("the answer arrives at Telegram", ANSWER, async || {
        telegram.sent().iter().any(|sent| sent == answer).then_some(())
    })
    .await;
}

async fn refused(platform: &Platform, arguments: &[&str], why: &str) {
    let output = platform.run(arguments, "").await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(why), "{arguments:?}: {said}");
}
