//! `startclaw provision`

use std::path::PathBuf;

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use startclaw_api::wire::{self, SentSecret, WantedLimits};
use startclaw_model::{ModelProvider, Name, Owner, ProviderKind, Secret, TelegramAccess};

use super::{name, wait};
use crate::{
    cli::{Globals, Waiting},
    connect, output, secret_input,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  startclaw provision alice --owner alice@example.com
  startclaw provision bob --provider anthropic --api-key-file key.txt --telegram-token-file bot.txt
  pass openai | startclaw provision carol --provider openai --api-key-stdin")]
pub struct Provision {
    /// The name: a-z, 0-9 and -, at most 40 characters; the instance is at `https://NAME.DOMAIN`
    #[arg(value_parser = name)]
    name: Name,
    /// Owner, an e-mail address or id [default: admin, at the socket only]
    #[arg(long, value_parser = |t: &str| Owner::parse(t).map_err(|e| e.to_string()))]
    owner: Option<Owner>,
    /// Model provider; without one the owner sets it up in the Control UI
    #[arg(long, value_parser = provider())]
    provider: Option<ProviderKind>,
    /// The model's id at the provider
    #[arg(long, requires = "provider")]
    model: Option<String>,
    /// The address of an OpenAI-compatible server, for the provider `custom`
    #[arg(long, requires = "provider", value_name = "URL")]
    base_url: Option<String>,
    #[command(flatten)]
    api_key: ApiKey,
    /// File with the Telegram bot token, or - for stdin
    #[arg(long, value_name = "FILE")]
    telegram_token_file: Option<PathBuf>,
    /// Environment variable that holds the Telegram bot token
    #[arg(long, value_name = "VARIABLE", conflicts_with = "telegram_token_file")]
    telegram_token_env: Option<String>,
    /// Access to the bot: users whom the owner approves (pairing), or everyone (open)
    #[arg(long, value_name = "ACCESS", default_value = "pairing", value_parser = access())]
    telegram_access: TelegramAccess,
    /// OpenClaw version [default: the platform's]
    #[arg(long)]
    version: Option<String>,
    /// Soft memory limit, kept under memory pressure, in MiB
    #[arg(long, value_name = "MIB")]
    memory_soft: Option<u64>,
    /// Hard memory limit, in MiB
    #[arg(long, value_name = "MIB")]
    memory_hard: Option<u64>,
    /// CPU limit once it has booted; 0.5 is half of one core
    #[arg(long)]
    cpus: Option<f64>,
    /// Maximum number of processes and threads
    #[arg(long)]
    pids: Option<u32>,
    /// Do not prompt (non-interactive)
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// The source of the provider's key.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct ApiKey {
    /// File with the provider's API key, or - for stdin
    #[arg(long, value_name = "FILE", requires = "provider")]
    api_key_file: Option<PathBuf>,
    /// Read the provider's key from stdin
    #[arg(long, requires = "provider")]
    api_key_stdin: bool,
    /// Environment variable that holds the provider's API key
    #[arg(long, value_name = "VARIABLE", requires = "provider")]
    api_key_env: Option<String>,
}

fn provider() -> impl TypedValueParser<Value = ProviderKind> {
    PossibleValuesParser::new(ProviderKind::ALL.map(ProviderKind::as_str))
        .try_map(|word| ProviderKind::parse(&word).ok_or("no provider"))
}

/// Completions and help list the values.
fn access() -> impl TypedValueParser<Value = TelegramAccess> {
    PossibleValuesParser::new(["pairing", "open"]).map(|text| match text.as_str() {
        "open" => TelegramAccess::Open,
        _ => TelegramAccess::Pairing,
    })
}

impl Provision {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let client = connect::client(globals)?;
        let api_key = self.api_key(globals)?;
        let telegram = match (&self.telegram_token_file, &self.telegram_token_env) {
            (Some(file), _) => Some(secret_input::from_file(file)?),
            (None, Some(variable)) => Some(secret_input::from_env(variable)?),
            (None, None) => None,
        };
        if !self.telegram_access.is_pairing() {
            output::note(
                "Warning: every Telegram user who finds the bot can command the agent, which runs programs \
                 and reads its keys.",
            );
        }
        let limits = WantedLimits {
            memory_soft_mib: self.memory_soft,
            memory_hard_mib: self.memory_hard,
            cpus: self.cpus,
            pids: self.pids,
        };
        let wanted = wire::Provision {
            name: self.name,
            owner: self.owner,
            provider: self.provider.map(|kind| ModelProvider {
                kind,
                model: self.model,
                base_url: self.base_url,
            }),
            api_key: api_key.map(SentSecret),
            telegram_bot_token: telegram.map(SentSecret),
            telegram_access: self.telegram_access,
            version: self.version,
            limits: (!limits.is_empty()).then_some(limits),
        };
        let no_key = wanted.api_key.is_none()
            && wanted.provider.as_ref().is_some_and(|p| p.kind != ProviderKind::Custom);
        let with_bot = wanted.telegram_bot_token.is_some() && wanted.telegram_access.is_pairing();
        let operation = client.provision(&wanted).await?;
        let place = client.status(Some(&wanted.name)).await.ok().and_then(|mut s| s.pop());
        wait::wait(globals, &client, operation, self.waiting, |operation| {
            let url = place.map_or_else(String::new, |i| format!(" at {}", i.url));
            output::line(&format!(
                "{} is live{url} after {}",
                operation.name,
                wait::took(operation)
            ))?;
            output::note(&format!("Sign in with: startclaw open {}", operation.name));
            if no_key {
                output::note(&format!(
                    "Warning: the model provider has no API key yet; set it with: startclaw secrets set {} MODEL_API_KEY",
                    operation.name
                ));
            }
            if with_bot {
                output::note(&format!(
                    "Write to the bot, then approve yourself with: startclaw pairing {}",
                    operation.name
                ));
            }
            Ok(())
        })
        .await
    }

    fn api_key(&self, globals: &Globals) -> anyhow::Result<Option<Secret>> {
        let Some(provider) = self.provider else { return Ok(None) };
        if let Some(file) = &self.api_key.api_key_file {
            return secret_input::from_file(file).map(Some);
        }
        if self.api_key.api_key_stdin {
            return secret_input::from_stdin().map(Some);
        }
        if let Some(variable) = &self.api_key.api_key_env {
            return secret_input::from_env(variable).map(Some);
        }
        if self.yes || globals.json || !secret_input::can_ask() {
            return Ok(None);
        }
        let question = format!("API key for {} (empty for none)", provider.as_str());
        secret_input::from_keyboard(&question)
    }
}
