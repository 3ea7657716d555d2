//! `startclaw secrets`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use startclaw_api::wire::{self, SentSecret, SetSecret};
use startclaw_model::{Name, Secret, SecretName};

use super::{completions::instance_names, name, wait};
use crate::{
    cli::{Globals, Waiting},
    connect,
    exit::{Exit, Failure},
    output::{self, Listing, ago},
    secret_input,
};

#[derive(Debug, Subcommand)]
pub enum Secrets {
    /// Set or replace a secret; the instance restarts with it
    ///
    /// The value comes from --file, --env, stdin, or the keyboard without being shown.
    Set(Set),
    /// List the names of an instance's secrets; values cannot be read again
    List {
        /// The instance
        #[arg(value_parser = name, add = instance_names())]
        name: Name,
    },
    /// Remove a secret; the instance restarts without it
    Remove {
        /// The instance
        #[arg(value_parser = name, add = instance_names())]
        name: Name,
        /// The secret's name
        #[arg(value_parser = secret_name)]
        secret: SecretName,
        #[command(flatten)]
        waiting: Waiting,
    },
}

#[derive(Debug, Args)]
pub struct Set {
    /// The instance
    #[arg(value_parser = name, add = instance_names())]
    name: Name,
    /// The secret's name, such as MODEL_API_KEY or TELEGRAM_BOT_TOKEN
    #[arg(value_parser = secret_name)]
    secret: SecretName,
    /// A file with the value, or - for stdin
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The environment variable that holds the value
    #[arg(long, value_name = "VARIABLE", conflicts_with = "file")]
    env: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

fn secret_name(text: &str) -> Result<SecretName, String> {
    SecretName::parse(text).map_err(|e| e.to_string())
}

impl Secrets {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        match self {
            Self::Set(set) => set.run(globals).await,
            Self::List { name } => list(globals, &name).await,
            Self::Remove { name, secret, waiting } => {
                let client = connect::client(globals)?;
                let operation = client.remove_secret(&name, &secret).await?;
                wait::wait(globals, &client, operation, waiting, |operation| {
                    let took = wait::took(operation);
                    Ok(output::line(&format!("{name} runs without {secret} after {took}"))?)
                })
                .await
            }
        }
    }
}

impl Set {
    async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let client = connect::client(globals)?;
        let value = self.value()?;
        let wanted = SetSecret {
            name: self.name.clone(),
            secret: self.secret.clone(),
            value: SentSecret(value),
        };
        let operation = client.set_secret(&wanted).await?;
        wait::wait(globals, &client, operation, self.waiting, |operation| {
            let took = wait::took(operation);
            Ok(output::line(&format!(
                "{} runs with the new {} after {took}",
                self.name, self.secret
            ))?)
        })
        .await
    }

    fn value(&self) -> anyhow::Result<Secret> {
        if let Some(file) = &self.file {
            return secret_input::from_file(file);
        }
        if let Some(variable) = &self.env {
            return secret_input::from_env(variable);
        }
        if !secret_input::can_ask() {
            return secret_input::from_stdin();
        }
        let typed = secret_input::from_keyboard(&format!("{} of {}", self.secret, self.name))?;
        typed.ok_or_else(|| Failure::new(Exit::Usage, "no value was entered").into())
    }
}

async fn list(globals: &Globals, name: &Name) -> anyhow::Result<()> {
    let secrets = connect::client(globals)?.secrets(name).await?;
    if globals.json {
        return output::json(&wire::Secrets { secrets });
    }
    let mut table = Listing::new(&["NAME", "SET"]);
    for s in &secrets {
        table.row([(s.name.to_string(), None), (format!("{} ago", ago(s.updated_at)), None)]);
    }
    Ok(table.print("No secrets.")?)
}
