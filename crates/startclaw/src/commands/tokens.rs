//! `startclaw tokens`

use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use startclaw_api::wire::{self, CreateToken};
use startclaw_model::{Name, Scope};

use super::{completions::instance_names, name};
use crate::{
    cli::Globals,
    connect,
    output::{self, Listing, ago},
};

#[derive(Debug, Subcommand)]
pub enum Tokens {
    /// Create a token and print it once
    Create(Create),
    /// List tokens (without their secrets)
    List,
    /// Revoke a token
    Revoke {
        /// The token's id, as `list` shows it
        id: String,
    },
}

#[derive(Debug, Args)]
pub struct Create {
    /// Label of the token
    label: String,
    /// Scopes: read, write or admin; `write` includes `read`, `admin` includes both
    #[arg(long, required = true, value_delimiter = ',', value_parser = scope())]
    scope: Vec<Scope>,
    /// Restrict the token to this instance
    #[arg(long, value_parser = name, add = instance_names())]
    instance: Option<Name>,
    /// Expires after this many days [default: never]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: Option<u32>,
}

fn scope() -> impl TypedValueParser<Value = Scope> {
    PossibleValuesParser::new(["read", "write", "admin"])
        .try_map(|text| serde_json::from_value::<Scope>(text.into()))
}

impl Tokens {
    pub async fn run(self, globals: &Globals) -> anyhow::Result<()> {
        let client = connect::client(globals)?;
        match self {
            Self::Create(wanted) => {
                let wanted = CreateToken {
                    label: wanted.label,
                    scopes: wanted.scope,
                    instance: wanted.instance,
                    days: wanted.days,
                };
                let fresh = client.create_token(&wanted).await?;
                if globals.json {
                    return output::json(&fresh);
                }
                output::line(fresh.value.0.expose())?;
                let id = &fresh.token.id;
                output::note(&format!("Save it now: it is not shown again. Token id: {id}."));
                Ok(())
            }
            Self::List => {
                let tokens = client.tokens().await?;
                if globals.json { output::json(&wire::Tokens { tokens }) } else { list(&tokens) }
            }
            Self::Revoke { id } => {
                client.revoke_token(&id).await?;
                if globals.json {
                    return output::json(&serde_json::json!({ "revoked": id }));
                }
                Ok(output::line(&format!("token {id} revoked"))?)
            }
        }
    }
}

fn list(tokens: &[wire::Token]) -> anyhow::Result<()> {
    let mut table = Listing::new(&["ID", "LABEL", "MAY", "INSTANCE", "MADE", "USED", "ENDS"]);
    for t in tokens {
        let may = t.scopes.iter().filter_map(|s| serde_json::to_value(s).ok());
        let may: Vec<String> = may.filter_map(|v| v.as_str().map(str::to_owned)).collect();
        table.row([
            (t.id.clone(), None),
            (t.label.clone(), None),
            (may.join(","), None),
            (t.instance.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string), None),
            (format!("{} ago", ago(t.created_at)), None),
            (
                t.last_used_at.map_or_else(|| "never".to_owned(), |at| format!("{} ago", ago(at))),
                None,
            ),
            (t.expires_at.map_or_else(|| "never".to_owned(), |at| at.to_string()), None),
        ]);
    }
    Ok(table.print("No tokens yet.")?)
}
