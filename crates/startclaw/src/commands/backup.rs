//! `startclaw backup` and `startclaw backups`

use clap::Args;
use startclaw_api::{client::Client, wire};
use startclaw_model::{Name, OperationState};

use super::{name, wait};
use crate::{
    cli::{Globals, Waiting},
    connect,
    exit::{Exit, Failure},
    output::{self, Listing, Tint, ago},
};

#[derive(Debug, Args)]
pub struct Backup {
    /// The instance
    #[arg(value_parser = name, required_unless_present = "all")]
    name: Option<Name>,
    /// All instances
    #[arg(long, conflicts_with = "name")]
    all: bool,
    #[command(flatten)]
    waiting: Waiting,
}

impl Backup {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let client = connect::client(globals)?;
        match &self.name {
            Some(name) => {
                let operation = client.backup(name).await?;
                wait::wait(globals, &client, operation, self.waiting, |operation| {
                    let id = operation.snapshot.as_ref().map_or("", |id| id.short());
                    let took = wait::took(operation);
                    Ok(output::line(&format!("{name} is backed up after {took}: {id}"))?)
                })
                .await
            }
            None => self.every(globals, &client).await,
        }
    }

    /// Requests all backups first: the daemon limits how many run in parallel.
    async fn every(&self, globals: &Globals, client: &Client) -> anyhow::Result<()> {
        let (mut operations, mut failed) = (Vec::new(), Vec::new());
        for instance in client.status(None).await? {
            // One that is being removed, say, must not keep the others from being backed up.
            match client.backup(&instance.name).await {
                Ok(operation) => operations.push(operation),
                Err(e) => {
                    output::note(&format!("{}: {}", instance.name, output::clean(&e.to_string())));
                    failed.push(instance.name.to_string());
                }
            }
        }
        let count = operations.len() + failed.len();
        for operation in operations.iter_mut().filter(|_| !self.waiting.no_wait) {
            output::note(&format!("{}:", operation.name));
            *operation = wait::follow(globals, client, operation.clone()).await?;
            if operation.state == OperationState::Failed {
                let why = operation.error.as_deref().unwrap_or("unknown reason");
                output::note(&format!("  failed: {}", output::clean(why)));
                failed.push(operation.name.to_string());
            }
        }
        if globals.json {
            output::json(&wire::Operations { operations })?;
        } else if failed.is_empty() {
            let done = if self.waiting.no_wait { "in progress" } else { "are made" };
            output::line(&format!("{count} backups {done}"))?;
        }
        if failed.is_empty() {
            return Ok(());
        }
        let text = format!("{} of {count} backups failed: {}", failed.len(), failed.join(", "));
        Err(Failure::new(Exit::Failed, text).into())
    }
}

#[derive(Debug, Args)]
pub struct Backups {
    /// The instance, also one that was deprovisioned
    #[arg(value_parser = name)]
    name: Name,
}

impl Backups {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let client = connect::client(globals)?;
        let backups = client.backups(&self.name).await?;
        if globals.json {
            return output::json(&wire::Backups { backups });
        }
        let mut table =
            Listing::new(&["ID", "TAKEN (UTC)", "AGE", "FILES", "SIZE", "NEW", "WHERE"]);
        for b in &backups {
            let (place, shade) = match (b.stored, b.local) {
                (true, true) => ("bucket, local", None),
                (true, false) => ("stored", None),
                (false, _) => ("local, upload pending", Some(Tint::Middling)),
            };
            let taken = b.taken_at.to_string();
            table.row([
                (b.id.chars().take(8).collect(), Some(Tint::Faint)),
                (taken.get(..19).unwrap_or(&taken).replace('T', " "), None),
                (ago(b.taken_at), None),
                (b.files.to_string(), None),
                (output::size(b.bytes), None),
                (output::size(b.added_bytes), None),
                (place.to_owned(), shade),
            ]);
        }
        Ok(table.print("There is no backup yet. Create one with: startclaw backup NAME")?)
    }
}
