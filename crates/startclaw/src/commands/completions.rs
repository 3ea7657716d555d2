//! `startclaw completions`

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};

use crate::{cli::Cli, output};

pub fn run(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    generate(shell, &mut offered(&Cli::command()), "startclaw", &mut script);
    Ok(output::line(String::from_utf8_lossy(&script).trim_end())?)
}

/// The command line without hidden commands, which the generators would offer.
fn offered(all: &Command) -> Command {
    Command::new("startclaw")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A managed OpenClaw host")
        .args(all.get_arguments().cloned())
        .subcommands(all.get_subcommands().filter(|one| !one.is_hide_set()).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_commands_are_not_offered_and_values_are() {
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let mut script = Vec::new();
            generate(shell, &mut offered(&Cli::command()), "startclaw", &mut script);
            let script = String::from_utf8(script).unwrap();
            for hidden in ["reference", "backup-worker", "unfreeze"] {
                assert!(!script.contains(hidden), "{shell}: {hidden}");
            }
            for value in ["openrouter", "admin", "provision", "--socket"] {
                let value =
                    if shell == Shell::Fish { value.trim_start_matches('-') } else { value };
                assert!(script.contains(value), "{shell}: {value}");
            }
        }
        let scopes = Cli::command();
        let create = scopes.find_subcommand("tokens").unwrap().find_subcommand("create").unwrap();
        let scope = create.get_arguments().find(|a| a.get_id() == "scope").unwrap();
        let values: Vec<_> =
            scope.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect();
        assert_eq!(values, ["read", "write", "admin"]);
    }
}
