//! `startclaw events`

use clap::Args;
use startclaw_api::wire;
use startclaw_model::{EventKind, Name};

use super::{completions::instance_names, name};
use crate::{
    cli::Globals,
    connect,
    output::{self, Listing, Tint},
};

#[derive(Debug, Args)]
pub struct Events {
    /// Of this instance only
    #[arg(value_parser = name, add = instance_names())]
    name: Option<Name>,
    /// At most this many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

impl Events {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let client = connect::client(globals)?;
        let events = client.events(self.name.as_ref(), Some(self.limit)).await?;
        if let Some(name) = self.name.as_ref().filter(|_| events.is_empty()) {
            // One that never was has no history either, and that is an error.
            client.status(Some(name)).await?;
        }
        if globals.json {
            return output::json(&wire::Events { events });
        }
        let mut table = Listing::new(&["AT", "WHAT", "NAME", "BY", "DETAIL"]);
        for e in &events {
            let shade = match e.kind {
                EventKind::Failed => Some(Tint::Bad),
                EventKind::Recovered => Some(Tint::Good),
                _ => None,
            };
            table.row([
                (e.at.to_string(), Some(Tint::Faint)),
                (e.kind.as_str().to_owned(), shade),
                (e.name.as_ref().map(ToString::to_string).unwrap_or_default(), None),
                (e.actor.to_string(), None),
                (e.detail.clone(), None),
            ]);
        }
        Ok(table.print("No events yet.")?)
    }
}
