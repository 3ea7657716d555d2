//! Puts the walls up, and sees when somebody took a stone out.
//!
//! How `nft` prints a table differs between its versions, so what we wrote cannot be compared
//! with what the kernel holds. Instead the same rules are loaded into an empty network
//! namespace as well, where nobody else can reach them, and the walls stand when the kernel's
//! two listings are the same: any rule, set or chain that was added, changed or removed shows.
//!
//! What the machine itself lists right after loading is no measure: somebody may have changed
//! it in between, and the damage would be taken for the walls from then on.

use std::net::Ipv4Addr;

use tokio::sync::Mutex;

use super::{DockerSettings, command::run, firewall, firewall::Walls, names::Names};
use crate::HostError;

/// The keeper of our nftables table.
pub(super) struct Guard {
    table: String,
    bridges: String,
    settings: DockerSettings,
    last_port: u16,
    /// The walls when they last stood. Spares a network namespace for each look; held while
    /// at work, so that two do not load at once.
    stood: Mutex<Option<Stood>>,
}

/// What was asked for, and how `nft` lists it.
#[derive(PartialEq, Eq)]
struct Stood {
    wanted: String,
    listing: String,
}

/// How the walls are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wall {
    /// As they should be.
    Standing,
    /// Not there.
    Missing,
    /// There, and not as they should be.
    Changed,
}

impl Guard {
    pub(super) fn new(names: &Names, settings: &DockerSettings, last_port: u16) -> Self {
        Self {
            table: names.table(),
            bridges: names.bridges().to_owned(),
            settings: settings.clone(),
            last_port,
            stood: Mutex::new(None),
        }
    }

    /// Puts the walls up if they do not stand. `true` when it did.
    pub(super) async fn mend(&self) -> Result<bool, HostError> {
        let mut stood = self.stood.lock().await;
        let wanted = self.wanted();
        if self.look(&wanted, &mut stood).await? == Wall::Standing {
            return Ok(false);
        }
        run("nft", &["-f", "-"], Some(&wanted)).await?;
        Ok(true)
    }

    /// How the walls are now.
    pub(super) async fn check(&self) -> Result<Wall, HostError> {
        self.look(&self.wanted(), &mut *self.stood.lock().await).await
    }

    async fn look(&self, wanted: &str, stood: &mut Option<Stood>) -> Result<Wall, HostError> {
        let Some(listing) = self.live().await? else { return Ok(Wall::Missing) };
        let now = Stood { wanted: wanted.to_owned(), listing };
        // What differs from the last time may be right all the same: another nft prints it.
        if stood.as_ref() == Some(&now) || self.apart(wanted).await? == now.listing {
            *stood = Some(now);
            return Ok(Wall::Standing);
        }
        Ok(Wall::Changed)
    }

    /// The table as the kernel has it when nobody but us was at it.
    async fn apart(&self, wanted: &str) -> Result<String, HostError> {
        // One shell for both: the namespace is gone when the last process in it ends.
        let both = r#"nft -f - && exec nft -s list table inet "$0""#;
        run("unshare", &["--net", "sh", "-c", both, &self.table], Some(wanted)).await
    }

    fn wanted(&self) -> String {
        Walls {
            table: &self.table,
            bridges: &self.bridges,
            pool: self.settings.address_pool.range(),
            ports: self.settings.first_port..=self.last_port,
            resolvers: host_resolvers(),
            allow: &self.settings.allow,
            callers: firewall::user_ids(
                &std::fs::read_to_string("/etc/passwd").unwrap_or_default(),
                &self.settings.callers,
            ),
            connections: self.settings.connections,
        }
        .render()
    }

    /// The table as the kernel has it, without what it counts; `None` when there is none.
    async fn live(&self) -> Result<Option<String>, HostError> {
        match run("nft", &["-s", "list", "table", "inet", &self.table], None).await {
            Ok(text) => Ok(Some(without_counts(&text))),
            Err(e) if e.message.contains("No such file") => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// A listing without the elements of the set that counts connections: the kernel adds and
/// removes them as instances connect. Everything else in the set, and all rules, stay.
fn without_counts(listing: &str) -> String {
    let (mut kept, mut in_set, mut in_elements) = (String::new(), false, false);
    for line in listing.lines() {
        let text = line.trim();
        if text.starts_with("set ") {
            in_set = text == format!("set {} {{", firewall::COUNTS);
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

/// The resolvers that Docker hands the containers' questions to. Where systemd-resolved is
/// in charge, Docker reads the second file.
fn host_resolvers() -> Vec<Ipv4Addr> {
    ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|text| firewall::resolvers(&text))
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
