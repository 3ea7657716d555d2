//! Invalid requests, and their problem documents.

use axum::{
    body::Body,
    http::{Method, Request},
};

use crate::test_platform::{TestPlatform, delete, get, post, send, with_body};

#[tokio::test]
async fn wrong_fields_are_422_and_named() {
    let platform = TestPlatform::new().await;
    let socket = platform.socket();
    let custom = r#"{"name":"a","provider":{"kind":"custom","model":"m"}}"#;
    for (body, field) in [
        ("{}", "name"),
        (r#"{"name":"A"}"#, "name"),
        (r#"{"name":"api"}"#, "name"),
        (r#"{"name":7}"#, "name"),
        (r#"{"name":"a","colour":"red"}"#, "colour"),
        (r#"{"name":"a","owner":"a b"}"#, "owner"),
        (r#"{"name":"a","api_key":"sk-1"}"#, "api_key"),
        (r#"{"name":"a","provider":{"kind":"openai"},"api_key":"a\nb"}"#, "api_key"),
        (custom, "provider.base_url"),
        (r#"{"name":"a","telegram_bot_token":"x"}"#, "telegram_bot_token"),
        (r#"{"name":"a","version":"../x"}"#, "version"),
        (r#"{"name":"a","limits":{"memory_hard_mib":1}}"#, "limits.memory_hard_mib"),
        (r#"{"name":"a","limits":{"cpus":-1}}"#, "limits.cpus"),
        (r#"{"name":"a","limits":{"cpus":"lots"}}"#, "limits.cpus"),
        (r#"{"name":"a","limits":{"pids":-1}}"#, "limits.pids"),
        (r#"{"name":"a","limits":{"disk":1}}"#, "limits.disk"),
        (r#"{"name":"a","limits":[512,2048,0.5,512]}"#, "limits"),
        (r#"{"name":"a","provider":["openai"]}"#, "provider"),
    ] {
        let problem = post(&socket, "/provision", body).await.problem(422);
        assert_eq!(problem["field"], field, "{body}: {problem}");
        assert_eq!(problem["errors"][0]["field"], field, "{body}");
    }
    assert!(platform.engine.status_all().await.unwrap().is_empty(), "no partial instance");
}

#[tokio::test]
async fn wrong_queries_are_422_and_named() {
    let platform = TestPlatform::new().await;
    let socket = platform.socket();
    for (uri, field) in [
        ("/status?name=A", "name"),
        ("/status?nmae=a", "nmae"),
        ("/logs", "name"),
        ("/logs?name=a&tail=x", "tail"),
        ("/logs?name=a&tail=10001", "tail"),
        ("/logs?name=a&follow=2", "follow"),
        ("/operations?limit=0", "limit"),
        ("/operations?limit=1001", "limit"),
        ("/operations?limit=99999999999", "limit"),
        ("/events?name=a&name=b", "name"),
        ("/secrets?name=%ff", "name"),
        ("/doctor?all=1", "all"),
    ] {
        let problem = get(&socket, uri).await.problem(422);
        assert_eq!(problem["field"], field, "{uri}: {problem}");
    }
    assert_eq!(delete(&socket, "/deprovision").await.problem(422)["field"], "name");
    assert_eq!(delete(&socket, "/secrets?name=a").await.problem(422)["field"], "secret");
    assert_eq!(delete(&socket, "/tokens?id=sclaw_x").await.problem(422)["field"], "id");
}

#[tokio::test]
async fn what_is_no_json_is_400_and_what_says_so_415() {
    let platform = TestPlatform::new().await;
    let socket = platform.socket();
    for body in ["", "{", "[", "\u{1}", "{\"name\":\"a\"}{}", &"[".repeat(10_000)] {
        let answer = post(&socket, "/provision", body).await;
        assert!(matches!(answer.status.as_u16(), 400 | 422), "{body:?}: {}", answer.text);
        answer.problem(answer.status.as_u16());
    }
    for kind in ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let request = Request::post("/provision")
            .header("content-type", kind)
            .body(Body::from(r#"{"name":"a"}"#))
            .unwrap();
        send(&socket, request).await.problem(415);
    }
    let request = Request::post("/restart").body(Body::from(r#"{"name":"a"}"#)).unwrap();
    send(&socket, request).await.problem(415);
}

#[tokio::test]
async fn an_array_is_no_body() {
    let platform = TestPlatform::new().await;
    let socket = platform.socket();
    for (path, body) in [
        ("/invitations", "[null,null]"),
        ("/restart", r#"["a"]"#),
        ("/drill", "[]"),
        ("/accounts/suspend", r#"["alice@example.com"]"#),
    ] {
        post(&socket, path, body).await.problem(422);
    }
    let invitations = get(&socket, "/invitations").await.json();
    assert_eq!(invitations["invitations"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn a_large_body_is_413() {
    let platform = TestPlatform::new().await;
    let body = format!(r#"{{"name":"{}"}}"#, "a".repeat(65 * 1024));
    post(&platform.socket(), "/provision", &body).await.problem(413);
}

#[tokio::test]
async fn unknown_paths_are_404_and_wrong_methods_405_with_allow() {
    let platform = TestPlatform::new().await;
    let socket = platform.socket();
    for path in ["/", "/provision/", "/status/a", "/operations/x/y", "//status", "/%00", "/.env"] {
        get(&socket, path).await.problem(404);
    }
    for (method, path, allow) in [
        (Method::GET, "/provision", "POST"),
        (Method::POST, "/deprovision", "DELETE"),
        (Method::DELETE, "/restart", "POST"),
        (Method::PUT, "/status", "GET,HEAD"),
        (Method::POST, "/operations/x", "GET,HEAD"),
        (Method::PATCH, "/secrets", "GET,HEAD,PUT,DELETE"),
        (Method::TRACE, "/healthz", "GET,HEAD"),
    ] {
        let answer = with_body(&socket, method.clone(), path, "{}").await;
        answer.problem(405);
        let mut allowed: Vec<_> = answer.header("allow").split(',').collect();
        let mut wanted: Vec<_> = allow.split(',').collect();
        allowed.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(allowed, wanted, "{method} {path}");
    }
    let answer = with_body(&socket, Method::OPTIONS, "/provision", "").await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (204, "POST"));
    let answer = with_body(&socket, Method::HEAD, "/status", "").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""));
    assert!(answer.header("access-control-allow-origin").is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_404_and_what_is_there_already_409() {
    let platform = TestPlatform::new().await;
    let socket = platform.socket();
    for uri in [
        "/status?name=a",
        "/logs?name=a",
        "/secrets?name=a",
        "/operations/0",
        "/operations/%ff",
        "/operations/0/events",
    ] {
        get(&socket, uri).await.problem(404);
    }
    post(&socket, "/restart", r#"{"name":"a"}"#).await.problem(404);
    post(&socket, "/open", r#"{"name":"a"}"#).await.problem(404);
    delete(&socket, "/deprovision?name=a").await.problem(404);
    delete(&socket, "/secrets?name=a&secret=A").await.problem(404);
    delete(&socket, "/tokens?id=abc").await.problem(404);
    let secret = r#"{"name":"a","secret":"A","value":"x"}"#;
    with_body(&socket, Method::PUT, "/secrets", secret).await.problem(404);

    platform.live(&["a"]).await;
    let problem = post(&socket, "/provision", r#"{"name":"a"}"#).await.problem(409);
    assert_eq!(problem["type"], "urn:startclaw:problem:name-taken");
    delete(&socket, "/secrets?name=a&secret=A").await.problem(404);
}

#[tokio::test]
async fn a_full_machine_says_so() {
    let platform = TestPlatform::new().await;
    let socket = platform.socket();
    for n in 0..20 {
        let answer = post(&socket, "/provision", &format!(r#"{{"name":"a{n}"}}"#)).await;
        assert_eq!(answer.status, 202);
    }
    let problem = post(&socket, "/provision", r#"{"name":"one-more"}"#).await.problem(507);
    assert_eq!(problem["type"], "urn:startclaw:problem:full");
}
