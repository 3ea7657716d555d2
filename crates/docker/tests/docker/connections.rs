//! Connections to one instance are closed, and no others.

use std::time::{Duration, Instant};

use startclaw_host::{Host, Probe};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::platform::Platform;

const LIMIT: Duration = Duration::from_secs(20);

/// Echoes its input, and answers probes.
const ECHO: &str = "require('net').createServer(c => c.on('data', d => String(d).startsWith('GET') \
    ? c.end('HTTP/1.1 204 Yes\\r\\n\\r\\n') : c.write(d)).on('error', () => console.log('ended'))).listen(18789)";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn an_open_connection_is_ended_at_both_ends_and_others_are_not() {
    let p = Platform::new(26);
    let alice = p.spec("alice", 0, &["node", "-e", ECHO]);
    let bob = p.spec("bob", 1, &["node", "-e", ECHO]);
    let mut open = Vec::new();
    for spec in [&alice, &bob] {
        p.bring_up(spec).await;
        p.until(spec, |seen| matches!(seen.probe, Probe::Answer { .. })).await;
        let address = p.host.endpoints_of(spec.slot).unwrap().gateway;
        open.push(TcpStream::connect(address).await.unwrap());
    }
    for stream in &mut open {
        assert!(echoes(stream).await);
    }
    p.host.disconnect(alice.slot).await.unwrap();
    assert!(!echoes(&mut open[0]).await, "it was closed");
    assert!(echoes(&mut open[1]).await, "the other instance's connection is open");
    let begun = Instant::now();
    while !super::platform::run("docker", &["logs", &p.object(&alice)]).contains("ended") {
        assert!(begun.elapsed() < LIMIT, "the instance's end is still open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // An authorized client can reconnect.
    let address = p.host.endpoints_of(alice.slot).unwrap().gateway;
    assert!(echoes(&mut TcpStream::connect(address).await.unwrap()).await);
}

async fn echoes(stream: &mut TcpStream) -> bool {
    let mut back = [0; 5];
    let exchange = async {
        stream.write_all(b"hello").await?;
        stream.read_exact(&mut back).await
    };
    timeout(LIMIT, exchange).await.expect("it answers or ends").is_ok() && back == *b"hello"
}
