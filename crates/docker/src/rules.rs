//! The firewall rules that Docker creates: published ports, NAT and forwarding. Checks them in the
//! output of `iptables-save`.
//!
//! A flush of the whole ruleset (`nft flush ruleset`, a restart of nftables, `iptables -F`) removes
//! them, and Docker creates them only when it starts.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The rules of Docker that a running instance needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    /// Its published port.
    pub(super) port: u16,
    /// Its container's address.
    pub(super) address: Ipv4Addr,
    /// Its network.
    pub(super) network: Ipv4Net,
    /// Its network's interface.
    pub(super) bridge: String,
}

/// What is missing of Docker's rules.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    /// In words; empty when all is there.
    pub(super) what: Vec<String>,
    /// Whether it is what a flush takes, a chain or the rules of every instance, and not the rules
    /// of a few.
    pub(super) flushed: bool,
}

impl Missing {
    fn push(&mut self, what: impl Into<String>) {
        self.what.push(what.into());
        self.flushed = true;
    }

    fn count(&mut self, what: &str, lost: usize, of: usize) {
        if lost > 0 {
            self.what.push(format!("{what} of {lost} of {of} running instances"));
            self.flushed |= lost == of;
        }
    }
}

/// What is missing in the tables `nat` and `filter`.
pub(super) fn missing(nat: &str, filter: &str, expected: &[Expected]) -> Missing {
    let mut missing = Missing::default();
    for (table, text) in [("nat", nat), ("filter", filter)] {
        if !has_docker(text) {
            missing.push(format!("the chain DOCKER of the table {table}"));
        }
    }
    let jumps = rules(nat, "OUTPUT").any(|rule| rule.ends_with("-j DOCKER"));
    if !expected.is_empty() && !jumps {
        missing.push("the way from this machine to published ports");
    }
    let lost =
        |there: &dyn Fn(&Expected) -> bool| expected.iter().filter(|one| !there(one)).count();
    let all = expected.len();
    missing.count("the published ports", lost(&|one| is_published(nat, one)), all);
    missing.count("the outgoing NAT", lost(&|one| is_masqueraded(nat, one)), all);
    missing.count("the forwarding", lost(&|one| is_forwarded(filter, one)), all);
    missing
}

/// Whether Docker uses this table of this variant of iptables.
pub(super) fn has_docker(table: &str) -> bool {
    table.lines().any(|line| line.starts_with(":DOCKER "))
}

/// The rules of a chain.
fn rules<'a>(table: &'a str, chain: &str) -> impl Iterator<Item = &'a str> {
    let begin = format!("-A {chain} ");
    table.lines().map(str::trim).filter(move |line| line.starts_with(&begin))
}

fn is_published(nat: &str, one: &Expected) -> bool {
    let (port, to) =
        (format!("--dport {} ", one.port), format!("DNAT --to-destination {}:", one.address));
    rules(nat, "DOCKER").any(|rule| rule.contains(&port) && rule.contains(&to))
}

fn is_masqueraded(nat: &str, one: &Expected) -> bool {
    let from = format!("-s {} ", one.network);
    rules(nat, "POSTROUTING").any(|rule| rule.contains(&from) && rule.ends_with("-j MASQUERADE"))
}

/// Docker accepts the traffic of a bridge by a rule with its name; it is needed only if the policy
/// is DROP.
fn is_forwarded(filter: &str, one: &Expected) -> bool {
    let from = format!("-i {} ", one.bridge);
    let drops = filter.lines().any(|line| line.starts_with(":FORWARD DROP"));
    !drops || filter.lines().any(|rule| rule.contains(&from) && rule.ends_with("-j ACCEPT"))
}

/// Whether Docker's settings or command line say that it does not use iptables.
pub(super) fn are_elsewhere(daemon_json: &[u8], cmdline: &[u8]) -> bool {
    let settings: serde_json::Value = serde_json::from_slice(daemon_json).unwrap_or_default();
    settings["iptables"] == serde_json::Value::Bool(false)
        || settings["firewall-backend"] == "nftables"
        || cmdline
            .split(|byte| *byte == 0)
            .any(|a| a.ends_with(b"-iptables=false") || a.ends_with(b"-firewall-backend=nftables"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules of Docker 20.10 with one instance.
    const NAT: &str = "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:DOCKER - [0:0]\n\
        -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
        -A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER\n\
        -A POSTROUTING -s 10.87.0.0/29 ! -o sc123456-0 -j MASQUERADE\n\
        -A DOCKER -d 127.0.0.1/32 ! -i sc123456-0 -p tcp -m tcp --dport 18001 -j DNAT \
        --to-destination 10.87.0.2:18789\nCOMMIT\n";
    const FILTER: &str = "*filter\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\n\
        -A FORWARD -i sc123456-0 ! -o sc123456-0 -j ACCEPT\nCOMMIT\n";

    fn expected() -> Vec<Expected> {
        vec![Expected {
            port: 18001,
            address: Ipv4Addr::new(10, 87, 0, 2),
            network: "10.87.0.0/29".parse().unwrap(),
            bridge: "sc123456-0".to_owned(),
        }]
    }

    #[test]
    fn complete_rules_miss_nothing() {
        assert_eq!(missing(NAT, FILTER, &expected()), Missing::default());
        assert_eq!(missing(NAT, FILTER, &[]), Missing::default());
    }

    #[test]
    fn every_rule_that_an_instance_needs_is_missed() {
        for (lost, what) in [
            ("-A OUTPUT", "the way from this machine"),
            ("-A DOCKER", "the published ports of 1 of 1"),
            ("-A POSTROUTING", "the outgoing NAT"),
            ("-A FORWARD", "the forwarding"),
            (":DOCKER", "the chain DOCKER of the table nat"),
        ] {
            let without = |text: &str| {
                let kept: Vec<&str> = text.lines().filter(|l| !l.starts_with(lost)).collect();
                kept.join("\n")
            };
            let missing = missing(&without(NAT), &without(FILTER), &expected());
            assert!(missing.what.join(", ").contains(what), "{lost}: {missing:?}");
            assert!(missing.flushed);
        }
        // What `nft flush ruleset` leaves.
        assert_eq!(missing("", "", &expected()).what.len(), 5);
        assert_eq!(missing("", "", &[]).what.len(), 2);
        // Where the policy accepts, no rule is needed.
        let accepts = missing(NAT, ":FORWARD ACCEPT [0:0]\n:DOCKER - [0:0]\n", &expected());
        assert_eq!(accepts, Missing::default());
    }

    #[test]
    fn rules_that_a_few_instances_lack_are_told_and_are_no_flush() {
        let mut two = expected();
        two.push(Expected { port: 18002, ..two[0].clone() });
        let missing = missing(NAT, FILTER, &two);
        assert_eq!(missing.what, ["the published ports of 1 of 2 running instances"]);
        assert!(!missing.flushed);
    }

    #[test]
    fn a_docker_that_makes_no_such_rules_is_known() {
        assert!(are_elsewhere(br#"{"iptables": false}"#, b""));
        assert!(are_elsewhere(br#"{"firewall-backend": "nftables"}"#, b""));
        assert!(are_elsewhere(b"", b"dockerd\0--iptables=false\0"));
        assert!(!are_elsewhere(br#"{"live-restore": true}"#, b"dockerd\0"));
    }
}
