//! A repeated request with the same `Idempotency-Key` is executed once.

use axum::{
    Router,
    body::Body,
    http::{Method, Request},
};

use crate::test_platform::{Answer, TestPlatform, send};

async fn with_key(router: &Router, method: Method, uri: &str, key: &str, body: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .body(Body::from(body.to_owned()))
        .unwrap();
    send(router, request).await
}

#[tokio::test]
async fn the_same_request_answers_the_same_operation() {
    let platform = TestPlatform::new().await;
    let socket = platform.socket();
    let body = r#"{"name":"a","provider":{"kind":"openai"},"api_key":"sk-1"}"#;
    let first = with_key(&socket, Method::POST, "/provision", "k1", body).await;
    assert_eq!(first.status, 202);
    // Whitespace and field order are not part of the request.
    let again = r#"{ "api_key":"sk-1", "name":"a", "provider":{"kind":"openai"} }"#;
    let second = with_key(&socket, Method::POST, "/provision", "k1", again).await;
    assert_eq!(second.status, 202);
    assert_eq!(first.json()["id"], second.json()["id"]);
    assert_eq!(first.header("location"), second.header("location"));

    platform.done(first.json()["id"].as_str().unwrap()).await;
    let one = with_key(&socket, Method::DELETE, "/deprovision?name=a", "k2", "").await;
    let two = with_key(&socket, Method::DELETE, "/deprovision?name=a", "k2", "").await;
    assert_eq!(one.json()["id"], two.json()["id"]);
}

#[tokio::test]
async fn another_request_with_the_same_key_is_422() {
    let platform = TestPlatform::new().await;
    let socket = platform.socket();
    let body = |name: &str, key: &str| {
        format!(r#"{{"name":"{name}","provider":{{"kind":"openai"}},"api_key":"{key}"}}"#)
    };
    let post = |body: String| {
        let socket = socket.clone();
        async move { with_key(&socket, Method::POST, "/provision", "k", &body).await }
    };
    assert_eq!(post(body("a", "sk-1")).await.status, 202);
    let problem = post(body("b", "sk-1")).await.problem(422);
    assert_eq!(problem["type"], "urn:startclaw:problem:key-reused");
    // Another secret is another request, although no secret is stored in plain text.
    post(body("a", "sk-2")).await.problem(422);
}

#[tokio::test]
async fn a_key_is_short_and_visible() {
    let platform = TestPlatform::new().await;
    let socket = platform.socket();
    for key in ["", "a\tb", "é", &"k".repeat(201)] {
        let answer = with_key(&socket, Method::POST, "/provision", key, r#"{"name":"a"}"#).await;
        assert_eq!(answer.problem(422)["field"], "Idempotency-Key", "{key:?}");
    }
}
