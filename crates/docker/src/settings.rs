//! What an operator can set about Docker on this host.

use std::{fmt, path::PathBuf, str::FromStr};

use ipnet::Ipv4Net;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use startclaw_model::AddressPool;

/// Where and how instances run on this host's Docker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DockerSettings {
    /// The address of Docker's socket. Default: `unix:///var/run/docker.sock`, Docker's own.
    pub socket: String,
    /// The first part of the names of containers, volumes and networks, and the namespace of
    /// their labels: two platforms on one machine need two of them (and two of each range
    /// below). Default: `startclaw`.
    pub prefix: Prefix,
    /// The port on 127.0.0.1 of the first instance; the others follow. Default:
    /// 18001. The last port in use must stay below 32768.
    pub first_port: u16,
    /// The user and group id of the first instance; the others follow. Default: 200000, above
    /// what Debian gives to people and services.
    pub first_uid: u32,
    /// The private range that the instances' networks are cut from, a /29 for each. It must be
    /// used by nothing else that this host reaches. Default: `10.87.0.0/16`, room for 8,192.
    #[schemars(with = "String")]
    pub address_pool: AddressPool,
    /// Where files that must not outlive the host's run lie; secrets are in its folder
    /// `secrets`, which is held in memory. Default: `/run/startclaw`.
    pub runtime_dir: PathBuf,
    /// Destinations that instances may reach although they are private or on this host: a
    /// range (`10.1.0.0/16`), or a range or address with a TCP port (`10.1.2.3:8000`).
    /// Default: none.
    pub allow: Vec<Destination>,
    /// The users of this host who, besides root, may connect to instances: the one that Caddy
    /// runs as. Instances believe whoever connects who their user is, so other local users are
    /// kept away by the firewall. Default: `startclaw-caddy`.
    pub callers: Vec<String>,
    /// How large one file of an instance's log may get, in MiB. Default: 10.
    pub log_max_mib: u32,
    /// How many files of an instance's log are kept. Default: 3.
    pub log_files: u32,
    /// The command that restarts Docker, word by word. It is run, at most every 10 minutes and only
    /// with `live-restore`, when Docker's own firewall rules are gone, as after `nft flush ruleset`:
    /// Docker makes them only when it starts. Default: `["systemctl", "restart", "docker"]`; a
    /// command of this form is run only where systemd runs that unit with `KillMode=process`, as
    /// Docker's own unit has it, and so ends no container. Empty: the restart is left to the
    /// operator.
    pub restart_command: Vec<String>,
    /// How many connections an instance may have open to others at once, as the kernel tracks
    /// them: one more is dropped, so that no instance fills the table that all share. 0: no
    /// bound. Default: 4096.
    pub connections: u32,
}

impl Default for DockerSettings {
    fn default() -> Self {
        Self {
            socket: "unix:///var/run/docker.sock".to_owned(),
            prefix: Prefix::default(),
            first_port: 18001,
            first_uid: 200_000,
            address_pool: default_pool(),
            runtime_dir: PathBuf::from("/run/startclaw"),
            allow: Vec::new(),
            callers: vec!["startclaw-caddy".to_owned()],
            log_max_mib: 10,
            log_files: 3,
            restart_command: ["systemctl", "restart", "docker"].map(str::to_owned).to_vec(),
            connections: 4096,
        }
    }
}

/// 10.87.0.0/16, which few use: most set-ups begin at 10.0 or 10.10.
fn default_pool() -> AddressPool {
    let range = Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 87, 0, 0), 16);
    #[expect(clippy::expect_used, reason = "a constant; a test makes it")]
    AddressPool::new(range).expect("a private /16 is a pool")
}

/// The first part of every name: `a-z`, `0-9` and `-`, beginning with a letter, 1 to 20
/// characters, so that it fits into Docker's names, label keys and an nftables table's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(String);

/// A text that is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a prefix has 1 to 20 characters a-z, 0-9 and -, begins with a letter and ends with none of -"
)]
pub struct PrefixError;

impl Prefix {
    /// Checks `text`.
    pub fn parse(text: &str) -> Result<Self, PrefixError> {
        let good = text.len() <= 20
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if good { Ok(Self(text.to_owned())) } else { Err(PrefixError) }
    }

    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self("startclaw".to_owned())
    }
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;
    fn try_from(text: String) -> Result<Self, PrefixError> {
        Self::parse(&text)
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.0
    }
}

impl JsonSchema for Prefix {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Prefix".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z](?:[a-z0-9-]{0,18}[a-z0-9])?$" })
    }
}

/// Something that instances may reach: an IPv4 range, with all its ports or one TCP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Destination {
    /// The range; a single address is a /32.
    pub range: Ipv4Net,
    /// The TCP port; all ports of every protocol when there is none.
    pub port: Option<u16>,
}

/// A text that is no destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a destination is an IPv4 range or address, with a TCP port or without: 10.1.0.0/16, 10.1.2.3:8000"
)]
pub struct DestinationError;

impl FromStr for Destination {
    type Err = DestinationError;
    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let (range, port) = match text.split_once(':') {
            Some((range, port)) => match port.parse() {
                Ok(port) if port > 0 => (range, Some(port)),
                _ => return Err(DestinationError),
            },
            None => (text, None),
        };
        let range = match range.parse::<Ipv4Net>() {
            Ok(range) => range.trunc(),
            Err(_) => {
                Ipv4Net::from(range.parse::<std::net::Ipv4Addr>().map_err(|_| DestinationError)?)
            }
        };
        Ok(Self { range, port })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.range)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl TryFrom<String> for Destination {
    type Error = DestinationError;
    fn try_from(text: String) -> Result<Self, DestinationError> {
        text.parse()
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> Self {
        destination.to_string()
    }
}

impl JsonSchema for Destination {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Destination".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:/[0-9]{1,2})?(?::[0-9]{1,5})?$",
            "examples": ["10.1.0.0/16", "10.1.2.3:8000"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_follow_the_specification() {
        let settings = DockerSettings::default();
        assert_eq!(settings.first_port, 18001);
        assert_eq!(settings.address_pool.range().to_string(), "10.87.0.0/16");
        let read: DockerSettings = serde_json::from_str("{}").unwrap();
        assert_eq!(read, settings);
        assert!(serde_json::from_str::<DockerSettings>(r#"{"frist_port":1}"#).is_err());
    }

    #[test]
    fn a_destination_is_a_range_with_or_without_a_port() {
        let same = |text: &str| text.parse::<Destination>().map(|d| d.to_string());
        assert_eq!(same("10.1.2.3/16").unwrap(), "10.1.0.0/16");
        assert_eq!(same("10.1.2.3:8000").unwrap(), "10.1.2.3/32:8000");
        for bad in ["", "x", "10.1.2.3:0", "10.1.2.3:", "10.1.2.3:70000", "fd00::/8", "10.0.0.0/33"]
        {
            assert!(same(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_prefix_fits_everywhere_it_is_used() {
        assert!(Prefix::parse("sc-test1").is_ok());
        for bad in ["", "1a", "a-", "A", "a_b", "a b", "a;b", "aaaaaaaaaaaaaaaaaaaaa"] {
            assert!(Prefix::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_schema_says_what_each_setting_is() {
        let schema = schemars::schema_for!(DockerSettings);
        let text = serde_json::to_string(&schema).unwrap();
        assert!(text.contains("address_pool") && text.contains("private range"));
    }
}
