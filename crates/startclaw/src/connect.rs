//! Creates a client from the options.

use std::path::PathBuf;

use anyhow::Context;
use startclaw_api::client::Client;
use startclaw_model::Secret;

use crate::{
    cli::Globals,
    exit::{Exit, Failure},
    settings::Settings,
};

pub fn client(globals: &Globals) -> anyhow::Result<Client> {
    let Some(url) = &globals.api else { return Ok(Client::socket(&socket(globals)?)?) };
    let token = match &globals.token_file {
        Some(file) => Some(
            std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the token in {}", file.display()))?,
        ),
        // There is no option for it: every user of the host can see arguments.
        None => std::env::var("STARTCLAW_TOKEN").ok(),
    };
    let token = token.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).ok_or_else(|| {
        Failure::new(Exit::Denied, "--api needs a token: --token-file FILE, or set STARTCLAW_TOKEN")
    })?;
    if token.bytes().any(|byte| !byte.is_ascii_graphic()) {
        let source = globals
            .token_file
            .as_ref()
            .map_or_else(|| "STARTCLAW_TOKEN".to_owned(), |file| file.display().to_string());
        let why = format!(
            "{source} contains no valid token: a token is one word, as printed by `tokens create`"
        );
        return Err(Failure::new(Exit::Usage, why).into());
    }
    let authority = match &globals.ca_file {
        Some(file) => {
            Some(std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?)
        }
        None => None,
    };
    Ok(Client::https(url, Some(Secret::new(token)), authority.as_deref())?)
}

/// The socket of the daemon.
pub fn socket(globals: &Globals) -> anyhow::Result<PathBuf> {
    if let Some(socket) = &globals.socket {
        return Ok(socket.clone());
    }
    match Settings::load(globals.config.as_deref()) {
        Ok(settings) => Ok(settings.socket()),
        // A file that was named must be valid. The one in /etc may be unreadable to members of the
        // group that can nevertheless open the socket.
        Err(e) if globals.config.is_some() => Err(e),
        Err(_) => Ok(Settings::default().socket()),
    }
}
