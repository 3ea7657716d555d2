//! Sign-in and sign-out.

use startclaw_model::InstanceState;

use crate::stage::Stage;

#[test]
#[ignore = "uses real parts: script/test"]
fn a_link_signs_in_once_on_its_own_instance() {
    let stage = Stage::new(31000);
    stage.provision("demo", InstanceState::Live);
    stage.provision("other", InstanceState::Live);

    let stranger = stage.send("demo", "GET /\nAccept: text/html");
    assert_eq!(stranger.status, 401);
    assert!(stranger.body.contains("startclaw open demo"), "{}", stranger.body);
    assert!(stranger.body.contains("/instances/demo\""), "{}", stranger.body);
    let program = stage.send("demo", "GET /");
    assert_eq!(program.header("content-type"), Some("application/problem+json"));
    assert!(stage.upstream.received().is_empty());

    // Opening the link does not use it.
    let ticket = stage.login_token("demo");
    for _ in 0..3 {
        let look = stage.send("demo", &format!("GET /.startclaw/enter?ticket={ticket}"));
        assert_eq!((look.status, look.header("set-cookie")), (200, None));
        assert!(look.body.contains("method=\"post\"") && look.body.contains(&ticket));
        let policy = look.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        assert!(!policy.contains("unsafe"));
        assert_eq!(look.header("referrer-policy"), Some("strict-origin"));
        assert_eq!(look.header("cache-control"), Some("no-store"));
    }

    // Another instance rejects it, and does not use it up.
    assert_eq!(stage.post_sign_in("other", &ticket, "").status, 403);

    let inside = stage.post_sign_in("demo", &ticket, "");
    assert_eq!((inside.status, inside.header("location")), (303, Some("/")));
    let cookie = inside.header("set-cookie").unwrap();
    for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age="] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(cookie.starts_with("__Host-startclaw=") && !cookie.contains("Domain"));
    let again = stage.post_sign_in("demo", &ticket, "");
    assert_eq!(again.status, 403);
    assert!(again.body.contains("does not work any more"));

    let cookie = cookie.split(';').next().unwrap().to_owned();
    let home = stage.send("demo", &format!("GET /\nAccept: text/html\nCookie: {cookie}"));
    assert_eq!(home.status, 200, "{home:?}");
    assert!(home.body.contains("X-Startclaw-User: alice@example.com"), "{}", home.body);
    // The session is valid for one instance only.
    assert_eq!(stage.send("other", &format!("GET /\nCookie: {cookie}")).status, 401);
    // A signed-in user who opens the used link again is let through.
    let back = stage.post_sign_in("demo", &ticket, &format!("Cookie: {cookie}\n"));
    assert_eq!((back.status, back.header("set-cookie")), (303, None));
}

#[test]
#[ignore = "uses real parts: script/test"]
fn neighbours_cannot_sign_anybody_in_or_out() {
    let stage = Stage::new(31020);
    stage.provision("demo", InstanceState::Live);
    let ticket = stage.login_token("demo");
    let cookie = stage.sign_in("demo");
    let own = stage.origin("demo");
    let form = format!(
        "Content-Type: application/x-www-form-urlencoded\nContent-Length: 50\n\nticket={ticket}"
    );
    for foreign in [
        "",
        "Origin: null\n",
        &format!("Origin: {}\n", stage.origin("other")),
        &format!("Origin: {own}\nSec-Fetch-Site: same-site\n"),
    ] {
        let answer = stage.send("demo", &format!("POST /.startclaw/enter\n{foreign}{form}"));
        assert_eq!((answer.status, answer.header("set-cookie")), (403, None), "{foreign}");
        let leave = format!("POST /.startclaw/leave\n{foreign}Cookie: {cookie}\nContent-Length: 0");
        assert_eq!(stage.send("demo", &leave).status, 403, "{foreign}");
    }
    assert_eq!(stage.send("demo", &format!("GET /\nCookie: {cookie}")).status, 200);

    // A new session replaces the old one.
    let next = stage.post_sign_in("demo", &ticket, &format!("Cookie: {cookie}\n"));
    assert_eq!(next.status, 303);
    let next = next.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert_ne!(next, cookie);
    assert_eq!(stage.send("demo", &format!("GET /\nCookie: {cookie}")).status, 401);
    assert_eq!(stage.send("demo", &format!("GET /\nCookie: {next}")).status, 200);

    assert_eq!(stage.send("demo", "GET /.startclaw/leave").status, 200);
    let left = stage.send(
        "demo",
        &format!("POST /.startclaw/leave\nOrigin: {own}\nCookie: {next}\nContent-Length: 0"),
    );
    assert_eq!(left.status, 200);
    assert!(left.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert!(!left.header("clear-site-data").unwrap().contains("cookies"));
    assert_eq!(stage.send("demo", &format!("GET /\nCookie: {next}")).status, 401);
}

#[test]
#[ignore = "uses real parts: script/test"]
fn a_malformed_entry_is_a_clear_4xx() {
    let stage = Stage::new(31040);
    stage.provision("demo", InstanceState::Live);
    let own = stage.origin("demo");
    for link in ["", "?ticket=", "?ticket=abc", "?ticket=%00", "?x=1", "?ticket=a&ticket=b"] {
        let answer = stage.send("demo", &format!("GET /.startclaw/enter{link}"));
        assert_eq!(answer.status, 400, "{link}");
    }
    for (request, status) in [
        (format!("POST /.startclaw/enter\nOrigin: {own}\nContent-Length: 0"), 400),
        (
            format!(
                "POST /.startclaw/enter\nOrigin: {own}\nContent-Type: application/json\nContent-Length: 2\n\n{{}}"
            ),
            400,
        ),
        (format!("PUT /.startclaw/enter\nOrigin: {own}\nContent-Length: 0"), 405),
        ("GET /.startclaw".to_owned(), 404),
        ("GET /.startclaw/".to_owned(), 404),
        ("GET /.startclaw/../authorize".to_owned(), 400),
        ("GET /.STARTCLAW/enter".to_owned(), 404),
        ("GET /authorize".to_owned(), 401),
        ("GET /ask?domain=localhost".to_owned(), 401),
    ] {
        assert_eq!(stage.send("demo", &request).status, status, "{request}");
    }
    let large = "x".repeat(20_000);
    let request = format!(
        "POST /.startclaw/enter\nOrigin: {own}\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 20000\n\n{large}"
    );
    let answer = stage.send("demo", &request);
    assert!((400..500).contains(&answer.status), "{answer:?}");
}
