//! Docker's socket at another path, which a test can remove: for the platform Docker is stopped,
//! while all others on the host are not affected.

use std::path::PathBuf;

use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
    task::{JoinHandle, JoinSet},
};

/// Docker's real socket.
const DOCKER: &str = "/var/run/docker.sock";

/// A connection to Docker that can be cut.
pub struct Relay {
    dir: TempDir,
    passing: Option<JoinHandle<()>>,
}

impl Relay {
    /// Starts the relay.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut relay = Self { dir, passing: None };
        relay.reconnect();
        relay
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// The line for the settings.
    pub fn setting(&self) -> String {
        format!("socket = \"unix://{}\"\n", self.path().display())
    }

    /// Closes every connection and removes the socket.
    pub async fn cut(&mut self) {
        if let Some(passing) = self.passing.take() {
            passing.abort();
            // The connections end with the task that owns them.
            let _ = passing.await;
        }
        std::fs::remove_file(self.path()).expect("the socket was there");
    }

    /// Creates the socket again.
    pub fn reconnect(&mut self) {
        let listener = UnixListener::bind(self.path()).expect("a socket can be made");
        self.passing = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut caller, _)) = listener.accept().await {
                connections.spawn(async move {
                    if let Ok(mut docker) = UnixStream::connect(DOCKER).await {
                        let _ = copy_bidirectional(&mut caller, &mut docker).await;
                    }
                });
            }
        }));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(passing) = &self.passing {
            passing.abort();
        }
    }
}
