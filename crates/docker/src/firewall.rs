//! Loads the firewall rules of instances, and detects changes to them.
//!
//! The output format of `nft` depends on its version, so our source cannot be compared with the
//! kernel's table. Instead the same rules are also loaded into an empty network namespace, which no
//! other process can reach. The rules are in place when both listings are equal, so that any added,
//! changed or removed rule, set or chain is detected.
//!
//! The listing right after loading is not a safe reference: another process may have changed the
//! table in between, and that change would be taken for our rules.

use std::net::Ipv4Addr;

use tokio::sync::Mutex;

use super::{
    DockerSettings, command::run, firewall_rules, firewall_rules::FirewallRules, names::Names,
};
use startclaw_host::HostError;

/// Our nftables table.
pub(super) struct Firewall {
    table: String,
    bridges: String,
    settings: DockerSettings,
    last_port: u16,
    /// The rules when they were last in place, which saves a network namespace for each check.
    /// Locked during a check, so that rules are not loaded concurrently.
    verified: Mutex<Option<Verified>>,
}

/// The wanted rules, and their listing by `nft`.
#[derive(PartialEq, Eq)]
struct Verified {
    wanted: String,
    listing: String,
}

/// State of the firewall rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirewallState {
    /// Loaded and unmodified.
    InPlace,
    /// Not loaded.
    Missing,
    /// Loaded, but modified.
    Changed,
}

impl Firewall {
    pub(super) fn new(names: &Names, settings: &DockerSettings, last_port: u16) -> Self {
        Self {
            table: names.table(),
            bridges: names.bridges().to_owned(),
            settings: settings.clone(),
            last_port,
            verified: Mutex::new(None),
        }
    }

    /// Loads the rules if they are not in place. `true` when it did.
    pub(super) async fn ensure(&self) -> Result<bool, HostError> {
        let mut stood = self.verified.lock().await;
        let wanted = self.wanted();
        if self.inspect(&wanted, &mut stood).await? == FirewallState::InPlace {
            return Ok(false);
        }
        run("nft", &["-f", "-"], Some(&wanted)).await?;
        Ok(true)
    }

    /// Checks the firewall rules.
    pub(super) async fn check(&self) -> Result<FirewallState, HostError> {
        self.inspect(&self.wanted(), &mut *self.verified.lock().await).await
    }

    async fn inspect(
        &self,
        wanted: &str,
        stood: &mut Option<Verified>,
    ) -> Result<FirewallState, HostError> {
        let Some(listing) = self.live().await? else { return Ok(FirewallState::Missing) };
        let now = Verified { wanted: wanted.to_owned(), listing };
        // A different listing may still be correct: nft may have been upgraded.
        if stood.as_ref() == Some(&now) || self.listing_in_namespace(wanted).await? == now.listing {
            *stood = Some(now);
            return Ok(FirewallState::InPlace);
        }
        Ok(FirewallState::Changed)
    }

    /// The kernel's listing of the unmodified table.
    async fn listing_in_namespace(&self, wanted: &str) -> Result<String, HostError> {
        // One shell for both commands: the namespace is removed when its last process ends.
        let both = r#"nft -f - && exec nft -s list table inet "$0""#;
        run("unshare", &["--net", "sh", "-c", both, &self.table], Some(wanted)).await
    }

    fn wanted(&self) -> String {
        FirewallRules {
            table: &self.table,
            bridges: &self.bridges,
            pool: self.settings.address_pool.range(),
            ports: self.settings.first_port..=self.last_port,
            resolvers: host_resolvers(),
            allow: &self.settings.allow,
            callers: firewall_rules::user_ids(
                &std::fs::read_to_string("/etc/passwd").unwrap_or_default(),
                &self.settings.callers,
            ),
            connections: self.settings.connections,
        }
        .render()
    }

    /// The kernel's listing of our table, without counted connections; `None` when it is not
    /// loaded.
    async fn live(&self) -> Result<Option<String>, HostError> {
        match run("nft", &["-s", "list", "table", "inet", &self.table], None).await {
            Ok(text) => Ok(Some(without_counts(&text))),
            Err(e) if e.message.contains("No such file") => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// Removes the elements of the set that counts connections from a listing: the kernel adds and
/// removes them as instances connect. Everything else is kept.
fn without_counts(listing: &str) -> String {
    let (mut kept, mut in_set, mut in_elements) = (String::new(), false, false);
    for line in listing.lines() {
        let text = line.trim();
        if text.starts_with("set ") {
            in_set = text == format!("set {} {{", firewall_rules::COUNTS);
        }
        in_elements |= in_set && text.starts_with("elements = {");
        if in_elements {
            in_elements = !text.ends_with('}');
            continue;
        }
        in_set &= text != "}";
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

/// The resolvers that Docker forwards DNS queries of containers to. With systemd-resolved, Docker
/// reads the second file.
fn host_resolvers() -> Vec<Ipv4Addr> {
    ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|text| firewall_rules::resolvers(&text))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_connections_are_no_change_and_everything_else_is() {
        let table = |counts: &str, blocked: &str| {
            format!(
                "table inet t {{\n\tset blocked {{\n\t\telements = {{ {blocked} }}\n\t}}\n\n\
                 \tset connections {{\n\t\tflags dynamic\n{counts}\t}}\n\tchain a {{\n\t\tdrop\n\t}}\n}}\n"
            )
        };
        let counts =
            "\t\telements = { \"a-0\" ct count over 9,\n\t\t\t     \"a-1\" ct count over 9 }\n";
        let bare = table("", "10.0.0.0/8");
        assert_eq!(without_counts(&bare), bare);
        assert_eq!(without_counts(&table(counts, "10.0.0.0/8")), bare);
        assert_ne!(without_counts(&table(counts, "10.0.0.0/9")), bare);
    }
}
