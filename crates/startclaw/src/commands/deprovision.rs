//! `startclaw deprovision`

use std::io::{self, BufRead, Write};

use clap::Args;
use startclaw_model::Name;

use super::{name, wait};
use crate::{
    cli::{Globals, Waiting},
    connect,
    exit::{Exit, Failure},
    output, secret_input,
};

#[derive(Debug, Args)]
pub struct Deprovision {
    /// The instance
    #[arg(value_parser = name)]
    name: Name,
    /// Do not ask for the name again
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    waiting: Waiting,
}

impl Deprovision {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let client = connect::client(globals)?;
        if !self.yes {
            // Also says that there is no such instance before asking anything.
            client.status(Some(&self.name)).await?;
            confirm(&self.name)?;
        }
        let operation = client.deprovision(&self.name).await?;
        wait::wait(globals, &client, operation, self.waiting, |operation| {
            let text =
                format!("{} and its data are gone after {}", operation.name, wait::took(operation));
            Ok(output::line(&text)?)
        })
        .await
    }
}

fn confirm(name: &Name) -> anyhow::Result<()> {
    if !secret_input::can_ask() {
        let text = format!("this removes {name} and all its data; say so with --yes");
        return Err(Failure::new(Exit::Denied, text).into());
    }
    let mut stderr = io::stderr();
    writeln!(stderr, "This removes {name} and all its data. There is no way back.")?;
    write!(stderr, "Type its name to go on: ")?;
    stderr.flush()?;
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed)?;
    if typed.trim() == name.as_str() {
        Ok(())
    } else {
        Err(Failure::new(Exit::Denied, "that is another name; nothing was removed").into())
    }
}
