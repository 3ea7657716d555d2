//! Only the edge sets the user of a request, whatever the client sends.

use std::process::Command;

use startclaw_model::InstanceState;
use startclaw_testkit::until_blocking;

use crate::{stage::Stage, upstream::header};

#[test]
#[ignore = "uses real parts: script/test"]
fn no_header_of_ours_can_be_smuggled_in() {
    let stage = Stage::new(31060);
    stage.provision("demo", InstanceState::Live);
    let cookie = stage.sign_in("demo");
    for lines in [
        "X-Startclaw-User: eve",
        "x-startclaw-user: eve",
        "X-STARTCLAW-USER: eve\nX-Startclaw-User: eve",
        "X_Startclaw_User: eve",
        "X-Startclaw_User: eve",
        "Connection: X-Startclaw-User",
        "Connection: close, X-Startclaw-User, X-Forwarded-For, X-Forwarded-Proto, Cookie, Origin",
        "Connection: keep-alive, X-Forwarded-Uri\nX-Forwarded-Uri: /eve",
        "X-Startclaw-Upstream: 127.0.0.1:1",
        "X-Startclaw-Client: 6.6.6.6",
        "X-Forwarded-For: 6.6.6.6\nX-Forwarded-User: eve\nX-Forwarded-Host: eve\nX-Forwarded-Proto: http",
        "x-forwarded-for: 6.6.6.6\nX_Forwarded_For: 6.6.6.6\nX-Forwarded-Prefix: /eve",
        "Forwarded: for=6.6.6.6;host=eve\nX-Real-IP: 6.6.6.6\nTrue-Client-IP: 6.6.6.6",
        "CF-Connecting-IP: 6.6.6.6\nTailscale-User-Login: eve\nX-Client-IP: 6.6.6.6",
        "X-Forwarded-Method: POST\nX-Original-Forwarded-For: 6.6.6.6",
    ] {
        let answer = stage.send("demo", &format!("GET /\nCookie: {cookie}; a=b\n{lines}"));
        assert_eq!(answer.status, 200, "{lines}: {answer:?}");
        let seen = &answer.body;
        assert!(!seen.contains("eve") && !seen.contains("6.6.6.6"), "{lines}: {seen}");
        assert_eq!(header(seen, "x-startclaw-user"), Some("alice@example.com"), "{lines}");
        assert_eq!(header(seen, "x-forwarded-for"), Some("192.0.2.1"), "{lines}");
        assert_eq!(header(seen, "x-forwarded-proto"), Some("https"), "{lines}");
        let host = format!("demo.localhost:{}", stage.settings.https_port);
        assert_eq!(header(seen, "x-forwarded-host"), Some(host.as_str()), "{lines}");
        assert_eq!(header(seen, "host"), Some(host.as_str()), "{lines}");
        assert_eq!(header(seen, "cookie"), Some("a=b"), "{lines}");
        let ours = seen.to_lowercase().matches("startclaw").count();
        assert_eq!(ours, 1, "only the identity goes in: {seen}");
    }
}

#[test]
#[ignore = "uses real parts: script/test"]
fn the_session_never_reaches_the_instance() {
    let stage = Stage::new(31080);
    stage.provision("demo", InstanceState::Live);
    let cookie = stage.sign_in("demo");
    let value = cookie.split_once('=').unwrap().1;
    for (lines, left) in [
        (format!("Cookie: {cookie}"), None),
        (format!("cookie: a=b; {cookie}; c=d"), Some("a=b; c=d")),
        (format!("Cookie: a=b;{cookie};c=d"), Some("a=b; c=d")),
        (format!("Cookie: a=b\nCookie: {cookie}\nCookie: c=d"), Some("a=b; c=d")),
        (format!("Cookie: {cookie}\nCookie: {cookie}"), None),
        (
            format!("Cookie: {cookie}; \"__Host-startclaw\"=\"{value}\"; __HOST-startclaw={value}"),
            None,
        ),
        (format!("Cookie: {cookie}; a=\"x; __Host-startclaw={value}; y\""), Some("a=\"x; y\"")),
        (format!("Cookie: {cookie}; $Version=1, __Host-startclaw={value}"), None),
    ] {
        let answer = stage.send("demo", &format!("GET /\n{lines}"));
        assert_eq!(answer.status, 200, "{lines}");
        assert!(!answer.body.contains(value), "{lines}: {}", answer.body);
        assert_eq!(header(&answer.body, "cookie"), left, "{lines}");
    }
    // HTTP/2 splits cookies into crumbs.
    let output = Command::new("curl")
        .args(["-sk", "--http2", "--resolve"])
        .arg(format!("demo.localhost:{}:127.0.0.1", stage.settings.https_port))
        .args(["-H", "Cookie: a=b", "-H", &format!("Cookie: {cookie}"), "-H", "Cookie: c=d"])
        .args(["-w", "%{http_version} %{http_code}"])
        .arg(format!("{}/", stage.origin("demo")))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.ends_with("2 200"), "{text}");
    assert!(!text.contains(value), "{text}");
    assert_eq!(header(&text, "cookie"), Some("a=b; c=d"));

    // Requests that need no identity get neither identity nor cookie.
    for request in [
        format!("GET /healthz\nCookie: {cookie}; a=b"),
        format!(
            "POST /telegram-webhook\nCookie: {cookie}; a=b\nX-Startclaw-User: eve\nContent-Length: 2\n\n{{}}"
        ),
    ] {
        let answer = stage.send("demo", &request);
        assert_eq!(answer.status, 200, "{request}");
        assert_eq!(header(&answer.body, "cookie"), None);
        assert_eq!(header(&answer.body, "x-startclaw-user"), None);
    }
    assert_eq!(stage.webhook.received().len(), 1);
    let logs = || {
        ["access.log", "caddy.log"]
            .map(|file| std::fs::read_to_string(stage.dir.path().join(file)).unwrap())
            .concat()
    };
    // Caddy logs a request after its response.
    until_blocking("the last request is logged", || logs().contains("/telegram-webhook"));
    assert!(!logs().contains(value), "the logs carry no session");
}

#[test]
#[ignore = "uses real parts: script/test"]
fn an_instance_gives_out_no_session_of_ours_and_no_cookie_for_its_neighbours() {
    let stage = Stage::new(31100);
    stage.provision("demo", InstanceState::Live);
    let cookie = stage.sign_in("demo");
    let answer = stage.send("demo", &format!("GET /set-cookies\nCookie: {cookie}"));
    let set: Vec<_> = answer.headers("set-cookie").into_iter().filter(|c| !c.is_empty()).collect();
    assert_eq!(set, ["tossed=1; Path=/", "own=1; Path=/"]);
    assert_eq!(answer.header("clear-site-data"), None);
    assert_eq!(answer.header("alt-svc"), None);
}

#[test]
#[ignore = "uses real parts: script/test"]
fn the_admin_rpc_is_reached_in_no_spelling() {
    let stage = Stage::new(31120);
    stage.provision("demo", InstanceState::Live);
    let cookie = stage.sign_in("demo");
    let port = stage.settings.https_port;
    for target in [
        "/api/v1/admin/rpc",
        "/api/v1/admin/rpc/",
        "/api/v1/admin/rpc?x=1",
        "/API/v1/Admin/RPC",
        "/api/v1/admin/%72pc",
        "/%61pi/v1/admin/rpc",
        "/api%2fv1%2Fadmin%2frpc",
        "/api/v1/admin/%2572pc",
        "//api/v1/admin/rpc",
        "///api/v1/admin/rpc",
        "//x/api/v1/admin/rpc",
        "/api//v1/admin/rpc",
        "/./api/v1/admin/rpc",
        "/x/../api/v1/admin/rpc",
        "/x/%2e%2e/api/v1/admin/rpc",
        "/.startclaw/../api/v1/admin/rpc",
        "/.startclaw/%2e%2e/api/v1/admin/rpc",
        "/api/v1/admin/rpc;x=1",
        "/api/v1/admin;x/rpc",
        "/api/v1/admin/rpc%3fx",
        "/api/v1/admin/rpc%23x",
        "/api/v1/admin/rpc#x",
        "/api/v1/admin/rpc%20",
        "/api/v1/admin/rpc%00",
        "/api/v1/admin/rpc%09",
        "/api/v1/admin/rpc.",
        "\\api\\v1\\admin\\rpc",
        "/api\\v1\\admin\\rpc",
        "/api%5cv1%5Cadmin%5crpc",
        &format!("https://demo.localhost:{port}/api/v1/admin/rpc"),
        "https://elsewhere.localhost/api/v1/admin/rpc",
        "api/v1/admin/rpc",
        "*",
    ] {
        let request = format!(
            "POST {target}\nCookie: {cookie}\nOrigin: {}\nContent-Length: 2\n\n{{}}",
            stage.origin("demo")
        );
        let answer = stage.send("demo", &request);
        assert!(matches!(answer.status, 400 | 404 | 421), "{target}: {answer:?}");
    }
    assert_eq!(stage.upstream.received(), Vec::<String>::new());
}

#[test]
#[ignore = "uses real parts: script/test"]
fn two_requests_cannot_be_made_of_one() {
    let stage = Stage::new(31140);
    stage.provision("demo", InstanceState::Live);
    let cookie = stage.sign_in("demo");
    let own = stage.origin("demo");
    let inner = "POST /api/v1/admin/rpc HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    for framing in [
        format!("Content-Length: 0\nTransfer-Encoding: chunked\n\n0\r\n\r\n{inner}"),
        format!("Transfer-Encoding: chunked\nTransfer-Encoding: identity\n\n0\r\n\r\n{inner}"),
        format!("Transfer-Encoding: xchunked\n\n0\r\n\r\n{inner}"),
        format!("Content-Length: 0\nContent-Length: {}\n\n{inner}", inner.len()),
        format!("Content-Length: +0\n\n{inner}"),
    ] {
        let request = format!("POST /x\nCookie: {cookie}\nOrigin: {own}\n{framing}");
        stage.send("demo", &request);
    }
    for head in stage.upstream.received() {
        assert!(head.starts_with("POST /x "), "{head}");
    }
}
