//! `startclaw operations`

use clap::Args;
use startclaw_api::wire;
use startclaw_model::{Name, Operation, OperationState};

use super::{completions::instance_names, name};
use crate::{
    cli::Globals,
    connect,
    output::{self, Listing, Tint, ago},
};

#[derive(Debug, Args)]
pub struct Operations {
    /// Of this instance only
    #[arg(value_parser = name, add = instance_names())]
    name: Option<Name>,
    /// At most this many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

impl Operations {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let client = connect::client(globals)?;
        let operations = client.operations(self.name.as_ref(), Some(self.limit)).await?;
        if let Some(name) = self.name.as_ref().filter(|_| operations.is_empty()) {
            // One that never was has no history either, and that is an error.
            client.status(Some(name)).await?;
        }
        if globals.json {
            return output::json(&wire::Operations { operations });
        }
        let mut table =
            Listing::new(&["ID", "KIND", "NAME", "STATE", "TOOK", "AGE", "BY", "REMARK"]);
        for o in &operations {
            let shade = match o.state {
                OperationState::Succeeded => Tint::Good,
                OperationState::Failed => Tint::Bad,
                OperationState::Queued | OperationState::Running => Tint::Middling,
            };
            table.row([
                (o.id.to_string(), Some(Tint::Faint)),
                (o.kind.as_str().to_owned(), None),
                (o.name.to_string(), None),
                (o.state.as_str().to_owned(), Some(shade)),
                (
                    o.finished_at
                        .map(|at| output::took(at.since(o.created_at)))
                        .unwrap_or_default(),
                    None,
                ),
                (ago(o.created_at), None),
                (o.actor.to_string(), None),
                (remark(o), None),
            ]);
        }
        Ok(table.print("No operations yet.")?)
    }
}

/// The error, or the current step.
fn remark(o: &Operation) -> String {
    match (&o.error, o.steps.last()) {
        (Some(error), _) => error.clone(),
        (None, Some(step)) if !o.state.is_over() => step.name.to_string(),
        _ => String::new(),
    }
}
