//! `startclaw backups erase`: deletes the backups of removed instances.

use std::time::{Duration, Instant};

use clap::Args;
use startclaw_api::{
    client::{Cause, Client, ClientError},
    wire::PurgedBackups,
};
use startclaw_model::{Email, Name};

use super::{accounts::email, deprovision::confirm_word, name};
use crate::{
    cli::Globals,
    connect,
    exit::{Exit, Failure},
    output,
};

/// The wait before a request for a deletion that takes long is repeated.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a deletion may make no progress: one repository may be large.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub struct Erase {
    /// The deprovisioned instance
    #[arg(value_parser = name, required_unless_present = "account")]
    name: Option<Name>,
    /// All deprovisioned instances of this account, also of one that was deleted
    #[arg(long, value_name = "EMAIL", value_parser = email, conflicts_with = "name")]
    account: Option<Email>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

impl Erase {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let client = connect::client(globals)?;
        let whose = self.whose();
        if let Some(account) = &self.account {
            list(&client, account).await?;
        }
        if !self.yes {
            confirm_word(&whose, &self.what())?;
        }
        let done = match (&self.name, &self.account) {
            (Some(name), _) => erase(async || client.purge_backups(name).await).await?,
            (None, Some(account)) => erase(async || client.purge_backups_of(account).await).await?,
            (None, None) => unreachable!("clap requires one of them"),
        };
        if globals.json {
            output::json(&done)?;
        }
        if done.pending > 0 {
            let text = format!(
                "{} backups of {whose} are not deleted yet; they cannot be restored any more, and it is \
                 retried daily: see startclaw alerts",
                done.pending
            );
            return Err(Failure::new(Exit::Unavailable, text).into());
        }
        if !globals.json {
            output::line(&format!("{} backups of {whose} are deleted", done.deleted))?;
        }
        Ok(())
    }

    /// The name or the address, as text.
    fn whose(&self) -> String {
        let name = self.name.as_ref().map(ToString::to_string);
        name.or_else(|| self.account.as_ref().map(ToString::to_string)).unwrap_or_default()
    }

    fn what(&self) -> String {
        let which = match self.account {
            Some(_) => "of the account",
            None => "with the name",
        };
        format!(
            "deletes all backups of removed instances {which} {}, and none of an existing one. \
             This cannot be undone.",
            self.whose()
        )
    }
}

/// Tells which instances' backups will be deleted.
async fn list(client: &Client, account: &Email) -> anyhow::Result<()> {
    let removed = client.removed(Some(account)).await?;
    if removed.is_empty() {
        output::note(&format!(
            "No removed instance of {account} has backups that can be restored."
        ));
    }
    for one in removed {
        let text = format!("{}: {} backups, removed {}", one.name, one.backups, one.removed_at);
        output::note(&text);
    }
    Ok(())
}

/// Requests the deletion until it is complete, or makes no progress.
async fn erase(
    request: impl AsyncFn() -> Result<PurgedBackups, ClientError>,
) -> Result<PurgedBackups, ClientError> {
    let mut done = request().await?;
    let mut progress_at = Instant::now();
    while done.pending > 0 && progress_at.elapsed() < PATIENCE {
        let before = done;
        tokio::time::sleep(AGAIN).await;
        let pending = match request().await {
            Ok(next) => next.pending,
            // Nothing is left of removed instances.
            Err(e) if matches!(e.cause, Cause::NotFound | Cause::Conflict) => 0,
            Err(e) => return Err(e),
        };
        let deleted = before.deleted + before.pending.saturating_sub(pending);
        done = PurgedBackups { deleted, pending };
        if pending < before.pending {
            progress_at = Instant::now();
        }
    }
    Ok(done)
}
