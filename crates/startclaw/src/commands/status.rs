//! `startclaw status`

use clap::Args;
use startclaw_api::wire::{Instance, Instances, Telegram};
use startclaw_model::{BackupPlace, InstanceState, Name, VerifiedBackup};

use super::{completions::instance_names, name, pairing};
use crate::{
    cli::Globals,
    connect,
    output::{self, Listing, Tint, ago, clean, tint},
};

#[derive(Debug, Args)]
pub struct Status {
    /// Show details of this instance
    #[arg(value_parser = name, add = instance_names())]
    name: Option<Name>,
}

impl Status {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let client = connect::client(globals)?;
        let instances = client.status(self.name.as_ref()).await?;
        if globals.json {
            return output::json(&Instances { instances });
        }
        match (&self.name, instances.first()) {
            (Some(name), Some(one)) => {
                // An older daemon lacks this route; the rest is shown anyway.
                let telegram = match one.telegram {
                    true => client.telegram(name).await.ok(),
                    false => None,
                };
                in_full(one, telegram.as_ref())
            }
            _ => list(&instances),
        }
    }
}

fn shade(state: InstanceState) -> Tint {
    match state {
        InstanceState::Live => Tint::Good,
        InstanceState::Failing => Tint::Bad,
        InstanceState::Unknown | InstanceState::Starting | InstanceState::Removing => {
            Tint::Middling
        }
    }
}

fn list(instances: &[Instance]) -> anyhow::Result<()> {
    let mut table =
        Listing::new(&["NAME", "STATE", "FOR", "OWNER", "VERSION", "BACKUP", "URL", "REMARK"]);
    for i in instances {
        table.row([
            (i.name.to_string(), None),
            (i.state.as_str().to_owned(), Some(shade(i.state))),
            (ago(i.since), None),
            (i.owner.to_string(), None),
            (i.version.clone(), None),
            (i.last_backup.map(ago).unwrap_or_else(|| "none".into()), None),
            (i.url.clone(), None),
            (i.reason.clone().unwrap_or_default(), None),
        ]);
    }
    Ok(table.print("No instances yet. Create one with: startclaw provision NAME")?)
}

/// The newest backup that was verified.
fn verified(backup: Option<VerifiedBackup>) -> String {
    let Some(VerifiedBackup { taken_at, verified_at, place }) = backup else {
        return "no backup yet; it is done in the first nights".to_owned();
    };
    let place = match place {
        BackupPlace::Destination => "at the destination",
        BackupPlace::Host => "on this host",
    };
    format!("the backup of {taken_at} {place}, {} ago", ago(verified_at))
}

fn in_full(i: &Instance, telegram: Option<&Telegram>) -> anyhow::Result<()> {
    let row = |what: &str, text: &str| output::line(&format!("{what:<10} {text}"));
    row("name", i.name.as_str())?;
    row("state", &format!("{} for {}", tint(i.state.as_str(), shade(i.state)), ago(i.since)))?;
    if let Some(reason) = &i.reason {
        row("reason", &clean(reason))?;
    }
    if let Some(at) = i.retry_at {
        row("next try", &at.to_string())?;
    }
    if i.failures > 0 {
        row("failures", &i.failures.to_string())?;
    }
    match i.last_backup {
        Some(at) => row("backup", &format!("{at}, {} ago", ago(at)))?,
        None => row("backup", "none yet")?,
    }
    row("verified", &verified(i.verified_backup))?;
    if let Some(warning) = &i.pause_warning {
        row("warning", &clean(warning))?;
    }
    row("url", &i.url)?;
    row("owner", i.owner.as_str())?;
    row("version", &clean(&i.version))?;
    let provider = i.provider.as_ref().map_or_else(
        || "none set".to_owned(),
        |p| {
            [Some(p.kind.as_str()), p.model.as_deref(), p.base_url.as_deref()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" ")
        },
    );
    let key = match (&i.provider, i.api_key) {
        (Some(_), true) => ", key set",
        (Some(_), false) => ", no key",
        (None, _) => "",
    };
    row("model", &clean(&format!("{provider}{key}")))?;
    match (telegram, i.telegram) {
        (Some(telegram), _) => {
            row("telegram", &clean(&telegram.detail))?;
            row("bot access", &pairing::access(telegram))?;
        }
        (None, true) => row("telegram", "token stored, not verified")?,
        (None, false) => row("telegram", "none")?,
    }
    let l = &i.limits;
    let (soft, hard) = (l.memory_soft_mib, l.memory_hard_mib);
    row(
        "limits",
        &format!("{soft} MiB soft, {hard} MiB hard, {} CPUs, {} processes", l.cpus, l.pids),
    )?;
    row("port", &format!("127.0.0.1:{}", i.port))?;
    row("made", &format!("{} ({} ago)", i.created_at, ago(i.created_at)))?;
    if let Some(operation) = &i.operation {
        row("under way", operation.as_str())?;
    }
    if !i.last_log.is_empty() {
        output::line("\nthe last lines of its log:")?;
        for line in &i.last_log {
            output::line(&tint(&format!("  {}", clean(line)), Tint::Faint))?;
        }
    }
    Ok(())
}
