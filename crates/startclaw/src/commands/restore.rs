//! `startclaw restore`

use clap::Args;
use startclaw_api::wire;
use startclaw_model::{Name, SnapshotChoice, TimeZone};

use super::{completions::instance_names, name, wait};
use crate::{
    cli::{Globals, Waiting},
    connect, output,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  startclaw restore alice 2026-02-08             the newest backup of that day
  startclaw restore alice latest --as alice-2    a copy beside the original
  startclaw restore alice --undo                 undo the last restore

The backup goes into a new volume. If the instance does not start on it, it switches back.")]
pub struct Restore {
    /// The instance, also one that was deprovisioned
    #[arg(value_parser = name, add = instance_names())]
    name: Name,
    /// Which backup: latest, a day (2026-02-08), a time (2026-02-08T03:12), or an id. Without an
    /// offset or Z, in the time zone of the settings
    #[arg(value_parser = snapshot, required_unless_present = "undo")]
    snapshot: Option<String>,
    /// Restore to a new instance of this name
    #[arg(long = "as", value_name = "OTHER", value_parser = name, conflicts_with = "undo")]
    as_name: Option<Name>,
    /// Undo the last restore (the replaced data are kept for a day)
    #[arg(long, conflicts_with = "snapshot")]
    undo: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Checks the form; the daemon reads it in its time zone.
fn snapshot(text: &str) -> Result<String, String> {
    SnapshotChoice::parse(text, &TimeZone::default())
        .map(|_| text.to_owned())
        .map_err(|e| e.to_string())
}

impl Restore {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let client = connect::client(globals)?;
        let wanted = wire::Restore {
            name: self.name,
            snapshot: self.snapshot,
            as_name: self.as_name,
            undo: self.undo,
        };
        let operation = client.restore(&wanted).await?;
        wait::wait(globals, &client, operation, self.waiting, |operation| {
            let took = wait::took(operation);
            output::line(&format!("{} is restored and live after {took}", operation.name))?;
            if wanted.as_name.is_none() {
                let back = format!("startclaw restore {} --undo", operation.name);
                output::note(&format!("Undo with: {back}"));
            }
            Ok(())
        })
        .await
    }
}
