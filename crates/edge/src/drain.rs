//! Reads the rest of a request's body before the response is sent.
//!
//! A handler may reject a request without reading its body: an invalid token, an unsupported media
//! type, a form from another site. hyper then closes the connection with unread bytes in it, and
//! the kernel sends a reset. Caddy, still writing the body, sees the reset before the response and
//! answers its client with 502. So the rest of the body is read and discarded first, within limits.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, BodyDataStream, Bytes, HttpBody as _},
    extract::Request,
    http::{HeaderName, HeaderValue, header},
    middleware::{Next, from_fn},
    response::Response,
};
use futures::{Stream, StreamExt as _};
use tokio::time::{Instant, timeout_at};

/// Maximum number of bytes discarded. Caddy lets at most 2 MB through.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// How long a rejected request may take to arrive, from its start. Short, so that slow clients
/// occupy few of the daemon's connections.
const MAX_TIME: Duration = Duration::from_secs(5);
/// Signals to Caddy that a body was not read to its end, so that it closes the client's connection
/// instead of waiting for the rest before it forwards the response.
pub(crate) const UNREAD: HeaderName = HeaderName::from_static("x-startclaw-unread");

/// Reads what the handlers of `router` leave of a request's body before the response is sent. Must
/// be the outermost layer.
pub fn drained(router: Router) -> Router {
    drained_within(router, MAX_TIME)
}

fn drained_within(router: Router, limit: Duration) -> Router {
    router.layer(from_fn(move |request, next| drain(request, next, limit)))
}

async fn drain(request: Request, next: Next, limit: Duration) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let until = Instant::now() + limit;
    let (parts, body) = request.into_parts();
    let mut rest = Shared(Arc::new(Mutex::new(body.into_data_stream())));
    let handed_on = Body::from_stream(Shared(Arc::clone(&rest.0)));
    let mut response = next.run(Request::from_parts(parts, handed_on)).await;
    if !matches!(timeout_at(until, read_out(&mut rest)).await, Ok(true)) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response.headers_mut().insert(UNREAD, HeaderValue::from_static("1"));
    }
    response
}

/// Reads to the end; `false` if the limit is exceeded or the body is cut off.
async fn read_out(rest: &mut Shared) -> bool {
    let mut bytes = 0;
    while let Some(piece) = rest.next().await {
        let Ok(piece) = piece else { return false };
        bytes += piece.len();
        if bytes > MAX_BYTES {
            return false;
        }
    }
    true
}

/// A body that the handler reads, and whose rest is left when the handler is done.
struct Shared(Arc<Mutex<BodyDataStream>>);

impl Stream for Shared {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // After a handler panicked during a read, the body can still be read, or fails.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_next_unpin(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::{http::StatusCode, routing::post};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// A listener whose `/refuse` reads no body, and whose `/read` reads it all.
    async fn served(limit: Duration) -> TcpStream {
        let router = Router::new()
            .route("/refuse", post(async || StatusCode::UNAUTHORIZED))
            .route("/read", post(async |body: String| body));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, drained_within(router, limit)).await });
        TcpStream::connect(address).await.unwrap()
    }

    async fn head(client: &mut TcpStream) -> String {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            text.push(client.read_u8().await.unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn a_refused_request_is_answered_after_its_body_and_the_connection_stays_usable() {
        let mut client = served(MAX_TIME).await;
        for length in [1_usize, 70_000, 1_000_000] {
            let request =
                format!("POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            // The response must not be sent before the body is read, however long that takes.
            let early =
                tokio::time::timeout(Duration::from_millis(100), client.peek(&mut [0])).await;
            assert!(early.is_err(), "answered before the body was read");
            client.write_all(&vec![b'x'; length]).await.unwrap();
            let head = head(&mut client).await;
            assert!(head.starts_with("HTTP/1.1 401") && !head.contains("close"), "{head}");
        }
        client
            .write_all(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            .await
            .unwrap();
        assert!(head(&mut client).await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_answered_all_the_same() {
        let mut client = served(Duration::from_millis(200)).await;
        client
            .write_all(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
            .await
            .unwrap();
        let head = head(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 401"), "{head}");
        assert!(
            head.contains("connection: close") && head.contains("x-startclaw-unread"),
            "{head}"
        );
    }

    #[tokio::test]
    async fn no_more_is_thrown_away_than_the_limit() {
        let mut client = served(MAX_TIME).await;
        let head_of_it =
            format!("POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 1 << 30);
        client.write_all(head_of_it.as_bytes()).await.unwrap();
        let (mut read, mut write) = client.into_split();
        let sent = tokio::spawn(async move {
            let mut sent = 0_usize;
            while write.write_all(&[0; 65_536]).await.is_ok() {
                sent += 65_536;
            }
            sent
        });
        let mut start = [0; 12];
        read.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 401");
        assert!(sent.await.unwrap() < 1 << 26);
    }
}
