//! The command line's grammar.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::commands;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the operation failed, or doctor found something bad
  2  the command or a value makes no sense
  3  the daemon cannot be reached
  4  there is no such thing
  5  not allowed, or not confirmed
  6  it conflicts with what is there: name taken, being removed, machine full
  7  the daemon cannot just now, or something failed inside it
  130  interrupted while waiting; the operation goes on

With --json, stdout carries one JSON document, the API's own (see `docs/api.md`); errors are
one JSON object on stderr.";

/// A managed OpenClaw host
#[derive(Debug, Parser)]
#[command(name = "startclaw", version, about, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options for every command")]
pub struct Globals {
    /// The daemon's Unix socket; `startclaw.sock` in the runtime folder when left out
    #[arg(long, global = true, env = "STARTCLAW_SOCKET", value_name = "FILE")]
    pub socket: Option<PathBuf>,
    /// Talk to this API instead of the socket, such as <https://api.example.com>
    #[arg(
        long,
        global = true,
        env = "STARTCLAW_API",
        value_name = "URL",
        conflicts_with = "socket"
    )]
    pub api: Option<String>,
    /// A file with the token for --api; or set STARTCLAW_TOKEN
    #[arg(long, global = true, env = "STARTCLAW_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A PEM file with a certificate authority to trust for --api, besides the machine's own
    #[arg(long, global = true, env = "STARTCLAW_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// The configuration file; /etc/startclaw/startclaw.toml when left out and there
    #[arg(long, global = true, env = "STARTCLAW_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an instance and bring it live
    Provision(commands::provision::Provision),
    /// Remove an instance and all its data
    Deprovision(commands::deprovision::Deprovision),
    /// Replace an instance's container by a fresh one; its data stays
    Restart(commands::restart::Restart),
    /// Back an instance up now, or all of them
    Backup(commands::backup::Backup),
    /// List the backups of an instance
    Backups(commands::backup::Backups),
    /// Bring a backup back: into the instance, or as a new one
    Restore(commands::restore::Restore),
    /// Try whether an instance's newest backup would come back, beside it
    Drill(commands::drill::Drill),
    /// Write what is needed to get everything back on a new machine, encrypted
    RecoveryKit(commands::recovery_kit::RecoveryKit),
    /// Get everything back on a new machine
    Recover(commands::recover::Recover),
    /// Show how the instances are, or one in full
    Status(commands::status::Status),
    /// Print an instance's log
    Logs(commands::logs::Logs),
    /// Print a one-time sign-in link for an instance
    Open(commands::open::Open),
    /// List what was asked for, newest first
    Operations(commands::operations::Operations),
    /// List what happened, newest first
    Events(commands::events::Events),
    /// Set, list and remove the secrets of an instance
    #[command(subcommand)]
    Secrets(commands::secrets::Secrets),
    /// Create, list and revoke the tokens of programs
    #[command(subcommand)]
    Tokens(commands::tokens::Tokens),
    /// Make, list and delete the accounts of people, and invite them
    #[command(subcommand)]
    Accounts(commands::accounts::Accounts),
    /// Check the machine and say how to mend what is wrong
    Doctor,
    /// Run the daemon
    Serve,
    /// Print the configuration in effect, as TOML
    Config,
    /// Print Caddy's configuration, or write it where Caddy reads it
    Caddyfile(commands::caddyfile::Caddyfile),
    /// Print the script that completes commands in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the reference of all settings, as Markdown
    #[command(hide = true)]
    Reference,
    /// Do one job on a repository; the daemon starts this
    #[command(hide = true)]
    BackupWorker,
    /// Let a frozen container go on after a while; the daemon starts this
    #[command(hide = true)]
    Thaw(commands::thaw::Thaw),
}

/// Whether to wait for an operation.
#[derive(Debug, Clone, Copy, Args)]
pub struct Waiting {
    /// Do not wait until it is done
    #[arg(long)]
    pub no_wait: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_option_takes_a_secret() {
        fn walk(command: &clap::Command) {
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                let secret = ["token", "key", "password", "value"].iter().any(|w| id.ends_with(w));
                assert!(!secret, "{} --{id} would show a secret in ps", command.get_name());
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }
}
