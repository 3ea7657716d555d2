//! Scopes, on every route of the document.

use axum::{
    Router,
    body::Body,
    http::{Method, Request},
};
use serde_json::Value;
use startclaw_model::{Actor, Scope};

use crate::test_platform::{Answer, TestPlatform, delete, get, send};

/// A route with a request that would succeed for an admin.
struct Route {
    method: Method,
    uri: String,
    body: &'static str,
    /// The scope that the document requires; `None` if it is public.
    scope: Option<Scope>,
    /// Whether the request is about one instance.
    about_one: bool,
}

/// Every route of the document, with requests about the instance `bob`.
fn routes(operation: &str) -> Vec<Route> {
    let document = serde_json::to_value(startclaw_api::openapi()).unwrap();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, described) in item.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let (query, body, about_one) = match (method.as_str(), path.as_str()) {
                ("POST", "/provision") => ("", r#"{"name":"carol","owner":"c"}"#, false),
                ("POST", "/restart" | "/open" | "/backup" | "/drill" | "/telegram/close") => {
                    ("", r#"{"name":"bob"}"#, true)
                }
                ("POST", "/telegram/approve") => ("", r#"{"name":"bob","user":7}"#, true),
                ("POST", "/restore") => ("", r#"{"name":"bob","undo":true}"#, true),
                ("PUT", "/secrets") => ("", r#"{"name":"bob","secret":"A","value":"x"}"#, true),
                ("DELETE", "/secrets") => ("?name=bob&secret=A", "", true),
                ("DELETE", "/backups") => ("?name=bob", "", true),
                ("DELETE", "/backups/removed") => ("?account=bob%40example.com", "", false),
                ("GET", "/backups/removed") => ("", "", false),
                ("POST", "/backups/rescan" | "/backups/destination") => ("", "", false),
                ("DELETE", "/deprovision") => ("?name=bob", "", true),
                (
                    "GET",
                    "/status" | "/telegram" | "/logs" | "/secrets" | "/operations" | "/events"
                    | "/backups",
                ) => ("?name=bob", "", true),
                ("GET", "/operations/{id}" | "/operations/{id}/events") => ("", "", true),
                ("POST", "/accounts") => ("", r#"{"email":"carol@x.org"}"#, false),
                ("POST", "/accounts/link" | "/accounts/suspend" | "/accounts/resume") => {
                    ("", r#"{"email":"alice@x.org"}"#, false)
                }
                ("POST", "/accounts/admin") => {
                    ("", r#"{"email":"alice@x.org","admin":true}"#, false)
                }
                ("POST", "/accounts/quota") => {
                    ("", r#"{"email":"alice@x.org","quota":null}"#, false)
                }
                ("POST", "/accounts/transfer") => {
                    ("", r#"{"email":"alice@x.org","name":"bob"}"#, false)
                }
                ("DELETE", "/accounts") => ("?email=alice@x.org", "", false),
                ("POST", "/invitations") => ("", "{}", false),
                ("DELETE", "/invitations") => ("?id=abc", "", false),
                ("GET", "/accounts" | "/invitations") => ("", "", false),
                ("POST", "/tokens") => ("", r#"{"label":"x","scopes":["read"]}"#, false),
                ("DELETE", "/tokens") => ("?id=abc", "", false),
                (
                    "GET",
                    "/alerts" | "/tokens" | "/doctor" | "/metrics" | "/healthz" | "/docs"
                    | "/openapi.json",
                ) => ("", "", false),
                other => panic!("a route without a test: {other:?}"),
            };
            let scope = match &described["security"][0]["token"][0] {
                Value::String(scope) => serde_json::from_value(scope.as_str().into()).unwrap(),
                _ => None,
            };
            let uri = format!("{}{query}", path.replace("{id}", operation));
            found.push(Route { method, uri, body, scope, about_one });
        }
    }
    found
}

async fn ask(router: &Router, route: &Route, token: Option<&str>) -> Answer {
    let mut request = Request::builder()
        .method(route.method.clone())
        .uri(&route.uri)
        .header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    send(router, request.body(Body::from(route.body)).unwrap()).await
}

#[tokio::test]
async fn every_route_wants_its_token_scope_and_instance() {
    let platform = TestPlatform::new().await;
    platform.live(&["alice", "bob"]).await;
    let bearer = platform.bearer();
    let of_bob =
        platform.engine.operations(Some(&crate::test_platform::name("bob")), 1).await.unwrap();
    let routes = routes(of_bob[0].id.as_str());
    assert!(routes.len() >= 32, "the document lists the routes");

    let read = platform.token(&[Scope::Read], None).await;
    let write = platform.token(&[Scope::Write], None).await;
    let alice = platform.token(&[Scope::Write], Some("alice")).await;

    for route in &routes {
        let what = format!("{} {}", route.method, route.uri);
        let Some(scope) = route.scope else {
            assert_eq!(ask(&bearer, route, None).await.status, 200, "{what}");
            continue;
        };
        let none = ask(&bearer, route, None).await;
        none.problem(401);
        assert!(none.header("www-authenticate").starts_with("Bearer"), "{what}");
        // A router without invalid tokens so far: too many cause another response.
        let bad = ask(&platform.bearer(), route, Some("sclaw_nonsense")).await;
        bad.problem(401);
        assert!(bad.header("www-authenticate").contains("invalid_token"), "{what}");

        for (token, have) in [(&read, Scope::Read), (&write, Scope::Write)] {
            if have < scope {
                let answer = ask(&bearer, route, Some(token)).await;
                answer.problem(403);
                assert!(answer.header("www-authenticate").contains("insufficient_scope"), "{what}");
            }
        }
        // Alice's token has no access to Bob, nor to what is about the whole platform.
        let answer = ask(&bearer, route, Some(&alice)).await;
        if route.about_one {
            answer.problem(404);
        } else {
            answer.problem(403);
        }
    }
    // None of these requests changed anything.
    assert_eq!(platform.engine.status_all().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_token_that_may_is_let_through() {
    let platform = TestPlatform::new().await;
    platform.live(&["bob"]).await;
    let bearer = platform.bearer();
    let of_bob = platform.engine.operations(None, 1).await.unwrap();
    let admin = platform.token(&[Scope::Admin], None).await;
    for route in routes(of_bob[0].id.as_str()) {
        // Metrics need a recorder, and there is no token abc and no secret A.
        let status = ask(&bearer, &route, Some(&admin)).await.status.as_u16();
        assert!(
            !matches!(status, 401 | 403) && status < 500,
            "{} {}: {status}",
            route.method,
            route.uri
        );
    }
}

#[tokio::test]
async fn lists_show_what_a_token_may_see() {
    let platform = TestPlatform::new().await;
    platform.live(&["alice", "bob"]).await;
    let alice = platform.token(&[Scope::Read], Some("alice")).await;
    let bearer = platform.bearer();
    let listed = |uri: &'static str| {
        let (bearer, alice) = (bearer.clone(), alice.clone());
        async move {
            let request = Request::get(uri).header("authorization", format!("Bearer {alice}"));
            let answer = send(&bearer, request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert!(!answer.text.contains("bob"), "{}", answer.text);
            assert!(answer.text.contains("alice"), "{}", answer.text);
        }
    };
    listed("/status").await;
    listed("/operations").await;
    listed("/events").await;
    listed("/status?name=alice").await;
}

#[tokio::test]
async fn many_bad_tokens_from_one_address_meet_429() {
    let platform = TestPlatform::new().await;
    let bearer = platform.bearer();
    let attempt = |address: &'static str| {
        let bearer = bearer.clone();
        async move {
            let request = Request::get("/status")
                .header("authorization", "Bearer sclaw_guess")
                .header("x-forwarded-for", address)
                .body(Body::empty())
                .unwrap();
            send(&bearer, request).await
        }
    };
    for _ in 0..20 {
        attempt("192.0.2.1").await.problem(401);
    }
    let answer = attempt("192.0.2.1").await;
    answer.problem(429);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
    attempt("192.0.2.2").await.problem(401);
    // A value that the client itself puts into the header is ignored.
    attempt("192.0.2.3, 192.0.2.1").await.problem(429);
}

#[tokio::test]
async fn cookies_and_basic_passwords_are_no_tokens() {
    let platform = TestPlatform::new().await;
    let admin = platform.token(&[Scope::Admin], None).await;
    let bearer = platform.bearer();
    for (header, value) in [
        ("cookie", format!("__Host-startclaw={admin}; token={admin}")),
        ("authorization", format!("Basic {admin}")),
        ("x-api-key", admin.clone()),
    ] {
        let request = Request::get("/status").header(header, value).body(Body::empty()).unwrap();
        send(&bearer, request).await.problem(401);
    }
    get(&bearer, &format!("/status?token={admin}")).await.problem(401);
}

#[tokio::test]
async fn the_next_owner_of_a_name_sees_nothing_of_the_one_before() {
    let platform = TestPlatform::new().await;
    platform.live(&["alice"]).await;
    let alice = crate::test_platform::name("alice");
    let actor = Actor::socket(0);
    let before = platform.engine.operations(Some(&alice), 1).await.unwrap().remove(0).id;
    let ticket = platform.engine.create_login_token(&actor, &alice, None).await.unwrap();
    let first = platform.engine.status(&alice).await.unwrap();
    platform.engine.sign_in(&first.id, &alice, ticket.value.expose()).await.unwrap().unwrap();
    let gone = delete(&platform.socket(), "/deprovision?name=alice").await.json();
    platform.done(gone["id"].as_str().unwrap()).await;
    platform.live(&["alice"]).await;
    let now = platform.engine.operations(Some(&alice), 1).await.unwrap().remove(0).id;

    let token = platform.token(&[Scope::Write], Some("alice")).await;
    let bearer = platform.bearer();
    let asked = async |uri: &str| {
        let request = Request::get(uri).header("authorization", format!("Bearer {token}"));
        send(&bearer, request.body(Body::empty()).unwrap()).await
    };
    for uri in ["/events", "/events?name=alice"] {
        let listed = asked(uri).await.json();
        let events = listed["events"].as_array().unwrap();
        let kinds: Vec<_> = events.iter().map(|e| e["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["finished", "requested"], "{listed:#}");
    }
    for uri in ["/operations", "/operations?name=alice"] {
        let listed = asked(uri).await.json();
        let operations = listed["operations"].as_array().unwrap();
        let ids: Vec<_> = operations.iter().map(|o| o["id"].as_str().unwrap()).collect();
        assert_eq!(ids, [now.as_str()], "{listed:#}");
    }
    for old in [before.as_str(), gone["id"].as_str().unwrap()] {
        asked(&format!("/operations/{old}")).await.problem(404);
        asked(&format!("/operations/{old}/events")).await.problem(404);
    }
    assert_eq!(asked(&format!("/operations/{now}")).await.status, 200);
    assert_eq!(asked(&format!("/operations/{now}/events")).await.status, 200);

    // The operator sees both.
    let all = get(&platform.socket(), "/events?name=alice").await;
    assert!(all.text.contains("signed-in"), "{}", all.text);
    let all = get(&platform.socket(), "/operations?name=alice").await.json();
    assert_eq!(all["operations"].as_array().unwrap().len(), 3, "{all:#}");
}
