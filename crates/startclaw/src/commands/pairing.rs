//! `startclaw pairing`

use clap::{Args, Subcommand};
use startclaw_api::wire::{Telegram, TelegramConnection};
use startclaw_model::Name;

use super::{completions::instance_names, name};
use crate::{
    cli::Globals,
    connect,
    output::{self, Listing, clean},
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  startclaw pairing alice                 show the bot's state and access requests
  startclaw pairing alice approve 4242    let the Telegram user 4242 command the agent
  startclaw pairing alice close           close a bot that is open to everyone")]
pub struct Pairing {
    /// The instance
    #[arg(value_parser = name, add = instance_names())]
    name: Name,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Approve a Telegram user
    Approve {
        /// The user's numeric id, as in the bot's reply to a user without access
        user: i64,
    },
    /// Require approval for every Telegram user that is not listed yet
    Close,
}

impl Pairing {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let client = connect::client(globals)?;
        let telegram = match &self.action {
            None => client.telegram(&self.name).await?,
            Some(Action::Approve { user }) => client.approve_telegram(&self.name, *user).await?,
            Some(Action::Close) => client.close_telegram(&self.name).await?,
        };
        if globals.json {
            return output::json(&telegram);
        }
        show(&self.name, &telegram)
    }
}

fn show(name: &Name, telegram: &Telegram) -> anyhow::Result<()> {
    output::line(&format!("telegram   {}", clean(&telegram.detail)))?;
    if telegram.connection == TelegramConnection::None {
        output::note(&format!("Add a bot with: startclaw secrets set {name} TELEGRAM_BOT_TOKEN"));
        return Ok(());
    }
    output::line(&format!("access     {}", access(telegram)))?;
    if telegram.open == Some(true) {
        output::note(&format!("Close the bot with: startclaw pairing {name} close"));
    }
    let mut table = Listing::new(&["USER ID", "USER NAME", "NAME", "ASKED AT"]);
    for request in &telegram.requests {
        let username = request.username.as_ref().map(|u| format!("@{u}")).unwrap_or_default();
        table.row([
            (request.user.to_string(), None),
            (username, None),
            (request.name.clone(), None),
            (request.at.clone(), None),
        ]);
    }
    table.print("No pairing requests. A user who writes to the bot appears here.")?;
    if let Some(first) = telegram.requests.first() {
        output::note(&format!("Approve with: startclaw pairing {name} approve {}", first.user));
    }
    Ok(())
}

/// Access to the agent, in a few words.
pub(super) fn access(telegram: &Telegram) -> String {
    match (telegram.open, telegram.allowed.as_slice()) {
        (None, _) => "unknown; not reported by the instance".to_owned(),
        (Some(true), _) => "OPEN: every Telegram user can command the agent".to_owned(),
        (Some(false), []) => "approved users only".to_owned(),
        (Some(false), users) => {
            let users: Vec<_> = users.iter().map(ToString::to_string).collect();
            format!("approved users only, such as {}", users.join(", "))
        }
    }
}
