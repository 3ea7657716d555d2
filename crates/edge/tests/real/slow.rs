//! Slow clients that try to exhaust connections.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use startclaw_model::InstanceState;

use crate::stage::Stage;

/// The head of a sign-in request whose form never arrives.
fn slow_head(stage: &Stage, origin: &str) -> String {
    let host = stage.host_of("demo");
    let port = stage.settings.https_port;
    format!(
        "POST /.startclaw/enter HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: {origin}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 50\r\n\r\nt"
    )
}

/// A connection to the daemon itself, as if Caddy had forwarded the start of a request.
fn slow(stage: &Stage, origin: &str) -> TcpStream {
    let mut stream = TcpStream::connect(stage.settings.listen).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(slow_head(stage, origin).as_bytes()).unwrap();
    stream
}

/// Everything received until the daemon closes the connection.
fn answer(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset after the response also ends it.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
#[ignore = "uses real parts: script/test"]
fn the_daemon_holds_few_slow_forms_and_not_for_long() {
    let stage = Stage::new(31420);
    stage.provision("demo", InstanceState::Live);
    let own = stage.origin("demo");
    let begun = Instant::now();
    // A form from another site is rejected once its body is late; the daemon does not wait longer.
    assert!(answer(slow(&stage, "https://evil.example")).starts_with("HTTP/1.1 403"));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());

    let mut held: Vec<_> = (0..80).map(|_| slow(&stage, &own)).collect();
    thread::sleep(Duration::from_millis(500));
    let busy = answer(slow(&stage, &own));
    assert!(busy.starts_with("HTTP/1.1 503") && busy.contains("retry-after: 2"), "{busy}");
    // Other requests are not delayed.
    assert_eq!(stage.send("demo", "GET /").status, 401);
    let statuses: Vec<_> = held.drain(..).map(|s| answer(s)[..12].to_owned()).collect();
    let count = |status: &str| statuses.iter().filter(|s| s.ends_with(status)).count();
    assert_eq!((count("408"), count("503")), (64, 16), "{statuses:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    stage.sign_in("demo");
}

#[test]
#[ignore = "uses real parts: script/test"]
fn caddy_keeps_slow_forms_to_itself() {
    let stage = Stage::new(31440);
    stage.provision("demo", InstanceState::Live);
    let own = stage.origin("demo");
    let form = format!("ticket={}", stage.login_token("demo"));
    let head = format!(
        "POST /.startclaw/enter\nOrigin: {own}\nContent-Type: application/x-www-form-urlencoded\nContent-Length: {}\n\nt",
        form.len()
    );
    // More than the daemon accepts at once.
    let mut slow: Vec<_> = (0..100)
        .map(|_| {
            let mut connection = stage.connect("demo.localhost").unwrap();
            connection.write(&stage.bytes("demo.localhost", &head));
            connection
        })
        .collect();
    let begun = Instant::now();
    stage.sign_in("demo");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    // Longer than the daemon would wait for a form; a user on a slow connection still signs in.
    thread::sleep(Duration::from_secs(6));
    slow[0].write(&form.as_bytes()[1..]);
    assert_eq!(slow[0].answer().status, 303);
}
