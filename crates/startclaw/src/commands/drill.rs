//! `startclaw drill`

use clap::Args;
use startclaw_model::Name;

use super::{completions::instance_names, name, wait};
use crate::{
    cli::{Globals, Waiting},
    connect, output,
};

#[derive(Debug, Args)]
pub struct Drill {
    /// Instance to test [default: chosen by age of the last test]
    #[arg(value_parser = name, add = instance_names())]
    name: Option<Name>,
    #[command(flatten)]
    waiting: Waiting,
}

impl Drill {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let client = connect::client(globals)?;
        let operation = client.drill(self.name.as_ref()).await?;
        wait::wait(globals, &client, operation, self.waiting, |operation| {
            let id = operation.snapshot.as_ref().map_or("", |id| id.short());
            let (name, took) = (&operation.name, wait::took(operation));
            Ok(output::line(&format!("{name} starts from its backup {id}; verified in {took}"))?)
        })
        .await
    }
}
