//! The tools used without a platform: `tar | gzip`, and restic. Both need a volume that is not
//! being written to.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context;

/// Archives a folder.
pub fn tar(folder: &Path, archive: &Path) -> anyhow::Result<Duration> {
    timed(
        Command::new("tar")
            .arg("--create")
            .arg("--gzip")
            .arg("--file")
            .arg(archive)
            .arg("--directory")
            .arg(folder)
            .arg("."),
    )
}

/// Unpacks an archive into an empty folder.
pub fn untar(archive: &Path, folder: &Path) -> anyhow::Result<Duration> {
    std::fs::create_dir_all(folder)?;
    timed(
        Command::new("tar")
            .arg("--extract")
            .arg("--gzip")
            .arg("--file")
            .arg(archive)
            .arg("--directory")
            .arg(folder),
    )
}

/// restic with its own repository and cache.
pub struct Restic<'a> {
    pub home: &'a Path,
}

impl Restic<'_> {
    /// Creates the repository.
    pub fn init(&self) -> anyhow::Result<()> {
        timed(self.command().arg("init")).map(drop)
    }

    /// The path of the repository.
    pub fn repository(&self) -> std::path::PathBuf {
        self.home.join("repository")
    }

    /// Takes a snapshot of a folder.
    pub fn back_up(&self, folder: &Path) -> anyhow::Result<Duration> {
        timed(self.command().arg("backup").arg(folder))
    }

    /// Restores the newest snapshot into an empty folder.
    pub fn restore(&self, folder: &Path) -> anyhow::Result<Duration> {
        timed(self.command().arg("restore").arg("latest").arg("--target").arg(folder))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("restic");
        command
            .env("RESTIC_REPOSITORY", self.repository())
            .env("RESTIC_CACHE_DIR", self.home.join("cache"))
            .env("RESTIC_PASSWORD", "bench")
            .arg("--quiet");
        command
    }
}

fn timed(command: &mut Command) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let took = begun.elapsed();
    anyhow::ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(took)
}
