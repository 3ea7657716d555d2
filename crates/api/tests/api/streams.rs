//! Streams end when their opener loses access.

use std::time::Duration;

use axum::{body::Body, http::Request};
use futures::StreamExt as _;
use startclaw_model::{Actor, Scope};
use tower::ServiceExt as _;

use crate::test_platform::{TestPlatform, post};

#[tokio::test]
async fn an_event_stream_ends_when_its_token_is_revoked() {
    // It boots for longer than the test takes, so its operation stays unfinished.
    let platform = TestPlatform::with_boot(Duration::from_secs(3600)).await;
    let made = post(&platform.socket(), "/provision", r#"{"name":"alice"}"#).await;
    let uri = format!("/operations/{}/events", made.json()["id"].as_str().unwrap());
    let token = platform.token(&[Scope::Read], None).await;
    let request = Request::get(uri)
        .header("authorization", format!("Bearer {token}"))
        .body(Body::empty())
        .unwrap();
    let answer = platform.bearer().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut stream = answer.into_body().into_data_stream();
    assert!(stream.next().await.is_some(), "the operation as it is");
    let id = platform.engine.tokens().await.unwrap()[0].id.clone();
    platform.engine.revoke_token(&Actor::socket(0), &id).await.unwrap();
    let rest = tokio::time::timeout(Duration::from_secs(10), async {
        while stream.next().await.is_some() {}
    });
    assert!(rest.await.is_ok(), "the stream goes on");
}
