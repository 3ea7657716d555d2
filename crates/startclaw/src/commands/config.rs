//! `startclaw config`

use crate::{cli::Globals, output};

pub fn run(globals: &Globals) -> anyhow::Result<()> {
    let settings = super::settings(globals)?;
    if globals.json {
        return output::json(&settings);
    }
    Ok(output::line(toml::to_string_pretty(&settings)?.trim_end())?)
}
