//! Error messages: what is wrong, and what to do.

use axum::{body::Body, http::Method};

use crate::test_platform::{PASSWORD, SITE, TestPlatform};

#[tokio::test]
async fn a_refused_form_says_what_is_wrong_beside_the_field() {
    let platform = TestPlatform::new().await;
    let nobody = platform.browser();
    let short = nobody.post("/sign-up", &[("email", "a@example.com"), ("password", "short")]).await;
    assert_eq!(short.status, 422);
    short.has("at least 10 characters");
    assert!(!short.text.contains("value=\"short\""), "a password is not shown again");
    let wrong = nobody.post("/sign-up", &[("email", "nowhere"), ("password", PASSWORD)]).await;
    assert_eq!(wrong.status, 422);
    wrong.has("aria-invalid");

    let alice = platform.person("alice@example.com").await;
    let taken =
        nobody.post("/sign-up", &[("email", "alice@example.com"), ("password", PASSWORD)]).await;
    taken.has("account with this address already");
    for (form, says) in [
        (&[("name", "Not A Name")][..], "name"),
        (&[("name", "ok"), ("provider", "custom")], "base_url"),
        (&[("name", "ok"), ("telegram", "nonsense")], "BotFather"),
    ] {
        let refused = alice.post("/new", form).await;
        assert_eq!(refused.status, 422, "{form:?}");
        refused.has(says);
    }
    assert!(platform.engine.operations(None, 10).await.unwrap().is_empty(), "no partial instance");
}

#[tokio::test]
async fn what_no_page_of_ours_sends_is_a_clear_refusal_and_never_a_fault() {
    let platform = TestPlatform::new().await;
    let alice = platform.person("alice@example.com").await;
    let own = [("origin", SITE), ("content-type", "application/x-www-form-urlencoded")];
    let huge = "x".repeat(200_000);
    for (method, path, body) in [
        (Method::POST, "/new", "%ff%fe=%00"),
        (Method::POST, "/new", ""),
        (Method::POST, "/new", huge.as_str()),
        (Method::POST, "/sign-in", "email=a"),
        (Method::POST, "/instances/..%2f..%2fx/restart", ""),
        (Method::POST, "/account/passkeys/finish", "{"),
        (Method::POST, "/passkeys/sign-in/finish", "{}"),
        (Method::PUT, "/instances", ""),
        (Method::DELETE, "/account", ""),
        (Method::GET, "/operations/not-an-id", ""),
        (Method::GET, "/reset/short", ""),
        (Method::GET, "/admin/accounts/x", ""),
        (Method::GET, "/?next=%00", ""),
    ] {
        let answer = alice.send(method.clone(), path, &own, Body::from(body.to_owned())).await;
        assert!(answer.status.as_u16() < 500, "{method} {path}: {}", answer.status);
    }
}
