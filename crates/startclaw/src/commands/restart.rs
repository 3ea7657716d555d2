//! `startclaw restart`

use clap::Args;
use startclaw_model::Name;

use super::{completions::instance_names, name, wait};
use crate::{
    cli::{Globals, Waiting},
    connect, output,
};

#[derive(Debug, Args)]
pub struct Restart {
    /// The instance
    #[arg(value_parser = name, add = instance_names())]
    name: Name,
    #[command(flatten)]
    waiting: Waiting,
}

impl Restart {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let client = connect::client(globals)?;
        let operation = client.restart(&self.name).await?;
        wait::wait(globals, &client, operation, self.waiting, |operation| {
            let text = format!("{} is live again after {}", operation.name, wait::took(operation));
            Ok(output::line(&text)?)
        })
        .await
    }
}
