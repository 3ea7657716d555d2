//! A bucket that outlives the host: fake-gcs-server, a third-party program.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::until;

/// fake-gcs-server with the one bucket `backups`.
pub struct Bucket {
    server: Child,
    port: u16,
    root: TempDir,
}

impl Bucket {
    /// Starts it and waits until it accepts connections.
    pub async fn start() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(root.path().join("backups")).expect("the bucket can be made");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let server = Command::new("fake-gcs-server")
            .args(["-scheme", "http", "-host", "127.0.0.1", "-backend", "filesystem"])
            .args(["-port", &port.to_string(), "-public-host", &format!("127.0.0.1:{port}")])
            .args(["-external-url", &format!("http://127.0.0.1:{port}"), "-filesystem-root"])
            .arg(root.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("fake-gcs-server is installed");
        until("the bucket answers", Duration::from_secs(20), async || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        })
        .await;
        Self { server, port, root }
    }

    /// Settings that send backups there.
    pub fn settings(&self) -> String {
        format!(
            "[backup]\ndestination = \"gs://backups/some/prefix\"\nendpoint = \"http://127.0.0.1:{}\"\n",
            self.port
        )
    }

    /// When the newest object in this folder was written.
    pub fn newest(&self, name: &str) -> Option<std::time::SystemTime> {
        let folder = self.root.path().join("backups/some/prefix").join(name);
        let times = std::fs::read_dir(folder)
            .ok()?
            .filter_map(|e| e.ok()?.metadata().ok()?.modified().ok());
        times.max()
    }

    /// The number of objects below this folder.
    pub fn objects(&self, name: &str) -> usize {
        fn count(folder: &Path) -> usize {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|e| if e.path().is_dir() { count(&e.path()) } else { 1 }).sum()
        }
        count(&self.root.path().join("backups/some/prefix").join(name))
    }

    /// The folder of the objects.
    pub fn root(&self) -> &Path {
        self.root.path()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
