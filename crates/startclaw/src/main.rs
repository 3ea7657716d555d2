//! StartClaw: the daemon and the command line, which is a client of the daemon's API.

mod cli;
mod commands;
mod connect;
mod exit;
mod output;
mod secret_input;
mod serve;
mod settings;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    // The crypto provider of the whole process. Fails only if one is already installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    commands::completions::answer();
    let cli = Cli::parse();
    let json = cli.globals.json;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => exit::report(&e, json),
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    // A worker has its own runtime for buckets, which cannot be nested in another.
    if matches!(cli.command, Command::BackupWorker) {
        return commands::worker::run();
    }
    // The daemon uses all cores; a client mostly waits.
    let mut builder = match cli.command {
        Command::Serve => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = builder.enable_all().build()?;
    let outcome = runtime.block_on(commands::run(cli.globals, cli.command));
    // Do not wait for reads of a terminal or of a lost connection.
    runtime.shutdown_background();
    outcome
}
