//! The command line interface.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::commands;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the operation failed, or doctor found an error
  2  invalid command or value
  3  the daemon cannot be reached
   4  not found
  5  not permitted, or not confirmed
  6  conflict: name taken, being removed, at capacity
  7  temporarily unavailable, or an internal error of the daemon
  130  interrupted while waiting; the operation continues

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

/// Global options.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Unix socket of the daemon [default: startclaw.sock in the runtime directory]
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
    /// File with the API token for --api (or set STARTCLAW_TOKEN)
    #[arg(long, global = true, env = "STARTCLAW_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Additional CA certificate (PEM) for --api
    #[arg(long, global = true, env = "STARTCLAW_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Output JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Configuration file [default: /etc/startclaw/startclaw.toml, if present]
    #[arg(long, global = true, env = "STARTCLAW_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create and start an instance
    Provision(commands::provision::Provision),
    /// Remove an instance and all its data
    Deprovision(commands::deprovision::Deprovision),
    /// Recreate an instance's container (keeps its data)
    Restart(commands::restart::Restart),
    /// Back up one instance or all instances now
    Backup(commands::backup::Backup),
    /// List the backups of an instance, or delete those of a removed one
    Backups(commands::backup::Backups),
    /// Restore a backup in place or to a new instance
    Restore(commands::restore::Restore),
    /// Test-restore the latest backup in isolation
    Drill(commands::drill::Drill),
    /// Export an encrypted disaster-recovery kit
    RecoveryKit(commands::recovery_kit::RecoveryKit),
    /// Recover the platform from a kit
    Recover(commands::recover::Recover),
    /// Show the status of all instances or details of one
    Status(commands::status::Status),
    /// Print an instance's log
    Logs(commands::logs::Logs),
    /// Print a one-time sign-in link for an instance
    Open(commands::open::Open),
    /// List operations, newest first
    Operations(commands::operations::Operations),
    /// List events (audit log), newest first
    Events(commands::events::Events),
    /// List alerts, firing and resolved, newest first
    Alerts(commands::alerts::Alerts),
    /// Set, list and remove the secrets of an instance
    #[command(subcommand)]
    Secrets(commands::secrets::Secrets),
    /// Show a Telegram bot's access, approve users, close an open bot
    Pairing(commands::pairing::Pairing),
    /// Create, list and revoke API tokens
    #[command(subcommand)]
    Tokens(commands::tokens::Tokens),
    /// Create, list, invite and delete accounts
    #[command(subcommand)]
    Accounts(commands::accounts::Accounts),
    /// Diagnose the host and suggest fixes
    Doctor,
    /// Run the daemon
    Serve,
    /// Print the effective configuration as TOML
    Config,
    /// Print or install the Caddy configuration
    Caddyfile(commands::caddyfile::Caddyfile),
    /// Print a shell completion script
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the reference of all settings, as Markdown
    #[command(hide = true)]
    Reference,
    /// Run one repository job (internal)
    #[command(hide = true)]
    BackupWorker,
    /// Unfreeze a container after a timeout (internal)
    #[command(hide = true, alias = "thaw")]
    Unfreeze(commands::unfreeze::Unfreeze),
}

/// Whether to wait for an operation.
#[derive(Debug, Clone, Copy, Args)]
pub struct Waiting {
    /// Do not wait for the operation to finish
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
