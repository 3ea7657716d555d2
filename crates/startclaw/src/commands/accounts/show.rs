//! Prints accounts, invitations and their links.

use startclaw_api::wire;
use startclaw_model::AccountState;

use crate::output::{self, Listing, Tint, ago};

/// Prints the link alone on stdout, so that a program can read it.
pub fn link(link: &wire::AccountLink, what: &str) -> anyhow::Result<()> {
    output::line(link.url.0.expose())?;
    output::note(&format!("{what}, until {}. It is not shown again.", link.expires_at));
    Ok(())
}

/// Prints accounts as a table.
pub fn list(accounts: &[wire::Account]) -> anyhow::Result<()> {
    let heads = ["EMAIL", "STATE", "ADMIN", "INSTANCES", "MEMORY", "DISK", "SIGNED IN", "MADE"];
    let mut table = Listing::new(&heads);
    for a in accounts {
        let state = match a.state {
            AccountState::Active if a.confirmed_at.is_none() => ("unconfirmed", Tint::Middling),
            AccountState::Active => ("active", Tint::Good),
            AccountState::Suspended => ("suspended", Tint::Bad),
            AccountState::PendingDeletion => ("being deleted", Tint::Middling),
        };
        let of = |used: u64, may: u64, unit: &str| {
            let full = (used >= may).then_some(Tint::Middling);
            (format!("{used}/{may}{unit}"), full)
        };
        table.row([
            (a.email.to_string(), None),
            (state.0.to_owned(), Some(state.1)),
            (if a.admin { "yes" } else { "" }.to_owned(), None),
            of(a.usage.instances.into(), a.quota.instances.into(), ""),
            of(a.usage.memory_mib, a.quota.memory_mib, " MiB"),
            of(a.usage.disk_mib, a.quota.disk_mib, " MiB"),
            (a.signed_in_at.map_or_else(|| "never".into(), |at| format!("{} ago", ago(at))), None),
            (format!("{} ago", ago(a.created_at)), None),
        ]);
    }
    Ok(table.print("No accounts yet. Create one with: startclaw accounts create EMAIL")?)
}

/// Prints invitations as a table.
pub fn invitations(invitations: &[wire::Invitation]) -> anyhow::Result<()> {
    let mut table = Listing::new(&["ID", "FOR", "MADE BY", "MADE", "ENDS"]);
    for i in invitations {
        let whom = i.email.as_ref().map_or_else(|| "anyone".to_owned(), ToString::to_string);
        table.row([
            (i.id.clone(), None),
            (whom, None),
            (i.created_by.clone(), None),
            (format!("{} ago", ago(i.created_at)), None),
            (i.expires_at.to_string(), None),
        ]);
    }
    Ok(table.print("No invitations. Create one with: startclaw accounts invite")?)
}
