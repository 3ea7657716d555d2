//! The commands, one file each.

pub mod accounts;
pub mod alerts;
pub mod backup;
pub mod caddyfile;
pub mod completions;
mod config;
pub mod deprovision;
mod doctor;
pub mod drill;
mod erase;
pub mod events;
pub mod logs;
pub mod open;
pub mod operations;
pub mod pairing;
pub mod provision;
pub mod recover;
pub mod recovery_kit;
mod reference;
pub mod restart;
pub mod restore;
pub mod secrets;
pub mod status;
pub mod tokens;
pub mod unfreeze;
mod wait;
pub mod worker;

use startclaw_model::Name;

use crate::{
    cli::{Command, Globals},
    exit::{Exit, Failure},
    serve,
    settings::Settings,
};

/// Runs a command.
pub async fn run(globals: Globals, command: Command) -> anyhow::Result<()> {
    let g = &globals;
    match command {
        Command::Provision(it) => it.run(g).await,
        Command::Deprovision(it) => it.run(g).await,
        Command::Restart(it) => it.run(g).await,
        Command::Backup(it) => it.run(g).await,
        Command::Backups(it) => it.run(g).await,
        Command::Restore(it) => it.run(g).await,
        Command::Drill(it) => it.run(g).await,
        Command::Status(it) => it.run(g).await,
        Command::Logs(it) => it.run(g).await,
        Command::Open(it) => it.run(g).await,
        Command::Operations(it) => it.run(g).await,
        Command::Events(it) => it.run(g).await,
        Command::Alerts(it) => it.run(g).await,
        Command::Pairing(it) => it.run(g).await,
        Command::Secrets(it) => it.run(g).await,
        Command::Tokens(it) => it.run(g).await,
        Command::Accounts(it) => it.run(g).await,
        Command::RecoveryKit(it) => it.run(g),
        Command::Recover(it) => it.run(g).await,
        Command::Doctor => doctor::run(g).await,
        Command::Serve => serve::run(settings(g)?).await,
        Command::Config => config::run(g),
        Command::Caddyfile(it) => it.run(g),
        Command::Completions { shell } => completions::run(shell),
        Command::Reference => reference::run(),
        Command::BackupWorker => unreachable!("handled in main, without a runtime"),
        Command::Unfreeze(it) => it.run().await,
    }
}

/// Loads the configuration; an invalid one is a usage error.
fn settings(globals: &Globals) -> anyhow::Result<Settings> {
    Settings::load(globals.config.as_deref())
        .map_err(|e| Failure::new(Exit::Usage, format!("{e:#}")).into())
}

/// Parses an instance name.
fn name(text: &str) -> Result<Name, String> {
    Name::parse(text).map_err(|e| e.to_string())
}
