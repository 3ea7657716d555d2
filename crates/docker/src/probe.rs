//! Probes a running instance: one short HTTP request.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1, header, http::request::Builder};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use startclaw_host::{HostError, Probe};

/// Longer than a busy instance takes, shorter than users wait.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The timeout of a call.
const POST_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of the answer to a probe is kept.
const LIMIT: usize = 4096;

/// The limit of what is read of an answer in addition to its body: headers, interim responses, and
/// chunk sizes. Without it an instance could send interim responses or empty chunks endlessly.
const READ_OVERHEAD: usize = 28 * 1024;

/// hyper's buffer for headers; at least 8 KiB.
const HEADER_LIMIT: usize = 16 * 1024;

/// The client address that probes claim. They come from the proxy's address, and a gateway that
/// trusts its proxy rejects requests without a client address or with that of this host. This one
/// is reserved for documentation (RFC 5737).
const ASKED_FOR: &str = "192.0.2.1";

/// `GET path` at `address`, without proxies or redirects.
pub(super) async fn ask(address: SocketAddr, path: &str) -> Result<Probe, HostError> {
    classify(
        address,
        timeout(TIMEOUT, exchange(address, Request::get(path), Bytes::new(), LIMIT)).await,
    )
}

/// The same on an existing connection, without a proxy header.
pub(super) async fn ask_on(stream: TcpStream, path: &str) -> Result<Probe, HostError> {
    let address = stream.peer_addr().map_err(|e| HostError::unavailable(e.to_string()))?;
    let asked = request_on(stream, address, Request::get(path), Bytes::new(), LIMIT);
    classify(address, timeout(TIMEOUT, asked).await)
}

/// Posts JSON to `address`, as a trusted user of the instance.
pub(super) async fn call(
    address: SocketAddr,
    wanted: &startclaw_host::Request,
) -> Result<Probe, HostError> {
    let mut request = Request::post(&wanted.path).header(header::CONTENT_TYPE, "application/json");
    for (name, value) in &wanted.headers {
        request = request.header(name, value);
    }
    let body = Bytes::from(wanted.body.clone());
    classify(
        address,
        timeout(POST_TIMEOUT, exchange(address, request, body, wanted.answer_limit)).await,
    )
}

type Exchanged = Result<io::Result<(u16, String)>, tokio::time::error::Elapsed>;

fn classify(address: SocketAddr, exchanged: Exchanged) -> Result<Probe, HostError> {
    match exchanged {
        Ok(Ok((status, body))) => Ok(Probe::Answer { status, body }),
        Ok(Err(e)) if is_ours(&e) => {
            Err(HostError::unavailable(format!("cannot connect to {address}: {e}")))
        }
        Ok(Err(_)) => Ok(Probe::Refused),
        Err(_) => Ok(Probe::Silent),
    }
}

/// Whether the error is local, and says nothing about the instance.
fn is_ours(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL)
    )
}

async fn exchange(
    address: SocketAddr,
    request: Builder,
    body: Bytes,
    limit: usize,
) -> io::Result<(u16, String)> {
    let request = request.header("x-forwarded-for", ASKED_FOR);
    request_on(TcpStream::connect(address).await?, address, request, body, limit).await
}

async fn request_on(
    stream: TcpStream,
    address: SocketAddr,
    request: Builder,
    body: Bytes,
    limit: usize,
) -> io::Result<(u16, String)> {
    let request = request
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .body(Full::new(body))
        .map_err(io::Error::other)?;
    let (input, output) = stream.into_split();
    let read = u64::try_from(READ_OVERHEAD.saturating_add(limit)).unwrap_or(u64::MAX);
    converse(tokio::io::join(input.take(read), output), request, limit).await
}

/// Sends a request and reads the status and the beginning of the body of its answer.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
    limit: usize,
) -> io::Result<(u16, String)> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEADER_LIMIT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        let mut kept = Vec::new();
        while kept.len() < limit
            && let Some(frame) = body.frame().await
        {
            if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
                kept.extend_from_slice(&data[..data.len().min(limit - kept.len())]);
            }
        }
        Ok((status, String::from_utf8_lossy(&kept).into_owned()))
    };
    // Drives the connection and the request concurrently.
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        _ = connection => exchange.await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    /// Sends `first` and then `again` until the reader closes; returns how much it sent.
    async fn endless(
        first: &'static [u8],
        again: &'static [u8],
    ) -> (SocketAddr, tokio::task::JoinHandle<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sent = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            let mut sent = 0;
            let mut piece = first;
            while stream.write_all(piece).await.is_ok() {
                sent += piece.len();
                piece = again;
            }
            sent
        });
        (address, sent)
    }

    /// The kernel's buffers hold a few MiB more than is read.
    #[tokio::test]
    async fn an_answer_without_an_end_is_read_for_a_bounded_length_only() {
        for (first, again) in [
            (&b""[..], &b"HTTP/1.1 100 Continue\r\n\r\n"[..]),
            (b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"),
            (b"HTTP/1.1 200 OK\r\n", b"x-header: y\r\n"),
            (b"HTTP/1.1 200 OK\r\nx: ", b"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", b"xxxxxxxxxxxxxxxxxxxx"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
            (b"", b"\r\n"),
        ] {
            let (at, sent) = endless(first, again).await;
            let answer = ask(at, "/").await.unwrap();
            assert_ne!(answer, Probe::Silent, "{again:?} took all the time there is");
            // It could send only while we read.
            let sent = timeout(Duration::from_secs(20), sent).await.unwrap().unwrap();
            assert!(sent < 16 << 20, "{sent} bytes of {again:?}");
        }
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_not_followed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let aim = listener.local_addr().unwrap();
        let answer =
            format!("HTTP/1.1 302 Found\r\nlocation: http://{aim}/\r\ncontent-length: 0\r\n\r\n");
        let asked = ask(server(answer.into_bytes(), false).await, "/").await.unwrap();
        assert_eq!(asked, Probe::Answer { status: 302, body: String::new() });
        let followed = timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(followed.is_err(), "it was followed");
    }

    #[tokio::test]
    async fn an_answer_that_drips_is_silence() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            for byte in b"HTTP/1.1 200 OK\r\nx-header: ".iter().chain(std::iter::repeat(&b'y')) {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert_eq!(ask(at, "/").await.unwrap(), Probe::Silent);
    }

    async fn server(answer: Vec<u8>, hold: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(&answer).await;
            if hold {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn an_answer_is_status_and_body() {
        let at = server(b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nhi".to_vec(), false).await;
        assert_eq!(
            ask(at, "/x").await.unwrap(),
            Probe::Answer { status: 503, body: "hi".to_owned() }
        );
    }

    #[tokio::test]
    async fn a_huge_answer_is_cut() {
        let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        answer.extend(vec![b'x'; 1 << 20]);
        let Probe::Answer { body, .. } = ask(server(answer, false).await, "/").await.unwrap()
        else {
            panic!("no answer")
        };
        assert_eq!(body.len(), LIMIT);
    }

    #[tokio::test]
    async fn an_answer_to_a_post_is_kept_as_far_as_it_was_asked_for() {
        let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..8 {
            answer.extend(b"10000\r\n");
            answer.extend(vec![b'x'; 1 << 16]);
            answer.extend(b"\r\n");
        }
        answer.extend(b"0\r\n\r\n");
        for (limit, kept) in [(4096, 4096), (1 << 20, 8 << 16)] {
            let request = startclaw_host::Request {
                path: "/".to_owned(),
                headers: Vec::new(),
                body: "{}".to_owned(),
                answer_limit: limit,
            };
            let Probe::Answer { body, .. } =
                call(server(answer.clone(), false).await, &request).await.unwrap()
            else {
                panic!("no answer")
            };
            assert_eq!(body.len(), kept);
        }
    }

    #[tokio::test]
    async fn who_is_not_there_refuses_and_who_hangs_is_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(ask(nobody, "/").await.unwrap(), Probe::Refused);
        assert_eq!(ask(server(Vec::new(), false).await, "/").await.unwrap(), Probe::Refused);
        assert_eq!(ask(server(Vec::new(), true).await, "/").await.unwrap(), Probe::Silent);
    }

    #[test]
    fn an_error_of_our_own_is_not_taken_for_an_answer() {
        let is = |errno: Errno| is_ours(&errno.into());
        assert!(is(Errno::MFILE) && is(Errno::NFILE) && is(Errno::ADDRNOTAVAIL));
        assert!(!is(Errno::CONNREFUSED) && !is(Errno::CONNRESET) && !is(Errno::HOSTUNREACH));
    }
}
