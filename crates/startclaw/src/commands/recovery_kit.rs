//! `startclaw recovery-kit`

use std::{
    fs::File,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;
use startclaw_model::Secret;
use startclaw_vault::{KitError, RecoveryKit as Kit, Vault};

use crate::{
    cli::Globals,
    exit::{Exit, Failure},
    output,
    settings::Settings,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  age-keygen --output operator.txt         on another host; keep this file safe
  startclaw recovery-kit --recipient age1... --output startclaw.kit

The kit holds the master key, the settings, and the bucket credentials. It stays valid until one of
these changes. With it and the bucket, `startclaw recover` recovers the platform.")]
pub struct RecoveryKit {
    /// An age recipient that can open it; repeatable
    #[arg(long, required = true, value_name = "AGE1...")]
    recipient: Vec<String>,
    /// Output file [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl RecoveryKit {
    pub fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let settings = super::settings(globals)?;
        let vault = Vault::load(&settings.master_key(), false)
            .context("run this on the daemon's host, as root")?;
        let credentials = credentials(&settings)?;
        let kit = Kit::new(&vault, settings.own_text()?, credentials.as_ref());
        let sealed = kit.seal(&self.recipient).map_err(|e| match e {
            KitError::Seal(_) => anyhow::Error::from(e),
            e => Failure::new(Exit::Usage, e.to_string()).into(),
        })?;
        match &self.output {
            Some(file) => {
                write_new(file, &sealed)?;
                let place = file.display();
                if globals.json {
                    output::json(&serde_json::json!({ "file": file }))?;
                } else {
                    output::line(&format!("{place} written; store it away from this host"))?;
                }
            }
            None if globals.json => output::json(&serde_json::json!({ "kit": sealed }))?,
            None => output::line(sealed.trim_end())?,
        }
        let destination = &settings.backup.destination;
        if destination.is_empty() {
            output::note(
                "Backups are stored on this host's own disk. For the kit to be useful after the loss of the host, set backup.destination.",
            );
        }
        Ok(())
    }
}

fn credentials(settings: &Settings) -> anyhow::Result<Option<Secret>> {
    let file = &settings.backup.credentials;
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read backup.credentials, {}", file.display()))?;
    Ok(Some(Secret::new(text)))
}

/// An existing kit is not overwritten: it may be the only one that opens older backups.
fn write_new(file: &Path, text: &str) -> anyhow::Result<()> {
    let made = File::options().write(true).create_new(true).mode(0o600).open(file);
    let mut open = made.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => anyhow::Error::from(Failure::new(
            Exit::Conflict,
            format!("{} already exists: choose another file", file.display()),
        )),
        _ => anyhow::Error::from(e).context(format!("cannot write {}", file.display())),
    })?;
    open.write_all(text.as_bytes())?;
    Ok(open.sync_all()?)
}
