//! Closes open connections. Caddy authorizes a WebSocket only when it is opened; when access is
//! revoked later, the kernel closes it at both ends.

use std::{net::SocketAddr, time::Duration};

use startclaw_model::Check;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::command::run;
use startclaw_host::HostError;

/// A closed connection is noticed at once; the timeout is for a busy host.
const PATIENCE: Duration = Duration::from_secs(1);

/// Closes every connection from this host to `address`.
pub(super) async fn drop_connections(address: SocketAddr) -> Result<(), HostError> {
    let to = address.to_string();
    run("ss", &["--kill", "--tcp", "--numeric", "--no-header", "dst", &to], None).await.map(drop)
}

/// Whether this kernel can close connections, tested on one of our own.
pub(super) async fn finding() -> Check {
    let fix = "apt install iproute2, and run a kernel with CONFIG_INET_DIAG_DESTROY, such as Debian's: \
                until then, an open page of an instance stays open for up to a day after its person signed out";
    match tried().await {
        Ok(true) => Check::ok("connections", "who signs out is cut off at once"),
        Ok(false) => Check::error("connections", "this kernel does not end connections", fix),
        Err(e) => Check::error("connections", e.message, fix),
    }
}

async fn tried() -> Result<bool, HostError> {
    let failed = |e| HostError::unavailable(format!("cannot connect to this machine itself: {e}"));
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let mut ours = TcpStream::connect(address).await.map_err(failed)?;
    let _theirs = listener.accept().await.map_err(failed)?;
    drop_connections(address).await?;
    // If the connection was not closed, the read blocks.
    Ok(timeout(PATIENCE, ours.read(&mut [0])).await.is_ok())
}
