//! `startclaw logs`

use std::{
    io::{self, IsTerminal},
    pin::pin,
};

use clap::Args;
use futures::StreamExt;
use startclaw_api::wire::LogsQuery;
use startclaw_model::Name;

use super::{completions::instance_names, name};
use crate::{
    cli::Globals,
    connect,
    output::{self, clean},
};

#[derive(Debug, Args)]
pub struct Logs {
    /// The instance
    #[arg(value_parser = name, add = instance_names())]
    name: Name,
    /// Follow the log
    #[arg(long, short)]
    follow: bool,
    /// Number of last lines to show
    #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    tail: u32,
}

impl Logs {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let client = connect::client(globals)?;
        let query = LogsQuery { name: self.name, tail: Some(self.tail), follow: self.follow };
        let mut lines = pin!(client.logs(&query).await?);
        let terminal = io::stdout().is_terminal();
        while let Some(line) = lines.next().await {
            let line = line?;
            if globals.json {
                output::json(&serde_json::json!({ "line": line }))?;
            } else if terminal {
                output::line(&clean(&line))?;
            } else {
                output::line(&line)?;
            }
        }
        Ok(())
    }
}
