//! Restricts the loopback listener to Caddy. Every user of the host can connect to a loopback port,
//! and could claim any client address. So the kernel is asked for the user of each connection.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
};

use axum::serve::Listener;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};
use tokio::net::{TcpListener, TcpStream};

/// A listener that closes connections of other users.
pub struct Guarded {
    listener: TcpListener,
    allowed: Vec<u32>,
    /// `None` if the kernel does not support the lookup.
    sockets: Option<SocketTable>,
}

impl Guarded {
    /// Accepts connections of root, of this process's user and of `user` (a name or a number).
    pub async fn new(listener: TcpListener, user: &str) -> io::Result<Self> {
        let own = rustix::process::geteuid().as_raw();
        let mut allowed = vec![0, own];
        allowed.extend(user_id(&fs::read_to_string("/etc/passwd").unwrap_or_default(), user));
        let sockets = SocketTable::open().ok();
        let mut guarded = Self { listener, allowed, sockets };
        if !guarded.knows(own).await? {
            tracing::warn!(
                "this kernel does not report the user of a connection (inet_diag): every user of this host reaches edge.listen"
            );
            guarded.sockets = None;
        }
        Ok(guarded)
    }

    /// Whether the lookup returns this process's user for its own connection.
    async fn knows(&self, own: u32) -> io::Result<bool> {
        let address = self.listener.local_addr()?;
        let probe = TcpStream::connect(address).await?;
        let uid = self.sockets.as_ref().map(|s| s.owner(probe.local_addr()?, address));
        Ok(matches!(uid, Some(Ok(Some(uid))) if uid == own))
    }

    fn admits(&self, io: &TcpStream, peer: SocketAddr) -> bool {
        let Some(sockets) = &self.sockets else { return true };
        let owner = io.local_addr().and_then(|own| sockets.owner(peer, own));
        match owner {
            Ok(Some(uid)) if self.allowed.contains(&uid) => true,
            Ok(uid) => {
                metrics::counter!("startclaw_edge_refused_peers_total").increment(1);
                tracing::debug!(?uid, "only Caddy may connect here (edge.caddy_user)");
                false
            }
            Err(e) => {
                tracing::error!(error = %e, "cannot look up the user of a connection; it is rejected");
                false
            }
        }
    }
}

impl Listener for Guarded {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let (io, peer) = Listener::accept(&mut self.listener).await;
            if self.admits(&io, peer) {
                return (io, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Finds the id of a user in the text of `/etc/passwd`; a number is taken as an id.
fn user_id(users: &str, wanted: &str) -> Option<u32> {
    wanted.parse().ok().or_else(|| {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(wanted)).then(|| fields.nth(1)?.parse().ok()).flatten()
        })
    })
}

/// The kernel's socket table (`sock_diag`), queried for one socket at a time.
struct SocketTable(OwnedFd);

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
/// Sizes of a message's header, and of request and response (linux/inet_diag.h).
const HEADER: usize = 16;
const REQUEST: usize = HEADER + 56;
const ANSWER: usize = HEADER + 72;
/// `TCP_ESTABLISHED`. A socket that its owner has closed has no owner, which reads as root.
const ESTABLISHED: u8 = 1;

impl SocketTable {
    fn open() -> io::Result<Self> {
        let kind = (AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC);
        Ok(Self(socket_with(kind.0, kind.1, kind.2, Some(netlink::SOCK_DIAG))?))
    }

    /// The user of the open socket at `local` that is connected to `remote`.
    fn owner(&self, local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u32>> {
        send(&self.0, &request(local, remote), SendFlags::empty())?;
        let mut answer = [0; 512];
        // The response is available when `send` returns.
        let (length, _) = recv(&self.0, &mut answer[..], RecvFlags::DONTWAIT)?;
        Ok(read(&answer[..length]))
    }
}

fn request(local: SocketAddr, remote: SocketAddr) -> [u8; REQUEST] {
    let mut out = [0; REQUEST];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &u32::try_from(REQUEST).unwrap_or_default().to_ne_bytes());
    put(4, &BY_FAMILY.to_ne_bytes());
    // NLM_F_REQUEST.
    put(6, &1_u16.to_ne_bytes());
    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    // Protocol TCP, any state.
    put(HEADER, &[u8::try_from(family.as_raw()).unwrap_or_default(), 6, 0, 0]);
    put(HEADER + 4, &u32::MAX.to_ne_bytes());
    put(HEADER + 8, &local.port().to_be_bytes());
    put(HEADER + 10, &remote.port().to_be_bytes());
    for (at, ip) in [(HEADER + 12, local.ip()), (HEADER + 28, remote.ip())] {
        match ip {
            IpAddr::V4(ip) => put(at, &ip.octets()),
            IpAddr::V6(ip) => put(at, &ip.octets()),
        }
    }
    // INET_DIAG_NOCOOKIE: any socket with these addresses.
    put(HEADER + 48, &[0xff; 8]);
    out
}

/// The user in a response; `None` for an error or a socket that is not established.
fn read(answer: &[u8]) -> Option<u32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    if answer.len() < ANSWER || kind != BY_FAMILY || answer[HEADER + 1] != ESTABLISHED {
        return None;
    }
    Some(u32::from_ne_bytes(answer[HEADER + 64..HEADER + 68].try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    async fn guarded() -> Guarded {
        Guarded::new(TcpListener::bind("127.0.0.1:0").await.unwrap(), "startclaw-caddy")
            .await
            .unwrap()
    }

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users = "root:x:0:0::/:/bin/sh\ncaddy2:x:7:7::/:\ncaddy:x:998:9::/:\n";
        assert_eq!(user_id(users, "caddy"), Some(998));
        assert_eq!(user_id(users, "cadd"), None);
        assert_eq!(user_id(users, "65534"), Some(65534));
    }

    #[tokio::test]
    async fn the_kernel_says_whose_a_connection_is() {
        let mut guarded = guarded().await;
        assert!(guarded.sockets.is_some());
        let address = Listener::local_addr(&guarded).unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        loop {
            let (io, peer) = guarded.listener.accept().await.unwrap();
            if peer == client.local_addr().unwrap() {
                assert!(guarded.admits(&io, peer));
                guarded.allowed.clear();
                assert!(!guarded.admits(&io, peer), "users that are not named are refused");
                guarded.allowed = vec![0, rustix::process::geteuid().as_raw()];
                drop(client);
                assert!(!guarded.admits(&io, peer), "a closed socket belongs to nobody");
                return;
            }
        }
    }

    #[tokio::test]
    async fn another_local_user_is_cut_off() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root, to be another user");
            return;
        }
        let guarded = guarded().await;
        let port = Listener::local_addr(&guarded).unwrap().port();
        let router = axum::Router::new().route("/", axum::routing::get(async || "inside"));
        tokio::spawn(async move { axum::serve(guarded, router).await });
        let ask = move |uid: &'static str| {
            let script = format!(
                "exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
            );
            Command::new("setpriv")
                .args(["--reuid", uid, "--clear-groups", "bash", "-c", &script])
                .output()
        };
        for (uid, inside) in [("0", true), ("65534", false)] {
            let output = tokio::task::spawn_blocking(move || ask(uid)).await.unwrap().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(text.contains("inside"), inside, "user {uid}: {text}");
        }
    }
}
