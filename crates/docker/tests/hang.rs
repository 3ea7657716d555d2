//! A Docker that hangs in one call, simulated by a socket that answers all others: everything that
//! does not need that call continues, and the hanging call is reported.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by a panic")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use startclaw_docker::{DockerHost, DockerSettings};
use startclaw_host::{Host, HostAdmin, HostFault, sample_spec};
use startclaw_model::CheckStatus;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

/// Answers like an empty Docker, and does not list volumes while `hangs` is set.
async fn serve(mut stream: UnixStream, hangs: Arc<AtomicBool>) {
    let mut text = Vec::new();
    let mut part = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut part).await {
        text.extend_from_slice(&part[..read]);
        if !text.ends_with(b"\r\n\r\n") {
            continue;
        }
        let request = String::from_utf8_lossy(&text).into_owned();
        text.clear();
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let (status, body) = match path.as_str() {
            p if p.ends_with("/version") => ("200 OK", r#"{"ApiVersion":"1.41"}"#),
            p if p.contains("/volumes?") => {
                while hangs.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                ("200 OK", r#"{"Volumes":[],"Warnings":null}"#)
            }
            p if p.contains("/networks?") || p.contains("/containers/json") => ("200 OK", "[]"),
            p if p.ends_with("/info") => ("200 OK", "{}"),
            _ => ("404 Not Found", r#"{"message":"no such thing"}"#),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_docker_that_does_not_list_volumes_stops_no_observation_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let hangs = Arc::new(AtomicBool::new(true));
    let served = hangs.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, served.clone()));
        }
    });
    let settings = DockerSettings {
        socket: format!("unix://{}", socket.display()),
        runtime_dir: dir.path().to_owned(),
        ..Default::default()
    };
    let host = DockerHost::new(settings, 8787).unwrap();
    let spec = sample_spec("alice", 0);

    // The deadline of the call applies, not the 120 s of the connection.
    let begun = Instant::now();
    let seen = host.observe(&spec).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert!(seen.other_volumes_unknown && seen.container.is_none() && !seen.volume);

    let hanging = |faults: &[HostFault]| faults.iter().any(|fault| fault.key == HostFault::DOCKER);
    let faults = host.faults().await.found;
    assert!(hanging(&faults), "{faults:?}");
    assert!(faults[0].detail.contains("docker volume ls"), "{faults:?}");
    let findings = host.diagnose("x/y:1").await;
    let said = findings.iter().find(|f| f.name == "docker calls").unwrap();
    assert!(said.status == CheckStatus::Error && said.detail.contains("since"), "{said:?}");
    assert!(findings.iter().any(|f| f.name == "volumes" && f.status == CheckStatus::Error));

    hangs.store(false, Ordering::Relaxed);
    assert!(!host.observe(&spec).await.unwrap().other_volumes_unknown);
    host.inventory().await.unwrap();
    // `diagnose` has listed all volumes.
    assert!(host.diagnose("x/y:1").await.iter().all(|f| f.name != "docker calls"));
    assert!(!hanging(&host.faults().await.found));
}
