//! Responses while an instance is not live, and unknown host names.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use startclaw_model::{Actor, CheckStatus, InstanceState, Name};
use startclaw_simulated::Behaviour;
use startclaw_testkit::until_blocking;

use crate::stage::Stage;

#[test]
#[ignore = "uses real parts: script/test"]
fn an_instance_that_is_not_up_says_so() {
    let stage = Stage::new(31240);
    stage.host.state().next_behaviour = Behaviour::Hangs;
    stage.provision("slow", InstanceState::Starting);
    let page = stage.send("slow", "GET /\nAccept: text/html");
    assert_eq!((page.status, page.header("retry-after")), (503, Some("2")));
    assert!(page.body.contains("slow is starting") && page.body.contains("refresh"));
    let telegram = stage.send("slow", "POST /telegram-webhook\nContent-Length: 2\n\n{}");
    assert_eq!(telegram.status, 503, "so that Telegram retries");
    assert_eq!(telegram.header("content-type"), Some("application/problem+json"));
    // Sign-in works before the instance is live.
    let cookie = stage.sign_in("slow");
    assert_eq!(stage.send("slow", &format!("GET /\nCookie: {cookie}")).status, 503);

    stage.host.state().next_behaviour = Behaviour::Exits(1);
    stage.provision("broken", InstanceState::Failing);
    let reason = stage.engine(async |e| e.route("broken").unwrap().reason).unwrap();
    let cookie = stage.sign_in("broken");
    let owner = stage.send("broken", &format!("GET /\nAccept: text/html\nCookie: {cookie}"));
    let stranger = stage.send("broken", "GET /\nAccept: text/html");
    for answer in [&owner, &stranger] {
        assert_eq!(answer.status, 503);
        assert!(answer.body.contains("broken does not start"), "{}", answer.body);
    }
    let shown = |body: &str| body.contains("<pre>");
    assert!(shown(&owner.body) && !shown(&stranger.body), "{reason}");
}

#[test]
#[ignore = "uses real parts: script/test"]
fn only_names_that_exist_get_a_certificate_and_an_answer() {
    let stage = Stage::new(31260);
    stage.provision("demo", InstanceState::Live);
    for known in ["demo.localhost", "localhost", "api.localhost"] {
        stage.connect(known).unwrap_or_else(|e| panic!("{known}: {e}"));
    }
    for unknown in ["nobody.localhost", "a.demo.localhost", "www.localhost", "elsewhere.example"] {
        assert!(stage.connect(unknown).is_err(), "{unknown}");
    }
    // The server name of the handshake must match the Host header.
    let mut connection = stage.connect("demo.localhost").unwrap();
    connection.write(&stage.bytes("localhost", "GET /"));
    assert_eq!(connection.answer().status, 421);

    for (domain, status) in [
        ("demo.localhost", 200),
        ("localhost", 200),
        ("api.localhost", 200),
        ("nobody.localhost", 404),
        ("DEMO.localhost", 404),
        ("demo.localhost.", 404),
        ("x.demo.localhost", 404),
        ("*.localhost", 404),
        ("127.0.0.1", 404),
        ("", 404),
        ("..", 404),
        ("%00", 404),
        ("demo.localhost%20", 404),
    ] {
        assert_eq!(ask(&stage, &format!("/ask?domain={domain}")), status, "{domain}");
    }
    assert_eq!(ask(&stage, "/ask"), 400);

    let name = Name::parse("demo").unwrap();
    stage
        .engine(async |e| {
            e.deprovision(
                &Actor::system(),
                &name,
                startclaw_model::DeletionPolicy::FinalBackup,
                None,
            )
            .await
        })
        .unwrap();
    until_blocking("it is gone", || ask(&stage, "/ask?domain=demo.localhost") == 404);
    until_blocking("its certificate leads nowhere", || {
        stage.connect("demo.localhost").is_err()
            || matches!(stage.send("demo", "GET /").status, 404 | 410)
    });
}

fn ask(stage: &Stage, uri: &str) -> u16 {
    plain(stage.settings.ask_listen.port(), "127.0.0.1", uri).0
}

/// A request without TLS: status and head.
fn plain(port: u16, host: &str, uri: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {uri} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    (text.split(' ').nth(1).unwrap().parse().unwrap(), text)
}

#[test]
#[ignore = "uses real parts: script/test"]
fn http_leads_to_https_and_the_platform_has_its_own_pages() {
    let stage = Stage::new(31280);
    stage.provision("demo", InstanceState::Live);
    let (http, https) = (stage.settings.http_port, stage.settings.https_port);
    for host in ["demo.localhost", &format!("demo.localhost:{http}"), "localhost", "api.localhost"]
    {
        let (status, head) = plain(http, host, "/a/b?c=d");
        let name = host.split(':').next().unwrap();
        assert_eq!(status, 308);
        assert!(head.contains(&format!("Location: https://{name}:{https}/a/b?c=d\r\n")), "{head}");
    }
    assert_eq!(plain(http, "elsewhere.example", "/").0, 404);

    let front = stage.send_to("localhost", "GET /");
    assert_eq!((front.status, front.body.as_str()), (200, "front"));
    let ours = stage.send("demo", "GET /\nAccept: text/html");
    assert_eq!(ours.status, 401);
    for (header, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(ours.header(header), Some(value), "{header}");
    }
    assert!(ours.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
    for path in ["/authorize", "/ask?domain=localhost", "/.startclaw/enter", "/x"] {
        assert_eq!(stage.send_to("localhost", &format!("GET {path}")).status, 404, "{path}");
        assert_eq!(stage.send_to("api.localhost", &format!("GET {path}")).status, 404, "{path}");
    }
    // The API sees the client's address as seen by Caddy, whatever the client sends.
    let api = stage
        .send_to("api.localhost", "GET /whoami\nX-Forwarded-For: 6.6.6.6\nForwarded: for=6.6.6.6");
    assert_eq!((api.status, api.body.as_str()), (200, "127.0.0.1"));
}

#[test]
#[ignore = "uses real parts: script/test"]
fn doctor_finds_a_working_edge_good_and_a_broken_one_bad() {
    let mut stage = Stage::new(31300);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let good = runtime.block_on(startclaw_edge::check(&stage.settings));
    assert!(good.iter().all(|f| f.status == CheckStatus::Ok), "{good:#?}");
    assert!(good.iter().any(|f| f.name == "certificate"), "{good:#?}");

    stage.provision("demo", InstanceState::Live);
    runtime.block_on(startclaw_edge::fetch_certificate(&stage.settings, "demo.localhost")).unwrap();
    let none = startclaw_edge::fetch_certificate(&stage.settings, "nobody.localhost");
    assert!(runtime.block_on(none).is_err());

    stage.settings.storage = stage.dir.path().join("elsewhere");
    let bad = runtime.block_on(startclaw_edge::check(&stage.settings));
    assert!(bad.iter().any(|f| f.name == "certificate" && f.fix.is_some()), "{bad:#?}");
}
