//! `startclaw open`

use clap::Args;
use startclaw_model::Name;

use super::{completions::instance_names, name};
use crate::{cli::Globals, connect, output};

#[derive(Debug, Args)]
pub struct Open {
    /// The instance
    #[arg(value_parser = name, add = instance_names())]
    name: Name,
}

impl Open {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let link = connect::client(globals)?.open(&self.name).await?;
        if globals.json {
            return output::json(&link);
        }
        output::line(link.url.0.expose())?;
        output::note(&format!(
            "It works once and signs in as the owner of {}. Expires {}.",
            self.name, link.expires_at
        ));
        Ok(())
    }
}
