//! The lifecycle of an instance over the API, and what is never shown.

use axum::{
    body::Body,
    http::{Method, Request},
};
use startclaw_model::{Scope, TimeZone, Timestamp};

use crate::test_platform::{TestPlatform, delete, get, post, send, with_body};

const CANARY: &str = "sk-canary-9d1f";

#[tokio::test]
async fn alerts_are_listed_and_limited() {
    let platform = TestPlatform::new().await;
    let socket = platform.socket();
    let none = get(&socket, "/alerts").await;
    assert_eq!(none.json()["alerts"].as_array().unwrap().len(), 0, "{}", none.text);
    get(&socket, "/alerts?limit=0").await.problem(422);
    get(&socket, "/alerts?limit=1001").await.problem(422);
    get(&socket, "/alerts?name=alice").await.problem(422);
}

#[tokio::test]
async fn an_instance_lives_and_goes_and_its_secrets_never_show() {
    let platform = TestPlatform::new().await;
    let socket = platform.socket();
    let mut seen = String::new();
    let body = format!(
        r#"{{"name":"alice","provider":{{"kind":"anthropic"}},"api_key":"{CANARY}",
            "telegram_bot_token":"123:{CANARY}","limits":{{"cpus":2}}}}"#
    );
    let made = post(&socket, "/provision", &body).await;
    assert_eq!(made.status, 202, "{}", made.text);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("/operations/{id}"));
    platform.done(&id).await;
    seen += &made.text;

    let status = get(&socket, "/status?name=alice").await;
    let alice = &status.json()["instances"][0];
    assert_eq!(alice["state"], "live");
    assert_eq!(alice["owner"], "admin");
    assert_eq!(alice["url"], "https://alice.claws.test:8443");
    assert_eq!(alice["limits"]["cpus"], 2.0);
    assert_eq!(alice["limits"]["memory_soft_mib"], 512, "left out: the platform's");
    seen += &status.text;

    let set = r#"{"name":"alice","secret":"MY_KEY","value":"sk-canary-9d1f"}"#;
    let set = with_body(&socket, Method::PUT, "/secrets", set).await;
    assert_eq!(set.status, 202, "{}", set.text);
    platform.done(set.json()["id"].as_str().unwrap()).await;
    let secrets = get(&socket, "/secrets?name=alice").await;
    assert!(secrets.text.contains("MY_KEY") && secrets.text.contains("MODEL_API_KEY"));
    let removed = delete(&socket, "/secrets?name=alice&secret=MY_KEY").await;
    platform.done(removed.json()["id"].as_str().unwrap()).await;

    let restart = post(&socket, "/restart", r#"{"name":"alice"}"#).await;
    platform.done(restart.json()["id"].as_str().unwrap()).await;

    let operations = get(&socket, "/operations?name=alice").await;
    assert_eq!(operations.json()["operations"].as_array().unwrap().len(), 4);
    let limited = get(&socket, "/operations?limit=2").await;
    assert_eq!(limited.json()["operations"].as_array().unwrap().len(), 2);
    let events = get(&socket, "/events").await;
    assert!(events.text.contains("socket:uid=0"));
    for answer in [&secrets, &operations, &events, &removed, &restart] {
        seen += &answer.text;
    }
    assert!(!seen.contains(CANARY), "a secret shows");

    let gone = delete(&socket, "/deprovision?name=alice").await;
    platform.done(gone.json()["id"].as_str().unwrap()).await;
    get(&socket, "/status?name=alice").await.problem(404);
}

#[tokio::test]
async fn an_operation_is_followed_to_its_end() {
    let platform = TestPlatform::new().await;
    let socket = platform.socket();
    let made = post(&socket, "/provision", r#"{"name":"alice"}"#).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let request = Request::get(format!("/operations/{id}/events"))
        .header("last-event-id", "7; nonsense")
        .body(Body::empty())
        .unwrap();
    // The body ends with the operation, so it can be read to its end.
    let stream = send(&socket, request).await;
    assert_eq!(stream.header("content-type"), "text/event-stream");
    let last = stream.text.lines().filter_map(|l| l.strip_prefix("data: ")).next_back().unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(
        (last["id"].as_str(), last["state"].as_str()),
        (Some(id.as_str()), Some("succeeded"))
    );
    // Watching a finished operation sends it once.
    let over = get(&socket, &format!("/operations/{id}/events")).await;
    assert_eq!(over.text.matches("event: operation").count(), 1);
}

#[tokio::test]
async fn streams_end_when_the_daemon_stops() {
    let platform = TestPlatform::new().await;
    platform.live(&["alice"]).await;
    platform.settings.stop.cancel();
    let id = platform.engine.operations(None, 1).await.unwrap().remove(0).id;
    let answer = get(&platform.socket(), &format!("/operations/{id}/events")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_sign_in_link_is_made_for_the_instance() {
    let platform = TestPlatform::new().await;
    platform.live(&["alice"]).await;
    let answer = post(&platform.socket(), "/open", r#"{"name":"alice"}"#).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("cache-control"), "no-store");
    let url = answer.json()["url"].as_str().unwrap().to_owned();
    let ticket = url
        .strip_prefix("https://alice.claws.test:8443/.startclaw/enter?ticket=")
        .unwrap_or_else(|| panic!("{url}"));
    let id = platform.engine.status(&crate::test_platform::name("alice")).await.unwrap().id;
    let name = crate::test_platform::name("alice");
    assert!(platform.engine.sign_in(&id, &name, ticket).await.unwrap().is_some());
    assert!(platform.engine.sign_in(&id, &name, ticket).await.unwrap().is_none(), "once");
}

#[tokio::test]
async fn tokens_are_shown_once_work_and_end() {
    let platform = TestPlatform::new().await;
    let (socket, bearer) = (platform.socket(), platform.bearer());
    let body = r#"{"label":"site","scopes":["write","read"],"days":1}"#;
    let made = post(&socket, "/tokens", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.header("cache-control"), "no-store");
    let value = made.json()["value"].as_str().unwrap().to_owned();
    let id = made.json()["token"]["id"].as_str().unwrap().to_owned();
    assert!(!get(&socket, "/tokens").await.text.contains(&value));

    let ask = || {
        let request = Request::get("/status").header("authorization", format!("Bearer {value}"));
        send(&bearer, request.body(Body::empty()).unwrap())
    };
    assert_eq!(ask().await.status, 200);
    assert_eq!(delete(&socket, &format!("/tokens?id={id}")).await.status, 204);
    ask().await.problem(401);

    for (body, field) in [
        (r#"{"label":"x","scopes":[]}"#, "scopes"),
        (r#"{"label":"x","scopes":["root"]}"#, "scopes[0]"),
        (r#"{"label":"","scopes":["read"]}"#, "label"),
        (r#"{"label":"x","scopes":["read"],"days":0}"#, "days"),
        (r#"{"label":"x","scopes":["admin"],"instance":"alice"}"#, "scopes"),
    ] {
        assert_eq!(post(&socket, "/tokens", body).await.problem(422)["field"], field, "{body}");
    }
}

#[tokio::test]
async fn an_owner_is_needed_with_a_token() {
    let platform = TestPlatform::new().await;
    let write = platform.token(&[Scope::Write], None).await;
    let request = Request::post("/provision")
        .header("authorization", format!("Bearer {write}"))
        .header("content-type", "application/json")
        .body(Body::from(r#"{"name":"alice"}"#))
        .unwrap();
    assert_eq!(send(&platform.bearer(), request).await.problem(422)["field"], "owner");
}

#[tokio::test]
async fn the_papers_are_open_and_harmless() {
    let platform = TestPlatform::new().await;
    let bearer = platform.bearer();
    let document = get(&bearer, "/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for part in document.to_string().split("#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is not described");
    }
    let page = get(&bearer, "/docs").await;
    assert!(page.text.contains("/provision") && !page.text.contains("<script"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
    let health = get(&bearer, "/healthz").await;
    assert_eq!(health.json()["status"], "ok");
    assert_eq!(health.header("x-content-type-options"), "nosniff");
    let doctor = get(&platform.socket(), "/doctor").await.json();
    assert!(doctor["checks"].as_array().unwrap().iter().any(|f| f["name"] == "database"));
}

#[tokio::test]
async fn somebody_without_a_user_id_is_nobody() {
    let platform = TestPlatform::new().await;
    let router = startclaw_api::router(
        platform.engine.clone(),
        platform.accounts.clone(),
        startclaw_api::Access::Socket,
        platform.settings.clone(),
    );
    get(&router, "/status").await.problem(401);
}

#[tokio::test]
async fn a_restore_reads_times_in_the_time_zone_of_the_settings() {
    let mut platform = TestPlatform::new().await;
    let kathmandu: TimeZone = "Asia/Kathmandu".parse().unwrap();
    let utc = platform.socket();
    platform.settings.time_zone = kathmandu.clone();
    let socket = platform.socket();
    for (path, body) in [("/provision", r#"{"name":"alice"}"#), ("/backup", r#"{"name":"alice"}"#)]
    {
        let asked = post(&socket, path, body).await;
        platform.done(asked.json()["id"].as_str().unwrap()).await;
    }
    let listed = get(&socket, "/backups?name=alice").await.json();
    assert_eq!(listed["time_zone"], "Asia/Kathmandu");
    let taken = Timestamp::parse(listed["backups"][0]["taken_at"].as_str().unwrap()).unwrap();
    let there = kathmandu.format(taken, "%Y-%m-%dT%H:%M");
    let body = format!(r#"{{"name":"alice","snapshot":"{there}"}}"#);
    post(&utc, "/restore", &body).await.problem(422);
    let restored = post(&socket, "/restore", &body).await;
    assert_eq!(restored.status, 202, "{}", restored.text);
    platform.done(restored.json()["id"].as_str().unwrap()).await;
}
