//! Account administration over the API.

use axum::{
    body::Body,
    http::{Method, Request},
};
use serde_json::json;
use startclaw_model::Scope;
use startclaw_testkit::until;

use crate::test_platform::{TestPlatform, delete, get, name, post, send};

async fn made(platform: &TestPlatform, email: &str) {
    let answer =
        post(&platform.socket(), "/accounts", &json!({ "email": email }).to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
}

#[tokio::test]
async fn only_admins_of_the_whole_machine_get_at_accounts() {
    let platform = TestPlatform::new().await;
    platform.live(&["bob"]).await;
    made(&platform, "alice@example.com").await;
    let write = platform.token(&[Scope::Write], None).await;
    let of_bob = platform.token(&[Scope::Read, Scope::Write], Some("bob")).await;
    let document = serde_json::to_value(startclaw_api::openapi()).unwrap();
    let mut routes = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/accounts") && path != "/invitations" {
            continue;
        }
        for (method, described) in item.as_object().unwrap() {
            assert_eq!(described["security"][0]["token"][0], "admin", "{method} {path}");
            routes += 1;
            for token in [&write, &of_bob] {
                let method: Method = method.to_uppercase().parse().unwrap();
                let body = r#"{"email":"alice@example.com","admin":true,"name":"bob"}"#;
                let request = axum::http::Request::builder()
                    .method(method)
                    .uri(format!("{path}?email=alice@example.com&id=abc"))
                    .header("content-type", "application/json")
                    .header("authorization", format!("Bearer {token}"))
                    .body(Body::from(body))
                    .unwrap();
                send(&platform.bearer(), request).await.problem(403);
            }
        }
    }
    assert_eq!(routes, 12);
    let all = get(&platform.socket(), "/accounts").await.json();
    assert_eq!(all["accounts"][0]["admin"], false, "none of these requests changed anything");
}

#[tokio::test]
async fn an_account_is_made_and_its_link_is_shown_once() {
    let platform = TestPlatform::new().await;
    let socket = platform.socket();
    let body = r#"{"email":" Alice@Example.com","admin":true}"#;
    let answer = post(&socket, "/accounts", body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.header("cache-control"), "no-store");
    let made = answer.json();
    assert_eq!(made["account"]["email"], "alice@example.com");
    assert_eq!(
        (&made["account"]["admin"], &made["account"]["state"]),
        (&json!(true), &json!("active"))
    );
    let url = made["link"]["url"].as_str().unwrap();
    assert!(url.starts_with("https://claws.test:8443/reset/"), "{url}");

    let again = post(&socket, "/accounts/link", r#"{"email":"alice@example.com"}"#).await;
    assert_eq!(again.status, 201, "{}", again.text);
    let other = again.json()["url"].as_str().unwrap().to_owned();
    assert_ne!(other, url, "a new one each time");
    for uri in ["/accounts", "/events"] {
        let listed = get(&socket, uri).await;
        for secret in [url, &other] {
            let secret = secret.rsplit('/').next().unwrap();
            assert!(!listed.text.contains(secret), "{uri}: {}", listed.text);
        }
    }
    let events = get(&socket, "/events").await;
    assert!(events.text.contains("made a link to set the password of alice@example.com"));

    assert_eq!(post(&socket, "/accounts", body).await.problem(422)["field"], "email");
    for bad in [r#"{"email":"alice"}"#, r#"{"email":"a@b\r\nbcc: c@d"}"#, "{}"] {
        assert_eq!(post(&socket, "/accounts", bad).await.problem(422)["field"], "email", "{bad}");
    }
}

#[tokio::test]
async fn accounts_are_listed_with_what_they_have_and_may_have() {
    let platform = TestPlatform::new().await;
    let socket = platform.socket();
    made(&platform, "alice@example.com").await;
    platform.live(&["bob"]).await;
    let give = r#"{"email":"alice@example.com","name":"bob"}"#;
    let given = post(&socket, "/accounts/transfer", give).await;
    assert_eq!(given.status, 200, "{}", given.text);
    let id = platform.engine.status(&name("bob")).await.unwrap().account.unwrap();
    assert_eq!(given.json()["id"], id.as_str());

    let alice = &get(&socket, "/accounts").await.json()["accounts"][0];
    assert_eq!(alice["usage"], json!({"instances": 1, "memory_mib": 2048, "disk_mib": 0}));
    assert_eq!(alice["quota"]["instances"], 1);
    assert_eq!(alice["own_quota"], false);

    let more = json!({"instances": 3, "memory_mib": 6144, "disk_mib": 30720});
    let set = json!({"email": "alice@example.com", "quota": more}).to_string();
    let set = post(&socket, "/accounts/quota", &set).await.json();
    assert_eq!((&set["quota"], &set["own_quota"]), (&more, &json!(true)));
    let usual = r#"{"email":"alice@example.com","quota":null}"#;
    let set = post(&socket, "/accounts/quota", usual).await.json();
    assert_eq!((&set["quota"]["instances"], &set["own_quota"]), (&json!(1), &json!(false)));
    let half = r#"{"email":"alice@example.com","quota":{"instances":3}}"#;
    let half = post(&socket, "/accounts/quota", half).await.problem(422);
    assert_eq!(half["field"], "quota.memory_mib", "a quota is given whole");
    for (field, value) in [
        ("instances", 1_000_001_u64),
        ("memory_mib", (1 << 30) + 1),
        ("memory_mib", 1 << 63),
        ("disk_mib", u64::MAX),
    ] {
        let mut quota = more.clone();
        quota[field] = json!(value);
        let huge = json!({"email": "alice@example.com", "quota": quota}).to_string();
        let huge = post(&socket, "/accounts/quota", &huge).await.problem(422);
        assert_eq!(huge["field"], format!("quota.{field}"));
    }

    let nobody = r#"{"email":"alice@example.com","name":"nobody"}"#;
    post(&socket, "/accounts/transfer", nobody).await.problem(404);
    // The path of earlier versions.
    assert_eq!(post(&socket, "/accounts/give", give).await.status, 200);
}

#[tokio::test]
async fn an_account_is_suspended_and_let_in_again_and_one_admin_stays() {
    let platform = TestPlatform::new().await;
    let socket = platform.socket();
    made(&platform, "alice@example.com").await;
    let alice = r#"{"email":"alice@example.com"}"#;
    let state =
        |answer: crate::test_platform::Answer| answer.json()["state"].as_str().unwrap().to_owned();
    assert_eq!(state(post(&socket, "/accounts/suspend", alice).await), "suspended");
    assert_eq!(state(post(&socket, "/accounts/suspend", alice).await), "suspended", "again");
    assert_eq!(state(post(&socket, "/accounts/resume", alice).await), "active");

    let admin = r#"{"email":"alice@example.com","admin":true}"#;
    assert_eq!(post(&socket, "/accounts/admin", admin).await.json()["admin"], true);
    let last = "urn:startclaw:problem:conflict";
    let no_admin = r#"{"email":"alice@example.com","admin":false}"#;
    let token = platform.token(&[Scope::Admin], None).await;
    let program = |method: Method, uri: &'static str, body: &'static str| {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap();
        let bearer = platform.bearer();
        async move { send(&bearer, request).await.problem(409)["type"].clone() }
    };
    assert_eq!(program(Method::POST, "/accounts/admin", no_admin).await, last);
    assert_eq!(program(Method::POST, "/accounts/suspend", alice).await, last);
    assert_eq!(program(Method::DELETE, "/accounts?email=alice@example.com", "").await, last);
    // An operator at the socket needs no admin account.
    assert_eq!(post(&socket, "/accounts/admin", no_admin).await.json()["admin"], false);
}

#[tokio::test]
async fn a_deleted_account_goes_with_its_instances() {
    let platform = TestPlatform::new().await;
    let socket = platform.socket();
    made(&platform, "alice@example.com").await;
    platform.live(&["bob"]).await;
    post(&socket, "/accounts/transfer", r#"{"email":"alice@example.com","name":"bob"}"#).await;
    let gone = delete(&socket, "/accounts?email=ALICE@example.com").await;
    assert_eq!(gone.status, 202, "{}", gone.text);
    assert_eq!(gone.json()["state"], "pending-deletion");

    let stop = tokio_util::sync::CancellationToken::new();
    let seeing_off = tokio::spawn(platform.accounts.clone().delete_pending_accounts(stop.clone()));
    let asked = async || platform.engine.operations(Some(&name("bob")), 1).await.unwrap().remove(0);
    until("it is removed", async || asked().await.kind.as_str() == "deprovision").await;
    platform.done(asked().await.id.as_str()).await;
    stop.cancel();
    seeing_off.await.unwrap();
    get(&socket, "/status?name=bob").await.problem(404);
    delete(&socket, "/accounts?email=nobody@example.com").await.problem(404);
    delete(&socket, "/accounts").await.problem(422);
}

#[tokio::test]
async fn invitations_are_made_listed_and_taken_back() {
    let platform = TestPlatform::new().await;
    let socket = platform.socket();
    let open = post(&socket, "/invitations", "{}").await;
    assert_eq!(open.status, 201, "{}", open.text);
    let url = open.json()["url"].as_str().unwrap().to_owned();
    let value = url.strip_prefix("https://claws.test:8443/invite/").unwrap();
    assert!(platform.accounts.invitation(value).await.unwrap().is_some());
    let bob = r#"{"email":"bob@example.com","days":30}"#;
    assert_eq!(post(&socket, "/invitations", bob).await.status, 201);

    let listed = get(&socket, "/invitations").await;
    assert!(!listed.text.contains(value), "{}", listed.text);
    let listed = listed.json();
    let listed = listed["invitations"].as_array().unwrap();
    let of = |email: serde_json::Value| listed.iter().find(|i| i["email"] == email).unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(of(json!("bob@example.com"))["created_by"], "socket:uid=0");

    let id = of(json!(null))["id"].as_str().unwrap();
    assert_eq!(delete(&socket, &format!("/invitations?id={id}")).await.status, 204);
    assert!(platform.accounts.invitation(value).await.unwrap().is_none());
    delete(&socket, &format!("/invitations?id={id}")).await.problem(404);
    assert_eq!(delete(&socket, "/invitations?id=a%2Fb").await.problem(422)["field"], "id");
    for days in [0, 366] {
        let body = json!({ "days": days }).to_string();
        assert_eq!(post(&socket, "/invitations", &body).await.problem(422)["field"], "days");
    }
}
