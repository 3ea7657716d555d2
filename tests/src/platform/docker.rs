//! The objects of a platform in Docker and on the host, inspected without the daemon.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use super::{OPERATION, Platform};
use crate::until;

impl Platform {
    /// Runs `docker` and returns its output.
    pub fn docker(&self, arguments: &[&str]) -> String {
        let output = Command::new("docker").args(arguments).output().expect("docker runs");
        // Logs are on both streams.
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    /// The id of an instance's container.
    pub fn container(&self, name: &str) -> String {
        let id = format!("label={}.instance", self.prefix());
        let named = format!("label={}.name={name}", self.prefix());
        self.docker(&["ps", "--all", "--quiet", "--filter", &id, "--filter", &named])
    }

    /// The objects of one kind that this platform has in Docker.
    pub fn objects(&self, kind: &str) -> Vec<String> {
        let label = format!("label={}.instance", self.prefix());
        let mut arguments = vec![kind, "ls", "--quiet", "--filter", &label];
        if kind == "container" {
            arguments.push("--all");
        }
        self.docker(&arguments).lines().map(str::to_owned).collect()
    }

    /// Identifies the current container of an instance, and its start.
    pub fn run_of(&self, name: &str) -> String {
        let container = self.container(name);
        self.docker(&["inspect", "--format", "{{.Id}} since {{.State.StartedAt}}", &container])
    }

    /// Waits until an instance answers at its address again, in another run than `before`, without
    /// intervention.
    pub async fn renewed(&self, name: &str, before: &str, cookie: &str) -> Value {
        until(&format!("{name} is back, other than {before}"), OPERATION, async || {
            let status = self.status(name).await;
            let back = status["state"] == "live"
                && self.page(name, cookie).await == Some(200)
                && self.run_of(name) != before
                && self.is_running(name);
            back.then_some(status)
        })
        .await
    }

    /// Whether the container of an instance is running according to Docker.
    pub fn is_running(&self, name: &str) -> bool {
        let container = self.container(name);
        self.docker(&["inspect", "--format", "{{.State.Running}}", &container]) == "true"
    }

    /// The first process of an instance's container.
    pub fn first_process(&self, name: &str) -> String {
        self.docker(&["inspect", "--format", "{{.State.Pid}}", &self.container(name)])
    }

    /// The folder of an instance's data.
    pub fn data(&self, name: &str) -> PathBuf {
        let named = format!("label={}.name={name}", self.prefix());
        let volume = self.docker(&["volume", "ls", "--quiet", "--filter", &named]);
        let mount = self.docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", &volume]);
        assert!(Path::new(&mount).is_dir(), "{name} has a volume: {mount}");
        mount.into()
    }

    pub(super) fn remove_leftovers(&self) {
        for (kind, force) in [("container", true), ("network", false), ("volume", true)] {
            for id in self.objects(kind) {
                let mut arguments = vec![kind, "rm"];
                if force {
                    arguments.push("--force");
                }
                arguments.push(&id);
                self.docker(&arguments);
            }
        }
        let _ = Command::new("nft")
            .args(["delete", "table", "inet", &self.prefix().replace('-', "_")])
            .stderr(Stdio::null())
            .status();
        unmount(&self.path("run/secrets"));
    }
}

fn unmount(path: &Path) {
    let _ = Command::new("umount").arg(path).stderr(Stdio::null()).status();
}
