//! `startclaw deprovision`

use std::io::{self, BufRead, Write};

use clap::Args;
use startclaw_api::{
    client::{Cause, ClientError},
    wire,
};
use startclaw_model::Name;

use super::{completions::instance_names, name, wait};
use crate::{
    cli::{Globals, Waiting},
    connect,
    exit::{Exit, Failure},
    output, secret_input,
};

#[derive(Debug, Args)]
pub struct Deprovision {
    /// The instance
    #[arg(value_parser = name, add = instance_names())]
    name: Name,
    /// Skip the final backup
    #[arg(long, conflicts_with = "purge")]
    no_backup: bool,
    /// Delete all its backups too
    #[arg(long)]
    purge: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    waiting: Waiting,
}

impl Deprovision {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let client = connect::client(globals)?;
        if !self.yes {
            // Also fails for an unknown instance before asking.
            client.status(Some(&self.name)).await.map_err(|e| self.unknown(e))?;
            confirm(&self.name, &format!("removes {} {}", self.name, self.what()))?;
        }
        let query = wire::DeprovisionQuery {
            name: self.name.clone(),
            backup: !self.no_backup,
            purge: self.purge,
        };
        let operation = client.deprovision(&query).await.map_err(|e| self.unknown(e))?;
        wait::wait(globals, &client, operation, self.waiting, |operation| {
            let (name, took) = (&operation.name, wait::took(operation));
            output::line(&format!("{name} and its data are gone after {took}"))?;
            if operation.snapshot.is_some() {
                output::note(&format!("Restore it with: startclaw restore {name} latest"));
            }
            Ok(())
        })
        .await
    }

    /// An error that names the other command, if the instance is removed and its backups are meant.
    fn unknown(&self, e: ClientError) -> anyhow::Error {
        if self.purge && e.cause == Cause::NotFound {
            let text = format!(
                "{e}; to delete the backups of a removed instance: startclaw backups erase {}",
                self.name
            );
            return Failure::new(Exit::NotFound, text).into();
        }
        e.into()
    }

    /// What is removed, and whether it can be undone.
    fn what(&self) -> &'static str {
        match (self.purge, self.no_backup) {
            (true, _) => "and all its data and backups. This cannot be undone.",
            (false, true) => "and all its data since its last backup.",
            (false, false) => "and its data, after a final backup.",
        }
    }
}

/// Has the operator type the name, before a command that `what` describes.
pub fn confirm(name: &Name, what: &str) -> anyhow::Result<()> {
    confirm_word(name.as_str(), what)
}

/// Has the operator type `word`, a name or an address, before a command that `what` describes.
pub fn confirm_word(word: &str, what: &str) -> anyhow::Result<()> {
    let question = if word.contains('@') { "Type its address" } else { "Type its name" };
    if ask(&format!("this {what}"), question, word)? {
        return Ok(());
    }
    Err(Failure::new(Exit::Denied, "that does not match; nothing was removed").into())
}

/// Asks whether to do what is not about one instance.
pub fn confirm_yes(what: &str) -> anyhow::Result<()> {
    if ask(what, "Type yes", "yes")? {
        return Ok(());
    }
    Err(Failure::new(Exit::Denied, "nothing was changed").into())
}

/// Says what will be done, and asks for a word; whether it was given.
fn ask(what: &str, question: &str, word: &str) -> anyhow::Result<bool> {
    if !secret_input::can_ask() {
        let text = format!("{what} Confirm with --yes");
        return Err(Failure::new(Exit::Denied, text).into());
    }
    let mut stderr = io::stderr();
    let (first, rest) = what.split_at(1);
    writeln!(stderr, "{}{rest}", first.to_uppercase())?;
    write!(stderr, "{question} to continue: ")?;
    stderr.flush()?;
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed)?;
    Ok(typed.trim() == word)
}
