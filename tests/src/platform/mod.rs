//! A whole platform: daemon, Caddy, and instances in Docker, isolated from others on the host, and
//! removed without a trace when dropped.

mod control;
mod docker;
mod edge;
mod processes;
mod settings;

use std::{net::SocketAddr, path::PathBuf, process::Child, time::Duration};

use tempfile::TempDir;

pub use self::processes::program;
use crate::caddy::Caddy;

/// Distinguishes the platforms of tests that run in parallel.
#[derive(Debug, Clone, Copy)]
pub struct Lot(pub u8);

pub struct Platform {
    lot: Lot,
    dir: TempDir,
    daemon: Option<Child>,
    caddy: Option<Caddy>,
    https_port: u16,
}

/// How long an operation may take on a busy host.
pub const OPERATION: Duration = Duration::from_secs(300);

impl Platform {
    /// Starts daemon and Caddy. `allow` are addresses that instances may reach; `extra` is appended
    /// to the settings file.
    pub async fn start(lot: u8, allow: &[SocketAddr], extra: &str) -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let dir = tempfile::tempdir().expect("a temporary folder");
        let https_port = settings::free_port();
        let mut platform = Self { lot: Lot(lot), dir, daemon: None, caddy: None, https_port };
        platform.remove_leftovers();
        platform.write_settings(allow, extra);
        platform.start_daemon().await;
        platform.start_caddy().await;
        platform
    }

    /// A file of this platform.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn settings(&self) -> PathBuf {
        self.path("startclaw.toml")
    }

    /// The prefix of names in Docker.
    pub fn prefix(&self) -> String {
        format!("sctest{}", self.lot.0)
    }

    /// The domain; browsers and our clients resolve it to this host.
    pub fn domain(&self) -> String {
        format!("t{}.localhost", self.lot.0)
    }

    /// The address of an instance.
    pub fn origin(&self, name: &str) -> String {
        format!("https://{name}.{}:{}", self.domain(), self.https_port)
    }

    /// The address of the portal.
    pub fn site(&self) -> String {
        format!("https://{}:{}", self.domain(), self.https_port)
    }

    /// The certificate that signs this platform's certificates.
    pub fn authority(&self) -> PathBuf {
        self.path("caddy/pki/authorities/local/intermediate.crt")
    }

    /// The HTTPS port.
    pub fn https_port(&self) -> u16 {
        self.https_port
    }

    /// Simulates the loss of the host, with everything on it.
    pub fn lose_machine(&mut self) {
        self.kill_daemon();
        self.caddy = None;
        self.remove_leftovers();
        for entry in std::fs::read_dir(self.dir.path()).expect("it can be listed").flatten() {
            let path = entry.path();
            let gone = if path.is_dir() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            gone.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["daemon.log", "caddy.log"] {
                let log = std::fs::read_to_string(self.path(name)).unwrap_or_default();
                let tail: Vec<_> = log.lines().rev().take(40).collect();
                eprintln!("the last lines of {name}:");
                for line in tail.into_iter().rev() {
                    eprintln!("  {line}");
                }
            }
            for container in self.objects("container") {
                eprintln!("the last lines of container {container}:");
                eprintln!("{}", self.docker(&["logs", "--tail", "40", &container]));
            }
        }
        self.kill_daemon();
        self.caddy = None;
        self.remove_leftovers();
    }
}
