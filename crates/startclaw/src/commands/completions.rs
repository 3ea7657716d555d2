//! `startclaw completions`

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::{cli::Cli, output};

pub fn run(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "startclaw", &mut script);
    Ok(output::line(String::from_utf8_lossy(&script).trim_end())?)
}
