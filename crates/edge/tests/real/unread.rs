//! Requests that are rejected before their body was read: the client gets the rejection, never a
//! 502 of Caddy.

use std::time::{Duration, Instant};

use crate::stage::Stage;

#[test]
#[ignore = "uses real parts: script/test"]
fn a_refusal_reaches_the_client_whatever_the_body() {
    let stage = Stage::new(31460);
    let api = stage.settings.api_host();
    for length in [0, 1, 100, 70_000, 1_000_000] {
        let head = format!("POST /whoami\nContent-Length: {length}\n\n");
        for _ in 0..20 {
            let mut connection = stage.connect(&api).unwrap();
            connection.write(&stage.bytes(&api, &head));
            // The head is sent to the daemon first, then the body.
            for piece in vec![b'x'; length].chunks(50_000) {
                connection.write(piece);
            }
            assert_eq!(connection.answer().status, 405, "{length} bytes");
        }
    }
}

#[test]
#[ignore = "uses real parts: script/test"]
fn a_body_that_does_not_arrive_does_not_keep_the_refusal_back() {
    let stage = Stage::new(31480);
    let api = stage.settings.api_host();
    let begun = Instant::now();
    let mut connection = stage.connect(&api).unwrap();
    connection.write(&stage.bytes(&api, "POST /whoami\nContent-Length: 100\n\nx"));
    let answer = connection.answer();
    assert_eq!(answer.status, 405, "{answer:?}");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(answer.header("x-startclaw-unread"), None, "this header is internal");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
#[ignore = "uses real parts: script/test"]
fn local_users_get_nothing_but_the_question_at_its_address() {
    let stage = Stage::new(31500);
    stage.provision("demo", startclaw_model::InstanceState::Live);
    let ask = |path: &str, more: &str| {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(stage.settings.ask_listen).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\n{more}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let host = format!("Host: {}\r\n", stage.settings.ask_listen);
    assert_eq!(ask("/ask?domain=demo.localhost", &host), "200");
    assert_eq!(ask("/ask?domain=nothing.localhost", &host), "404");
    let question = format!("{host}X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /\r\n");
    assert_eq!(ask("/authorize", &question), "404");
}
