//! `startclaw recover`: recovers the platform on a new host.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, ensure};
use clap::Args;
use startclaw_backup::Workers;
use startclaw_backups::{Recovered, Recovery};
use startclaw_docker::DockerHost;
use startclaw_engine::free_space;
use startclaw_host::Host;
use startclaw_model::{Name, SnapshotChoice, TimeZone, Timestamp};
use startclaw_store::Store;
use startclaw_vault::{KitError, RecoveryKit};

use super::name;
use crate::{
    cli::Globals,
    exit::{Exit, Failure},
    output, secret_input, serve,
    settings::{self, Settings},
};

#[derive(Debug, Args)]
#[command(after_help = "\
Example, on a new host where StartClaw is installed and its daemon does not run:
  startclaw recover --kit startclaw.kit --identity operator.txt --from gs://bucket/prefix

It restores the settings (unless the host has some), the master key and the database. Then start the
daemon: it restores every instance from its newest backup, and `startclaw status` shows the progress.")]
pub struct Recover {
    /// The recovery kit
    #[arg(long, value_name = "FILE")]
    kit: PathBuf,
    /// The age identity that opens it, a file from age-keygen; - is stdin
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    /// Backup destination [default: from the kit]
    #[arg(long, value_name = "PLACE")]
    from: Option<String>,
    /// Recover only the settings, the master key and the database: the volumes of the instances are
    /// still on this host
    #[arg(long)]
    control_plane_only: bool,
    /// Take the newest backup of the database that was made before this time instead of the newest
    /// of all; without an offset or Z, in the time zone of the settings
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
    /// Do not restore this instance now; can be repeated. It can be restored later
    #[arg(long, value_name = "NAME", value_parser = name)]
    without: Vec<Name>,
}

/// A time such as 2026-02-08T03:12Z; a day is its beginning.
fn time(text: &str, zone: &TimeZone) -> anyhow::Result<Timestamp> {
    match SnapshotChoice::parse(text, zone) {
        Ok(SnapshotChoice::Between(from, _)) => Ok(from),
        _ => {
            let text = format!("--before {text:?}: a time is like 2026-02-08T03:12Z");
            Err(Failure::new(Exit::Usage, text).into())
        }
    }
}

impl Recover {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let kit = self.open_kit()?;
        let file = globals.config.clone().unwrap_or_else(|| settings::FILE.into());
        let (settings, text) = self.settings(&kit, &file)?;
        let zone = &settings.backup.time_zone;
        let before = self.before.as_deref().map(|text| time(text, zone)).transpose()?;
        let _lock = serve::Lock::take(&settings.data_dir)
            .map_err(|e| Failure::new(Exit::Conflict, format!("{e:#}: stop it first")))?;
        refuse_if_used(&settings).await?;
        let free =
            if self.control_plane_only { None } else { refuse_if_volumes(&settings).await? };
        put_credentials(&kit, &settings)?;

        let workers = Workers::new(
            std::env::current_exe().context("cannot find the path of this program")?,
            vec!["backup-worker".into()],
            serve::WORKER_STALL,
        );
        let recovery = Recovery::new(kit.vault()?, Arc::new(workers), &settings.backup)?;
        let stage = fresh_stage(&settings.data_dir)?;
        let destination = &settings.backup.destination;
        output::note(&format!("Fetching the database from {destination}"));
        let uid = rustix::process::getuid().as_raw();
        let database = recovery.fetch_database(&stage, uid, before).await?;
        for (taken_at, why) in &database.skipped {
            output::note(&format!("  its backup of {taken_at} is damaged: {}", output::clean(why)));
        }
        output::note(&format!(
            "  it is of {}: what was created or changed later is not known, and what was deleted later comes back",
            database.taken_at
        ));
        let store = Store::open(&database.file).await?;
        let recovered = if self.control_plane_only {
            Vec::new()
        } else {
            recovery
                .restore_snapshots(&store, &self.without, free, |one| {
                    output::note(&format!("  {}", output::clean(&line(one))));
                })
                .await?
        };
        store.close().await;
        kit.vault()?.store(&settings.master_key())?;
        if let Some(text) = text {
            put_settings(&file, &text)?;
        }
        put_in_place(&settings, &database.file)?;
        fs::remove_dir_all(&stage)?;
        report(globals, &recovered)
    }

    fn open_kit(&self) -> anyhow::Result<RecoveryKit> {
        let sealed = fs::read(&self.kit)
            .with_context(|| format!("cannot read the kit {}", self.kit.display()))?;
        let identity = secret_input::from_file(&self.identity)?;
        RecoveryKit::open(&sealed, &identity).map_err(|e| match e {
            KitError::Identity | KitError::NotForYou => {
                Failure::new(Exit::Denied, e.to_string()).into()
            }
            e => e.into(),
        })
    }

    /// The settings of this host if it has some, else those of the kit; in that case also the text
    /// to write.
    fn settings(
        &self,
        kit: &RecoveryKit,
        file: &Path,
    ) -> anyhow::Result<(Settings, Option<String>)> {
        let usage = |e: anyhow::Error| Failure::new(Exit::Usage, format!("{e:#}"));
        if file.exists() {
            let settings = Settings::load(Some(file)).map_err(usage)?;
            let there = &settings.backup.destination;
            if self.from.as_ref().is_some_and(|from| from != there) {
                let text = format!(
                    "{} is there and says backup.destination = {there:?}: change it there, or move the file away to use the kit's settings",
                    file.display()
                );
                return Err(Failure::new(Exit::Conflict, text).into());
            }
            return Ok((settings, None));
        }
        let mut settings = Settings::from_text(kit.settings()).map_err(usage)?;
        if let Some(from) = &self.from {
            settings.backup.destination.clone_from(from);
        }
        let text = settings.own_text()?;
        // Validated again, with the other destination.
        Ok((Settings::from_text(&text).map_err(usage)?, Some(text)))
    }
}

/// Moves aside the database and the key of a daemon that never had an instance; refuses otherwise.
async fn refuse_if_used(settings: &Settings) -> anyhow::Result<()> {
    let (database, key) = (settings.database(), settings.master_key());
    if database.exists() {
        let store = Store::open(&database).await?;
        let unused = store.instances().await?.is_empty() && store.archives().await?.is_empty();
        store.close().await;
        if !unused {
            let text = format!(
                "{} already contains instances and is not overwritten. If you are sure, move it and master.key away",
                database.display()
            );
            return Err(Failure::new(Exit::Conflict, text).into());
        }
        for file in [&database, &key].into_iter().filter(|f| f.exists()) {
            fs::rename(file, free_name(file))?;
        }
    }
    Ok(())
}

/// A name beside `file` for it that no earlier recovery used.
fn free_name(file: &Path) -> PathBuf {
    let name = |n: u32| {
        let mut name = file.as_os_str().to_owned();
        name.push(".before-recover");
        if n > 0 {
            name.push(format!(".{n}"));
        }
        PathBuf::from(name)
    };
    (0..).map(name).find(|name| !name.exists()).unwrap_or_else(|| name(u32::MAX))
}

/// A restore would replace volumes that may be newer. Without volumes, returns the free space on
/// the disk of the instances, if the host tells.
async fn refuse_if_volumes(settings: &Settings) -> anyhow::Result<Option<u64>> {
    let host = DockerHost::new(settings.docker.clone(), startclaw_openclaw::WEBHOOK_PORT)?;
    let found = host.inventory().await.context("cannot list the instance volumes on this host")?;
    if found.is_empty() {
        return Ok(free_space(&host).await);
    }
    let text = format!(
        "Docker still has containers or volumes of {} instances on this host. If they are intact, recover only the rest with --control-plane-only; otherwise remove them first",
        found.len()
    );
    Err(Failure::new(Exit::Conflict, text).into())
}

fn put_credentials(kit: &RecoveryKit, settings: &Settings) -> anyhow::Result<()> {
    let file = &settings.backup.credentials;
    let Some(credentials) = kit.credentials() else { return Ok(()) };
    if file.as_os_str().is_empty() || file.exists() {
        return Ok(());
    }
    write_private(file, credentials.expose())
        .with_context(|| format!("cannot write backup.credentials, {}", file.display()))
}

fn fresh_stage(data_dir: &Path) -> anyhow::Result<PathBuf> {
    let stage = data_dir.join("recover");
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    fs::DirBuilder::new().mode(0o700).create(&stage)?;
    Ok(stage)
}

/// The database is moved last: until then, recover can be run again.
fn put_in_place(settings: &Settings, database: &Path) -> anyhow::Result<()> {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    let pending = fs::metadata(&log).map_or(0, |m| m.len());
    ensure!(pending == 0, "the fetched database has a pending write-ahead log: run recover again");
    fs::File::open(database)?.sync_all()?;
    fs::rename(database, settings.database())?;
    Ok(fs::File::open(&settings.data_dir)?.sync_all()?)
}

fn put_settings(file: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let text = format!("# Written by startclaw recover, from the recovery kit.\n\n{text}");
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn write_private(file: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut open = fs::File::options().write(true).create_new(true).mode(0o600).open(file)?;
    open.write_all(text.as_bytes())?;
    Ok(open.sync_all()?)
}

fn line(one: &Recovered) -> String {
    if let Some(why) = &one.error {
        return format!("{}: not restored: {why}", one.name);
    }
    match one.taken_at {
        Some(at) => format!("{}: the backup of {at}", one.name),
        None => format!("{}: no backup, starts empty", one.name),
    }
}

fn report(globals: &Globals, recovered: &[Recovered]) -> anyhow::Result<()> {
    if globals.json {
        return output::json(&serde_json::json!({ "instances": recovered }));
    }
    let left_out: Vec<_> =
        recovered.iter().filter(|one| one.error.is_some()).map(|one| one.name.as_str()).collect();
    let count = recovered.len() - left_out.len();
    output::line(&format!(
        "Control plane restored; {count} instances will be restored. Next: systemctl start startclaw"
    ))?;
    if !left_out.is_empty() {
        output::line(&format!(
            "Not restored: {}. Each can be restored later with: startclaw restore NAME latest",
            left_out.join(", ")
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_recovery_moved_aside_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("master.key");
        for content in ["first", "second", "third"] {
            fs::write(&file, content).unwrap();
            fs::rename(&file, free_name(&file)).unwrap();
        }
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("master.key.before-recover"), "first");
        assert_eq!(read("master.key.before-recover.2"), "third");
    }
}
