//! `startclaw backup` and `startclaw backups`

use clap::{Args, Subcommand};
use startclaw_api::{client::Client, wire};
use startclaw_model::{Name, OperationState, TimeZone};

use super::{completions::instance_names, deprovision::confirm_yes, erase::Erase, name, wait};
use crate::{
    cli::{Globals, Waiting},
    connect,
    exit::{Exit, Failure},
    output::{self, Listing, Tint, ago},
};

#[derive(Debug, Args)]
pub struct Backup {
    /// The instance
    #[arg(value_parser = name, add = instance_names(), required_unless_present = "all")]
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
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "An instance that is named like a command: startclaw backups -- rescan"
)]
pub struct Backups {
    /// The instance, also one that was deprovisioned
    #[arg(value_parser = name, add = instance_names(), required = true)]
    name: Option<Name>,
    /// Show why each backup is kept, or that it expires
    #[arg(long)]
    why: bool,
    #[command(subcommand)]
    action: Option<BackupsAction>,
}

#[derive(Debug, Subcommand)]
enum BackupsAction {
    /// Delete all backups of a deprovisioned instance, or of all those of an account
    #[command(visible_alias = "purge")]
    Erase(Erase),
    /// Compare the repositories of all instances with the list of backups
    ///
    /// Backups that are back are listed again, and those that are missing are told. It is done every
    /// night as well.
    Rescan,
    /// Accept the destination in the settings as the one that holds the backups
    ///
    /// Backups go to a known destination only: not to a folder that is not mounted, and not to another
    /// bucket because a setting changed. This accepts the present one. Backups that are only at the
    /// former destination are not listed any more; they are not deleted there.
    AcceptDestination {
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

async fn rescan(globals: &Globals) -> anyhow::Result<()> {
    let found = connect::client(globals)?.rescan_backups().await?;
    if globals.json {
        output::json(&found)?;
    } else {
        output::line(&format!("{} backups are known", found.known))?;
    }
    if found.missing == 0 {
        return Ok(());
    }
    let text = format!("{} backups are missing: see startclaw alerts", found.missing);
    Err(Failure::new(Exit::Failed, text).into())
}

async fn accept_destination(globals: &Globals, yes: bool) -> anyhow::Result<()> {
    let client = connect::client(globals)?;
    if !yes {
        let what = "Backups go to backup.destination in the settings from now on. Those that are \
                    only at the former destination are not listed any more.";
        confirm_yes(what)?;
    }
    let accepted = client.accept_backup_destination().await?;
    if globals.json {
        return output::json(&accepted);
    }
    Ok(output::line(&format!("Backups go to {} from now on", accepted.destination))?)
}

impl Backups {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let name = match (self.action, self.name) {
            (Some(BackupsAction::Erase(erase)), _) => return erase.run(globals).await,
            (Some(BackupsAction::Rescan), _) => return rescan(globals).await,
            (Some(BackupsAction::AcceptDestination { yes }), _) => {
                return accept_destination(globals, yes).await;
            }
            (None, Some(name)) => name,
            (None, None) => unreachable!("clap requires one of them"),
        };
        let client = connect::client(globals)?;
        let found = client.backups(&name).await?;
        if globals.json {
            return output::json(&found);
        }
        // A daemon of an older version tells none.
        let zone: TimeZone = found.time_zone.parse().unwrap_or_default();
        let taken = format!("TAKEN ({zone})");
        let mut titles = vec!["ID", taken.as_str(), "AGE", "FILES", "SIZE", "NEW", "WHERE"];
        if self.why {
            titles.push("WHY");
        }
        let mut table = Listing::new(&titles);
        for b in &found.backups {
            let (place, shade) = match (b.stored, b.local) {
                (true, true) => ("bucket, local", None),
                (true, false) => ("stored", None),
                (false, true) => ("local, upload pending", Some(Tint::Middling)),
                (false, false) => ("missing", Some(Tint::Bad)),
            };
            let mut row = vec![
                (b.id.chars().take(8).collect(), Some(Tint::Faint)),
                (zone.format(b.taken_at, "%Y-%m-%d %H:%M:%S"), None),
                (ago(b.taken_at), None),
                (b.files.to_string(), None),
                (output::size(b.bytes), None),
                (output::size(b.added_bytes), None),
                (place.to_owned(), shade),
            ];
            if self.why {
                row.push((b.retention.clone(), None));
            }
            table.row(row);
        }
        Ok(table.print("There is no backup yet. Create one with: startclaw backup NAME")?)
    }
}
