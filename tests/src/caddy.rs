//! Real Caddy, for the duration of a test.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

/// A running Caddy.
pub struct Caddy(Child);

impl Caddy {
    /// Starts it with a Caddyfile; its log goes to `log`.
    pub fn start(caddyfile: &Path, home: &Path, log: &Path) -> Self {
        let log = std::fs::File::create(log).expect("a log file can be made");
        let child = Command::new("caddy")
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(caddyfile)
            .env("HOME", home)
            .env("XDG_DATA_HOME", home)
            .env("XDG_CONFIG_HOME", home)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be copied"))
            .stderr(log)
            .spawn()
            .expect("caddy is installed: script/bootstrap --test");
        Self(child)
    }
}

impl Drop for Caddy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
