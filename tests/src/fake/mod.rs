//! Fakes of external services. They listen where containers can reach them, which the platform
//! under test must allow in its settings.

pub mod model;
pub mod telegram;

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use tokio::{net::TcpListener, task::AbortHandle};

/// The host's address on Docker's default bridge, which every container can route to.
pub const HOST: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);

/// A fake that listens until it is dropped.
pub(crate) struct Listening {
    pub address: SocketAddr,
    task: AbortHandle,
}

impl Listening {
    pub async fn start(router: Router) -> Self {
        let listener =
            TcpListener::bind((HOST, 0)).await.expect("Docker's default bridge is there");
        let address = listener.local_addr().expect("a bound listener has an address");
        let serve = tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, task: serve.abort_handle() }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}
