use axum::http::{HeaderMap, HeaderName, HeaderValue};
use startclaw_host::Endpoints;
use startclaw_model::{InstanceId, Name};

use super::*;

const ORIGIN: &str = "https://demo.localhost:8443";
const OWNER: Option<&str> = Some("alice@example.com");

fn route(state: InstanceState) -> Route {
    Route {
        id: InstanceId::new(),
        name: Name::parse("demo").unwrap(),
        state,
        reason: Some("the model key is wrong".to_owned()),
        telegram: true,
        endpoints: Endpoints {
            gateway: ([127, 0, 0, 1], 18001).into(),
            webhook: ([127, 0, 0, 1], 28001).into(),
            proxy: [10, 87, 0, 1].into(),
        },
    }
}

/// A request as Caddy describes it: `METHOD URI`, then header lines.
fn request(text: &str) -> AuthorizeRequest {
    let mut lines = text.split('|').map(str::trim);
    let (method, uri) = lines.next().unwrap().split_once(' ').unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-method", method.parse().unwrap());
    headers.insert("x-forwarded-uri", uri.parse().unwrap());
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        headers.insert(
            HeaderName::from_bytes(name.to_lowercase().as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    AuthorizeRequest::of(&headers).unwrap()
}

fn live(text: &str, user: Option<&str>) -> Decision {
    decide(&request(text), &route(InstanceState::Live), ORIGIN, user)
}

fn gateway(user: Option<&str>) -> Decision {
    Decision::Pass { upstream: ([127, 0, 0, 1], 18001).into(), user: user.map(str::to_owned) }
}

#[test]
fn the_owner_enters_and_a_stranger_is_asked_to_sign_in() {
    for uri in ["GET /", "GET /chat?x=1", "HEAD /", "GET /readyz", "GET /telegram-webhook"] {
        assert_eq!(live(uri, OWNER), gateway(OWNER), "{uri}");
        assert_eq!(live(uri, None), Decision::Refuse(Rejection::SignIn), "{uri}");
    }
}

#[test]
fn telegram_delivers_without_signing_in_and_as_nobody() {
    let webhook = Decision::Pass { upstream: ([127, 0, 0, 1], 28001).into(), user: None };
    assert_eq!(live("POST /telegram-webhook", None), webhook);
    assert_eq!(live("POST /telegram-webhook", OWNER), webhook);

    let sign_in = Decision::Refuse(Rejection::SignIn);
    for other in [
        "GET /telegram-webhook",
        "PUT /telegram-webhook",
        "POST /telegram-webhook/",
        "POST /telegram-webhook?x=1",
        "POST /Telegram-Webhook",
        "POST /telegram-webhook | Upgrade: websocket",
    ] {
        assert_eq!(live(other, None), sign_in, "{other}");
    }
    let without = Route { telegram: false, ..route(InstanceState::Live) };
    let request = request("POST /telegram-webhook");
    assert_eq!(decide(&request, &without, ORIGIN, None), sign_in);
}

#[test]
fn anybody_may_ask_whether_it_is_alive() {
    for probe in ["GET /healthz", "HEAD /startupz"] {
        assert_eq!(live(probe, None), gateway(None), "{probe}");
        assert_eq!(live(probe, OWNER), gateway(None), "{probe}");
    }
    for other in
        ["POST /healthz", "GET /healthz?x", "GET /healthz | Upgrade: websocket", "GET /readyz"]
    {
        assert_eq!(live(other, None), Decision::Refuse(Rejection::SignIn), "{other}");
    }
}

#[test]
fn the_admin_rpc_is_not_there_even_for_the_owner() {
    for uri in ["POST /api/v1/admin/rpc", "POST /api/v1/%61dmin/rpc", "GET //x/api/v1/admin/rpc"] {
        let Decision::Refuse(refusal) = live(&format!("{uri} | Origin: {ORIGIN}"), OWNER) else {
            panic!("{uri} passed");
        };
        assert!(matches!(refusal, Rejection::Hidden | Rejection::Ambiguous), "{uri}");
    }
}

#[test]
fn only_its_own_pages_change_something_or_open_a_websocket() {
    let own = format!("Origin: {ORIGIN}");
    for good in [
        format!("POST /x | {own}"),
        format!("POST /x | {own} | Sec-Fetch-Site: same-origin"),
        format!("DELETE /x | {own}"),
        format!("GET /ws | Upgrade: websocket | {own}"),
    ] {
        assert_eq!(live(&good, OWNER), gateway(OWNER), "{good}");
    }
    for bad in [
        "POST /x",
        "POST /x | Origin: null",
        "POST /x | Origin: https://mallory.localhost:8443",
        "POST /x | Origin: https://demo.localhost",
        "POST /x | Origin: http://demo.localhost:8443",
        "POST /x | Origin: https://demo.localhost:8443.evil.example",
        "POST /x | Sec-Fetch-Site: same-origin",
        &format!("POST /x | {own} | Sec-Fetch-Site: same-site"),
        "OPTIONS /x",
        "GET /ws | Upgrade: websocket",
        "GET /ws | Upgrade: websocket | Origin: https://mallory.localhost:8443",
    ] {
        assert_eq!(live(bad, OWNER), Decision::Refuse(Rejection::CrossSite), "{bad}");
    }
}

#[test]
fn links_from_anywhere_work_and_embedding_does_not() {
    for good in [
        "GET / | Sec-Fetch-Site: none | Sec-Fetch-Mode: navigate | Sec-Fetch-Dest: document",
        "GET / | Sec-Fetch-Site: cross-site | Sec-Fetch-Mode: navigate | Sec-Fetch-Dest: document",
        "GET / | Sec-Fetch-Site: same-site | Sec-Fetch-Mode: navigate | Sec-Fetch-Dest: document",
        "GET /a.js | Sec-Fetch-Site: same-origin | Sec-Fetch-Mode: no-cors | Sec-Fetch-Dest: script",
        "GET /f | Sec-Fetch-Site: same-origin | Sec-Fetch-Mode: navigate | Sec-Fetch-Dest: iframe",
    ] {
        assert_eq!(live(good, OWNER), gateway(OWNER), "{good}");
    }
    for bad in [
        "GET / | Sec-Fetch-Site: same-site | Sec-Fetch-Mode: navigate | Sec-Fetch-Dest: iframe",
        "GET / | Sec-Fetch-Site: same-site | Sec-Fetch-Mode: no-cors | Sec-Fetch-Dest: script",
        "GET / | Sec-Fetch-Site: cross-site | Sec-Fetch-Mode: cors | Sec-Fetch-Dest: empty",
        "GET / | Sec-Fetch-Site: same-site | Sec-Fetch-Mode: navigate | Sec-Fetch-Dest: object",
        "GET / | Sec-Fetch-Site: same-site",
        "GET / | Origin: https://mallory.localhost:8443",
    ] {
        assert_eq!(live(bad, OWNER), Decision::Refuse(Rejection::CrossSite), "{bad}");
    }
}

#[test]
fn an_instance_that_is_not_up_lets_nobody_in_and_tells_strangers_nothing() {
    let get = request("GET /");
    for text in ["GET /", "POST /telegram-webhook", "GET /healthz"] {
        for (state, refusal) in [
            (InstanceState::Unknown, Rejection::Starting),
            (InstanceState::Starting, Rejection::Starting),
            (InstanceState::Failing, Rejection::Failing(None)),
            (InstanceState::Removing, Rejection::Removing),
        ] {
            let decision = decide(&request(text), &route(state), ORIGIN, None);
            assert_eq!(decision, Decision::Refuse(refusal), "{text} while {state:?}");
        }
    }
    let owners = decide(&get, &route(InstanceState::Failing), ORIGIN, OWNER);
    let reason = Some("the model key is wrong".to_owned());
    assert_eq!(owners, Decision::Refuse(Rejection::Failing(reason)));
}

#[test]
fn a_page_is_for_people_who_look_at_one() {
    assert!(request("GET / | Accept: text/html,*/*").page);
    assert!(request("GET / | Accept: text/html | Sec-Fetch-Mode: navigate").page);
    for not in [
        "GET /",
        "GET / | Accept: */*",
        "GET / | Accept: text/html | Sec-Fetch-Mode: cors",
        "POST / | Accept: text/html",
        "GET / | Accept: text/html | Upgrade: websocket",
    ] {
        assert!(!request(not).page, "{not}");
    }
}
