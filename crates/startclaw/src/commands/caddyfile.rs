//! `startclaw caddyfile`

use clap::Args;

use crate::{cli::Globals, output};

#[derive(Debug, Args)]
pub struct Caddyfile {
    /// Write it to the place that the setting `caddyfile` names
    #[arg(long)]
    write: bool,
}

impl Caddyfile {
    pub fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let settings = super::settings(globals)?;
        if !self.write {
            return Ok(output::line(startclaw_edge::render(&settings.edge)?.trim_end())?);
        }
        let changed = startclaw_edge::write_caddyfile(&settings.edge, &settings.caddyfile)?;
        let place = settings.caddyfile.display();
        if globals.json {
            return output::json(
                &serde_json::json!({ "file": settings.caddyfile, "changed": changed }),
            );
        }
        Ok(output::line(&if changed {
            format!("{place} written; restart Caddy to apply it")
        } else {
            format!("{place} is up to date")
        })?)
    }
}
