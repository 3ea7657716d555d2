//! Outages of the daemon and of an instance.

use std::{
    thread,
    time::{Duration, Instant},
};

use startclaw_model::InstanceState;
use startclaw_testkit::until_blocking;

use crate::{client::Connection, stage::Stage, upstream::header};

fn websocket(stage: &Stage, cookie: &str) -> Vec<u8> {
    stage.bytes(
        "demo.localhost",
        &format!(
            "GET /\nConnection: keep-alive, Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\nOrigin: {}\nCookie: {cookie}",
            stage.origin("demo")
        ),
    )
}

#[test]
#[ignore = "uses real parts: script/test"]
fn a_websocket_stays_open_while_the_daemon_restarts() {
    let mut stage = Stage::new(31160);
    stage.provision("demo", InstanceState::Live);
    let cookie = stage.sign_in("demo");
    let mut socket = stage.connect("demo.localhost").unwrap();
    socket.write(&websocket(&stage, &cookie));
    assert_eq!(socket.answer().status, 101);
    let mut echo = |text: &str| {
        socket.write(text.as_bytes());
        assert_eq!(socket.read(text.len()).unwrap(), text.as_bytes());
    };
    echo("before");
    stage.kill_daemon();
    echo("while it is down");
    stage.start_daemon();
    echo("after");
}

#[test]
#[ignore = "uses real parts: script/test"]
fn a_neighbours_page_opens_no_websocket() {
    let stage = Stage::new(31180);
    stage.provision("demo", InstanceState::Live);
    let cookie = stage.sign_in("demo");
    let good = String::from_utf8(websocket(&stage, &cookie)).unwrap();
    let own = format!("Origin: {}\r\n", stage.origin("demo"));
    for origin in
        [String::new(), format!("Origin: {}\r\n", stage.origin("other")), "Origin: null\r\n".into()]
    {
        let mut socket = stage.connect("demo.localhost").unwrap();
        socket.write(good.replace(&own, &origin).as_bytes());
        assert_eq!(socket.answer().status, 403, "{origin}");
    }
    assert!(stage.upstream.received().is_empty());
}

#[test]
#[ignore = "uses real parts: script/test"]
fn a_websocket_is_the_only_protocol_to_change_to() {
    let stage = Stage::new(31360);
    stage.provision("demo", InstanceState::Live);
    let cookie = stage.sign_in("demo");
    let good = String::from_utf8(websocket(&stage, &cookie)).unwrap();
    for (connection, upgrade, status) in [
        ("upgrade", "websocket", 101),
        ("Upgrade", "WebSocket", 101),
        ("keep-alive, upgrade, X-Startclaw-User", "websocket", 101),
        ("Upgrade, HTTP2-Settings", "h2c", 200),
        ("Upgrade", "websocket, h2c", 200),
        ("close", "websocket", 200),
    ] {
        let request = good
            .replace("keep-alive, Upgrade", connection)
            .replace("Upgrade: websocket", &format!("Upgrade: {upgrade}"));
        let mut socket = stage.connect("demo.localhost").unwrap();
        socket.write(request.as_bytes());
        assert_eq!(socket.answer().status, status, "{connection} / {upgrade}");
        let head = stage.upstream.received().pop().unwrap();
        assert_eq!(header(&head, "upgrade").is_some(), status == 101, "{head}");
        assert_eq!(header(&head, "x-startclaw-user"), Some("alice@example.com"));
    }
}

#[test]
#[ignore = "uses real parts: script/test"]
fn requests_wait_while_the_daemon_is_down() {
    let mut stage = Stage::new(31200);
    stage.provision("demo", InstanceState::Live);
    let cookie = stage.sign_in("demo");
    let own = stage.origin("demo");
    stage.kill_daemon();
    let begun = Instant::now();
    let down = Duration::from_secs(3);
    let requests = [
        ("demo.localhost", format!("GET /\nCookie: {cookie}")),
        (
            "demo.localhost",
            format!("POST /x\nCookie: {cookie}\nOrigin: {own}\nContent-Length: 5\n\nhello"),
        ),
        ("demo.localhost", "POST /telegram-webhook\nContent-Length: 2\n\n{}".to_owned()),
        // These have no certificate yet: their handshakes wait as well.
        ("localhost", "GET /".to_owned()),
        ("api.localhost", "GET /whoami".to_owned()),
    ];
    let port = stage.settings.https_port;
    let waiting: Vec<_> = requests
        .into_iter()
        .map(|(host, request)| {
            let bytes = stage.bytes(host, &request);
            thread::spawn(move || {
                let mut connection = Connection::open(port, host).unwrap();
                connection.write(&bytes);
                (connection.answer(), begun.elapsed())
            })
        })
        .collect();
    // The outage, of a fixed duration.
    thread::sleep(down);
    stage.start_daemon();
    for request in waiting {
        let (answer, took) = request.join().unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(took >= down && took < Duration::from_secs(10), "{took:?}");
    }
    // Each request arrived once.
    assert_eq!(stage.upstream.received().iter().filter(|h| h.starts_with("POST /x ")).count(), 1);
    assert_eq!(stage.webhook.received().len(), 1);
}

#[test]
#[ignore = "uses real parts: script/test"]
fn when_nothing_comes_back_a_page_says_so_and_looks_again() {
    let mut stage = Stage::new(31220);
    stage.provision("demo", InstanceState::Live);
    stage.provision("gone", InstanceState::Live);
    // The upstream of the second instance is down.
    let cookie = stage.sign_in("gone");
    let page = stage.send("gone", &format!("GET /\nAccept: text/html\nCookie: {cookie}"));
    assert_eq!((page.status, page.header("retry-after")), (502, Some("3")));
    assert!(page.body.contains("http-equiv=\"refresh\""));
    assert!(page.body.contains("</style>") && page.body.trim_end().ends_with("</html>"));
    let policy = page.header("content-security-policy").unwrap();
    let expected = stage.send("demo", "GET /\nAccept: text/html");
    let style =
        |policy: &str| policy.split(';').find(|p| p.contains("style-src")).unwrap().to_owned();
    assert_eq!(style(policy), style(expected.header("content-security-policy").unwrap()));
    let css = |body: &str| {
        body.split("<style>").nth(1).unwrap().split("</style>").next().unwrap().to_owned()
    };
    assert_eq!(css(&page.body), css(&expected.body), "the digest in the policy fits the page");

    // Secrets stay out of the logs also when requests fail.
    stage.kill_daemon();
    let program = stage.send(
        "demo",
        "GET /.startclaw/enter?ticket=canary-1\nCookie: a=canary-2\nAuthorization: Bearer canary-3\nX-Telegram-Bot-Api-Secret-Token: canary-4",
    );
    assert_eq!(program.status, 502);
    assert_eq!(program.header("content-type"), Some("application/problem+json"));
    assert!(program.body.contains("\"status\":502"), "{}", program.body);
    for link in ["/reset/canary-5", "/invite/canary-6", "/confirm/canary-7?x=canary-8"] {
        stage.send("demo", &format!("GET {link}"));
    }
    let log = |file| std::fs::read_to_string(stage.dir.path().join(file)).unwrap();
    until_blocking("the request is logged", || log("access.log").contains("/confirm/-"));
    assert!(!log("access.log").contains("canary") && !log("caddy.log").contains("canary"));
}
