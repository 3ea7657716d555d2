//! Backups and restores of a real OpenClaw: it remembers what it learned before the backup, and not
//! what came later.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use end_to_end::{Platform, fake, until};
use serde_json::json;

const MODEL_KEY: &str = "sk-canary-0a1b2c";
const BOT_TOKEN: &str = "654321:AAE-canary-9f8e7d";
const ANSWER: Duration = Duration::from_secs(90);

/// A user who writes to the bot.
struct Chat<'a> {
    platform: &'a Platform,
    telegram: &'a fake::telegram::Telegram,
}

impl Chat<'_> {
    /// Sends a message and waits for the answer.
    async fn say(&self, text: &str, answer: &str) {
        let webhook =
            until("the bot has set its webhook", ANSWER, async || self.telegram.webhook()).await;
        let sent = self
            .platform
            .client()
            .post(&webhook.url)
            .header("x-telegram-bot-api-secret-token", &webhook.secret)
            .json(&self.telegram.update(text))
            .send()
            .await
            .unwrap();
        assert_eq!(sent.status(), 200);
        until("the answer arrives at Telegram", ANSWER, async || {
            self.telegram.sent().iter().any(|sent| sent == answer).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn it_remembers_what_was_said_before_the_backup_and_not_what_was_said_after() {
    let model = fake::model::Model::start(MODEL_KEY).await;
    let telegram = fake::telegram::Telegram::start(BOT_TOKEN).await;
    let extra = format!("[instances]\ntelegram_api = \"{}\"\n", telegram.api_root());
    let platform = Platform::start(10, &[model.address(), telegram.address()], &extra).await;
    let (status, operation) = platform
        .api(
            "POST",
            "/provision",
            Some(json!({
                "name": "alice", "owner": "alice@example.com",
                "provider": { "kind": "custom", "model": "echo-1", "base_url": model.base_url() },
                "api_key": MODEL_KEY, "telegram_bot_token": BOT_TOKEN,
                "telegram_access": "open",
            })),
        )
        .await;
    assert_eq!(status, 202, "{operation}");
    assert_eq!(platform.over(&operation).await["state"], "succeeded");
    let chat = Chat { platform: &platform, telegram: &telegram };
    chat.say("repeat pelicans", "echo: pelicans").await;

    // Existing connections stay open, and the pause is hardly noticeable.
    let cookie = platform.sign_in("alice").await;
    let run = platform.run_of("alice");
    let taken = platform.json(&["backup", "alice", "--json"]).await;
    assert_eq!(taken["state"], "succeeded", "{taken:#}");
    assert_eq!(platform.run_of("alice"), run, "it was not restarted");
    assert_eq!(platform.page("alice", &cookie).await, Some(200));
    let steps: Vec<_> =
        taken["steps"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(steps, ["scan", "quiesce", "freeze", "commit"]);
    println!("{:#}", taken["steps"]);
    // It was quiesced, and works again.
    chat.say("repeat herons", "echo: herons").await;
    assert!(model.last().contains("pelicans"), "it has the whole conversation");

    let listed = platform.json(&["backups", "alice", "--json"]).await;
    assert_eq!(listed["backups"][0]["id"], taken["snapshot"]);
    assert!(listed["backups"][0]["files"].as_u64().unwrap() > 5, "{listed:#}");
    let status = platform.status("alice").await;
    assert_eq!(status["last_backup"], listed["backups"][0]["taken_at"]);

    a_drill_finds_the_backup_good(&platform, &telegram, &run).await;

    let today = listed["backups"][0]["taken_at"].as_str().unwrap()[..10].to_owned();
    let restored = platform.json(&["restore", "alice", &today, "--json"]).await;
    assert_eq!(restored["state"], "succeeded", "{restored:#}");
    println!("{:#}", restored["steps"]);
    chat.say("repeat storks", "echo: storks").await;
    let conversation = model.last();
    assert!(conversation.contains("pelicans"), "it remembers the first");
    assert!(!conversation.contains("herons"), "and not the second: {conversation}");

    let undone = platform.json(&["restore", "alice", "--undo", "--json"]).await;
    assert_eq!(undone["state"], "succeeded", "{undone:#}");
    chat.say("repeat cranes", "echo: cranes").await;
    let conversation = model.last();
    assert!(conversation.contains("herons") && !conversation.contains("storks"));

    a_removed_one_comes_back(&platform, &chat, &model).await;
    nothing_in_the_clear(&platform);
    plain_restic_opens_it_with_the_master_key(&platform).await;
}

/// It boots beside the live instance, which is not affected, and sends no messages.
async fn a_drill_finds_the_backup_good(
    platform: &Platform,
    telegram: &fake::telegram::Telegram,
    run: &str,
) {
    let said = telegram.sent().len();
    let done = platform.json(&["drill", "alice", "--json"]).await;
    assert_eq!(done["state"], "succeeded", "{done:#}");
    println!("{:#}", done["steps"]);
    let checked = done["steps"][2]["detail"].as_str().unwrap();
    let good: u32 = checked.split(' ').next().unwrap().parse().unwrap();
    assert!(good >= 2 && checked.ends_with("are good"), "{checked}");
    assert_eq!(telegram.sent().len(), said);
    assert_eq!(platform.run_of("alice"), run, "it was not restarted");
    assert_eq!(platform.objects("volume").len(), 1, "its volume is removed");
    assert_eq!(platform.objects("container").len(), 1);
}

/// The procedure of docs/backups.md, literally.
async fn plain_restic_opens_it_with_the_master_key(platform: &Platform) {
    let id = platform.status("alice").await["id"].as_str().unwrap().to_owned();
    let script = r#"
        set -euo pipefail
        key=$( (cat master.key | tr -d '\n'; echo =) | base64 -d | od -An -tx1 | tr -d ' \n')
        RESTIC_PASSWORD=$(printf %s "repository-password/$ID" |
            openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" | sed 's/.* //')
        export RESTIC_PASSWORD
        restic --no-cache --repo "backups/repositories/$ID" check
    "#;
    let output = std::process::Command::new("bash")
        .args(["-c", script])
        .env("ID", id)
        .current_dir(platform.path("data"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Deprovision takes a final backup; restore recreates the instance with its secrets.
async fn a_removed_one_comes_back(
    platform: &Platform,
    chat: &Chat<'_>,
    model: &fake::model::Model,
) {
    let gone = platform.json(&["deprovision", "alice", "--yes", "--json"]).await;
    assert_eq!(gone["state"], "succeeded", "{gone:#}");
    assert!(platform.objects("volume").is_empty() && gone["snapshot"].is_string());
    let back = platform.json(&["restore", "alice", "latest", "--json"]).await;
    assert_eq!(back["state"], "succeeded", "{back:#}");
    chat.say("repeat ibises", "echo: ibises").await;
    assert!(model.last().contains("herons"), "it remembers");
}

/// Neither secrets of the vault nor messages are in a repository in plain text.
fn nothing_in_the_clear(platform: &Platform) {
    let repositories = platform.path("data/backups/repositories");
    assert!(repositories.is_dir());
    for text in ["canary", "pelicans"] {
        let found = std::process::Command::new("grep")
            .args(["-rlaF", text])
            .arg(&repositories)
            .output()
            .expect("grep runs");
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{text} can be read");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn a_frozen_instance_goes_on_by_itself_when_the_daemon_stays_away() {
    let mut platform = Platform::start(11, &[], "").await;
    platform.provision("alice").await;
    let container = platform.container("alice");
    let status = |platform: &Platform| {
        platform.docker(&["inspect", "--format", "{{.State.Status}}", &container])
    };
    platform.kill_daemon();
    let socket = "unix:///var/run/docker.sock";
    let watchdog = std::process::Command::new(end_to_end::platform::program())
        .args(["unfreeze", "--docker", socket, "--container", &container, "--after", "2"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    platform.docker(&["pause", &container]);
    assert_eq!(status(&platform).trim(), "paused");
    let begun = Instant::now();
    until("it is unfrozen", Duration::from_secs(10), async || {
        (status(&platform).trim() == "running").then_some(())
    })
    .await;
    assert!(begun.elapsed() > Duration::from_secs(1), "not before its time");
    assert!(watchdog.wait_with_output().unwrap().status.success());

    // Without a watchdog too, within 10 s of the daemon's start.
    platform.docker(&["pause", &container]);
    platform.start_daemon().await;
    until("the daemon unfreezes it", Duration::from_secs(10), async || {
        (status(&platform).trim() == "running").then_some(())
    })
    .await;
    platform.becomes("alice", "live").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn kill_9_of_the_daemon_during_backups_leaves_the_instance_live_and_the_repository_good() {
    let mut platform = Platform::start(12, &[], "").await;
    platform.provision("alice").await;
    let run = platform.run_of("alice");
    for delay in [50, 300, 700, 1100, 1500, 2000] {
        let (status, operation) =
            platform.api("POST", "/backup", Some(json!({ "name": "alice" }))).await;
        assert_eq!(status, 202, "{operation}");
        tokio::time::sleep(Duration::from_millis(delay)).await;
        platform.kill_daemon();
        platform.start_daemon().await;
        let done = platform.over(&operation).await;
        assert_eq!(done["state"], "succeeded", "killed after {delay} ms: {done:#}");
        assert!(platform.is_running("alice"));
    }
    // The same for a kill while a restore test boots; it leaves nothing behind.
    let (status, operation) = platform.api("POST", "/drill", Some(json!({}))).await;
    assert_eq!(status, 202, "{operation}");
    until("the drill boots", ANSWER, async || {
        let containers = platform.docker(&["ps", "--format", "{{.Names}}"]);
        let drill = |name: &str| name.starts_with(&platform.prefix()) && name.ends_with("-drill");
        containers.lines().any(drill).then_some(())
    })
    .await;
    platform.kill_daemon();
    platform.start_daemon().await;
    let done = platform.over(&operation).await;
    assert_eq!(done["state"], "succeeded", "{done:#}");
    assert_eq!((platform.objects("container").len(), platform.objects("volume").len()), (1, 1));
    assert_eq!(platform.run_of("alice"), run, "it was never restarted");
    let restored = platform.json(&["restore", "alice", "latest", "--json"]).await;
    assert_eq!(restored["state"], "succeeded", "{restored:#}");

    // A backup of a running instance carries its owner lease, which must not hold the copy.
    let taken = platform.json(&["backup", "alice", "--json"]).await;
    assert_eq!(taken["state"], "succeeded", "{taken:#}");
    let copied = platform.json(&["restore", "alice", "latest", "--as", "bob", "--json"]).await;
    assert_eq!(copied["state"], "succeeded", "{copied:#}");
    assert!(steps_failed(&copied).is_empty(), "it starts at the first attempt: {copied:#}");
    platform.becomes("bob", "live").await;
}

fn steps_failed(operation: &serde_json::Value) -> Vec<&serde_json::Value> {
    let steps = operation["steps"].as_array().unwrap();
    steps.iter().filter(|step| step["state"] == "failed").collect()
}
