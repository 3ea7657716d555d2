//! A minimal WebSocket client (RFC 6455), enough to check whether a connection stays open.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// How long a response may take.
const ANSWER: Duration = Duration::from_secs(30);

const TEXT: u8 = 1;
const PING: u8 = 9;
const PONG: u8 = 10;

/// An open WebSocket.
pub struct WebSocket(reqwest::Upgraded);

impl WebSocket {
    /// Opens one. The client must speak HTTP/1.1.
    pub async fn open(client: &reqwest::Client, url: &str, cookie: &str) -> Self {
        let answer = client
            .get(url)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("origin", url)
            .header("cookie", cookie)
            .send()
            .await
            .expect("the address answers");
        assert_eq!(answer.status(), 101, "the upgrade is granted");
        Self(answer.upgrade().await.expect("the connection is handed over"))
    }

    async fn send(&mut self, kind: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | kind];
        // A client has to mask; a mask of zeros leaves the payload unchanged.
        match u16::try_from(payload.len()).expect("a short message") {
            short @ 0..=125 => frame.push(0x80 | u8::try_from(short).expect("it is short")),
            long => {
                frame.push(0x80 | 126);
                frame.extend(long.to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        self.0.write_all(&frame).await.expect("the WebSocket is open");
        self.0.flush().await.expect("the WebSocket is open");
    }

    async fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).await.expect("the WebSocket is open");
        let length = match head[1] & 0x7f {
            126 => u64::from(self.0.read_u16().await.expect("a length")),
            127 => self.0.read_u64().await.expect("a length"),
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).expect("it fits into memory")];
        self.0.read_exact(&mut payload).await.expect("a whole frame");
        let kind = head[0] & 0x0f;
        assert_ne!(kind, 8, "the other side closed: {}", String::from_utf8_lossy(&payload));
        (kind, payload)
    }

    /// Sends a message and waits for one that `holds`.
    pub async fn ask(&mut self, message: &Value, holds: impl Fn(&Value) -> bool) -> Value {
        self.send(TEXT, message.to_string().as_bytes()).await;
        let wait = async {
            loop {
                let (kind, payload) = self.receive().await;
                if kind == TEXT
                    && let Ok(said) = serde_json::from_slice(&payload)
                    && holds(&said)
                {
                    return said;
                }
            }
        };
        timeout(ANSWER, wait).await.expect("the other side answers")
    }

    /// Sends a ping and waits for its pong, which tests both directions.
    pub async fn ping(&mut self, payload: &str) {
        self.send(PING, payload.as_bytes()).await;
        let wait = async { while self.receive().await != (PONG, payload.into()) {} };
        timeout(ANSWER, wait).await.expect("the ping is answered");
    }
}
