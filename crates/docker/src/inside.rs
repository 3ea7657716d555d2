//! Probes a container without a reachable address, from inside its network.
//!
//! It runs no program of the container: a thread of ours enters its network namespace, connects,
//! and ends; the connection outlives the thread.

use std::{
    fs::File,
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::fd::AsFd,
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{DockerHost, client::blocking, probe};
use startclaw_host::{HostError, InstanceSpec, Probe};

/// The connection is local; only a full accept queue makes this wait.
const TIMEOUT: Duration = Duration::from_secs(2);

impl DockerHost {
    /// Probes the container on its loopback; it has no other address.
    pub(super) async fn ask_inside(&self, spec: &InstanceSpec) -> Result<Probe, HostError> {
        let container = self.container(spec).await?;
        let pid = container.and_then(|c| c.state).and_then(|state| state.pid).unwrap_or(0);
        if pid == 0 {
            return Ok(Probe::NotAsked);
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, spec.workload.gateway_port));
        let name = spec.name.clone();
        let connected = blocking("step into a container's network", move || {
            // A new thread: one that entered a namespace must not be used for anything else.
            let thread = std::thread::spawn(move || connect(pid, address));
            let ended = thread.join().unwrap_or_else(|_| Err(ErrorKind::Other.into()));
            match ended {
                Ok(stream) => Ok(Some(stream)),
                // It does not listen yet, or has ended.
                Err(e)
                    if matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) =>
                {
                    Ok(None)
                }
                Err(e) => {
                    Err(HostError::unavailable(format!("cannot ask the drill of {name}: {e}")))
                }
            }
        });
        let Some(stream) = connected.await? else { return Ok(Probe::Refused) };
        let ours = |e: io::Error| HostError::unavailable(format!("cannot ask a drill: {e}"));
        stream.set_nonblocking(true).map_err(ours)?;
        let stream = tokio::net::TcpStream::from_std(stream).map_err(ours)?;
        probe::ask_on(stream, &spec.workload.probe_path).await
    }
}

fn connect(pid: i64, address: SocketAddr) -> io::Result<TcpStream> {
    let space = File::open(format!("/proc/{pid}/ns/net"))?;
    move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?;
    TcpStream::connect_timeout(&address, TIMEOUT)
}
