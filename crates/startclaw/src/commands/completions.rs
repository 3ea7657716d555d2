//! `startclaw completions`, and what its scripts run when the shell completes a line.

use std::{env, time::Duration};

use anyhow::Context;
use clap::{Command, CommandFactory, FromArgMatches};
use clap_complete::{
    CompleteEnv, Shell,
    engine::{ArgValueCandidates, CompletionCandidate},
    env::Shells,
};

use crate::{
    cli::{Cli, Globals},
    connect, output,
};

/// The environment variable by which the scripts ask for candidates.
const VARIABLE: &str = "STARTCLAW_COMPLETE";
/// How long the shell may wait for the daemon.
const LIMIT: Duration = Duration::from_secs(2);

pub fn run(shell: Shell) -> anyhow::Result<()> {
    let shells = Shells::builtins();
    let completer = shells.completer(&shell.to_string()).context("there is none for this shell")?;
    let (mut script, name) = (Vec::new(), "startclaw");
    completer.write_registration(VARIABLE, name, name, name, &mut script)?;
    Ok(output::line(String::from_utf8_lossy(&script).trim_end())?)
}

/// Answers a script of [`run`] and ends the process, if one asks.
pub fn answer() {
    CompleteEnv::with_factory(|| offered(&Cli::command())).var(VARIABLE).complete();
}

/// The command line without hidden commands, which would be offered.
fn offered(all: &Command) -> Command {
    Command::new("startclaw")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A managed OpenClaw host")
        .args(all.get_arguments().cloned())
        .subcommands(all.get_subcommands().filter(|one| !one.is_hide_set()).cloned())
}

/// Candidates for an argument that is the name of an instance.
pub fn instance_names() -> ArgValueCandidates {
    // Without a daemon, or without permission, there are none.
    ArgValueCandidates::new(|| names().unwrap_or_default())
}

fn names() -> anyhow::Result<Vec<CompletionCandidate>> {
    let client = connect::client(&globals()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(async {
        tokio::time::timeout(LIMIT, client.status(None)).await.context("the daemon is slow")
    });
    // Without waiting for what the limit cut off.
    runtime.shutdown_background();
    let candidate = |name: &startclaw_model::Name| CompletionCandidate::new(name.as_str());
    Ok(found??.iter().map(|instance| candidate(&instance.name)).collect())
}

/// The global options in the line that is completed: its words follow `--`.
fn globals() -> anyhow::Result<Globals> {
    let words = env::args_os().skip_while(|word| word != "--").skip(1);
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(words)?;
    Ok(Globals::from_arg_matches(&matches)?)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn candidates(line: &[&str]) -> Vec<String> {
        let words: Vec<OsString> = line.iter().map(Into::into).collect();
        let last = words.len() - 1;
        clap_complete::engine::complete(&mut offered(&Cli::command()), words, last, None)
            .unwrap()
            .iter()
            .map(|candidate| candidate.get_value().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn commands_options_and_values_are_offered_and_hidden_commands_are_not() {
        let commands = candidates(&["startclaw", ""]);
        assert!(commands.contains(&"provision".to_owned()), "{commands:?}");
        for hidden in ["reference", "backup-worker", "unfreeze"] {
            assert!(!commands.contains(&hidden.to_owned()), "{hidden}: {commands:?}");
        }
        assert!(candidates(&["startclaw", "status", "--so"]).contains(&"--socket".to_owned()));
        let scopes = candidates(&["startclaw", "tokens", "create", "ci", "--scope", ""]);
        assert_eq!(scopes, ["read", "write", "admin"]);
    }
}
