//! `startclaw alerts`

use clap::Args;
use startclaw_api::wire;

use crate::{
    cli::Globals,
    connect,
    output::{self, Listing, Tint},
};

#[derive(Debug, Args)]
pub struct Alerts {
    /// At most this many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

impl Alerts {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let client = connect::client(globals)?;
        let alerts = client.alerts(Some(self.limit)).await?;
        if globals.json {
            return output::json(&wire::Alerts { alerts });
        }
        let mut table = Listing::new(&["SINCE", "RESOLVED", "ALERT", "DETAIL"]);
        for alert in &alerts {
            let (resolved, shade) = match alert.resolved_at {
                Some(at) => (at.to_string(), Some(Tint::Faint)),
                None => ("-".to_owned(), Some(Tint::Bad)),
            };
            table.row([
                (alert.since.to_string(), Some(Tint::Faint)),
                (resolved, shade),
                (alert.key.clone(), shade),
                (alert.detail.clone(), None),
            ]);
        }
        Ok(table.print("No alerts.")?)
    }
}
