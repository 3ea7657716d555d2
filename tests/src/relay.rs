//! Docker's socket at another path, which a test can take away: for the platform that is
//! Docker being stopped, and for all others on the machine nothing.

use std::path::PathBuf;

use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
    task::{JoinHandle, JoinSet},
};

/// Where Docker is in truth.
const DOCKER: &str = "/var/run/docker.sock";

/// A way to Docker that can be cut.
pub struct Relay {
    dir: TempDir,
    passing: Option<JoinHandle<()>>,
}

impl Relay {
    /// Opens the way.
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

    /// Ends every connection and takes the socket away.
    pub async fn cut(&mut self) {
        if let Some(passing) = self.passing.take() {
            passing.abort();
            // The connections end with the task that has them.
            let _ = passing.await;
        }
        std::fs::remove_file(self.path()).expect("the socket was there");
    }

    /// Puts the socket back.
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
