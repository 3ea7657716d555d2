//! The firewall rules of instances, as the text that `nft` loads.
//!
//! It is one table, whose rules match bridges by the prefix of their names, so it does not change
//! when instances are created and removed. Its chains run just before Docker's: a drop here is
//! final, and accepted packets are still subject to Docker's rules.
//!
//! Ports on the loopback are closed as a whole range, that of the settings, and not per instance: a
//! set of ports would be updated too late, just after a gateway begins to listen, and the table
//! would change all the time. The cost is that another service in our range can be reached by root
//! and our proxy only. `doctor` reports such a service (`ports`), and connections to it are
//! rejected, not dropped, so that the problem is noticed at once.

use std::{fmt::Write as _, net::Ipv4Addr, ops::RangeInclusive};

use ipnet::Ipv4Net;

use super::Destination;

/// Destinations that are blocked for instances: everything but the public internet, by the IANA
/// registry of special-purpose addresses, and Azure's host address, which is in a public range. It
/// includes all cloud metadata servers: 169.254.169.254, Alibaba's 100.100.100.200, Oracle's
/// 192.0.0.192, Azure's 168.63.129.16.
const BLOCKED: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
];

/// On Google Cloud and Amazon the metadata server is also the resolver: only its port 53 is open to
/// instances.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// The set that counts each instance's connections.
pub(super) const COUNTS: &str = "connections";

/// The input of the rules.
#[derive(Debug, Clone)]
pub(super) struct FirewallRules<'a> {
    /// The table's name.
    pub(super) table: &'a str,
    /// The prefix of the names of instance bridges.
    pub(super) bridges: &'a str,
    /// The range of all instance networks.
    pub(super) pool: Ipv4Net,
    /// The published ports.
    pub(super) ports: RangeInclusive<u16>,
    /// The resolvers that the host uses.
    pub(super) resolvers: Vec<Ipv4Addr>,
    /// Destinations that the operator allows.
    pub(super) allow: &'a [Destination],
    /// The users of this host who may connect to instances.
    pub(super) callers: Vec<u32>,
    /// The limit of tracked connections per instance; 0 for no limit.
    pub(super) connections: u32,
}

impl FirewallRules<'_> {
    /// The transaction that loads the rules, replacing what was there before.
    pub(super) fn render(&self) -> String {
        let Self { table, bridges, pool, .. } = self;
        let (first, last) = (self.ports.start(), self.ports.end());
        let open = self.open();
        let blocked = BLOCKED.join(", ");
        let callers = self.callers();
        let (counted, bound) = self.bound();
        // The first line creates the table if it does not exist, so that it can be deleted; all is
        // one transaction.
        format!(
            r#"table inet {table} {{ }}
delete table inet {table}
table inet {table} {{
	set blocked {{
		type ipv4_addr
		flags interval
		elements = {{ {blocked} }}
	}}
{counted}
	# With the userland proxy off, Docker makes the kernel route 127.0.0.0/8: hosts on the
	# network must not reach a published port that way.
	chain martians {{
		type filter hook prerouting priority -300; policy accept;
		iifname != "lo" ip daddr 127.0.0.0/8 tcp dport {first}-{last} drop
	}}

	# Forwarded traffic.
	chain forward {{
		type filter hook forward priority -10; policy accept;
		iifname "{bridges}*" goto leaving
		oifname "{bridges}*" goto entering
	}}

	# Traffic from instances to this host.
	chain input {{
		type filter hook input priority -10; policy accept;
		iifname "{bridges}*" goto to_host
	}}

	# A gateway trusts the user identity that its clients send, so only our proxy and root may
	# connect. Here a published port is already translated to the instance's address; if it is
	# not, Docker's userland proxy listens on it, which runs as root and would relay any local
	# user. And when an instance's bridge is gone, traffic to it must not be routed elsewhere.
	chain output {{
		type filter hook output priority -10; policy accept;
		ct state new ip daddr {pool} meta skuid != {{ {callers} }} reject
		ct state new,untracked ip daddr 127.0.0.1 tcp dport {first}-{last} meta skuid != {{ {callers} }} reject
		ip daddr {pool} oifname != "lo" oifname != "{bridges}*" reject
	}}

	# While any chain of this type is there, the kernel translates the connections that it has
	# translated before: those that are open outlive the loss of Docker's rules.
	chain open_connections {{
		type nat hook postrouting priority 100; policy accept;
	}}

	chain leaving {{
		meta nfproto != ipv4 drop
		ip saddr != {pool} drop
		oifname "{bridges}*" drop
		ct state established,related accept
		ct state invalid drop
{bound}{open}		ip daddr @blocked drop
	}}

	chain entering {{
		ct state established,related accept
		drop
	}}

	chain to_host {{
		meta nfproto != ipv4 drop
		ip saddr != {pool} drop
		ct state established,related accept
{bound}{open}		drop
	}}
}}
"#
        )
    }

    /// The set that counts each instance's tracked connections, and the rule that drops those above
    /// the limit. An instance is identified by its bridge, so that a forged source address does not
    /// matter.
    fn bound(&self) -> (String, String) {
        if self.connections == 0 {
            return (String::new(), String::new());
        }
        let limit = self.connections;
        let set = format!(
            "\n\tset {COUNTS} {{\n\t\ttype iface_index\n\t\tsize 65535\n\t\tflags dynamic\n\t}}\n"
        );
        let rule = format!("\t\tct state new add @{COUNTS} {{ iif ct count over {limit} }} drop\n");
        (set, rule)
    }

    /// The user ids that may connect, including root's.
    fn callers(&self) -> String {
        let mut ids = self.callers.clone();
        ids.push(0);
        ids.sort_unstable();
        ids.dedup();
        ids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
    }

    /// The accept rules, the same for forwarded traffic and for traffic to this host.
    fn open(&self) -> String {
        let mut text = String::new();
        for Destination { range, port } in self.allow {
            let _ = match port {
                Some(port) => writeln!(text, "\t\tip daddr {range} tcp dport {port} accept"),
                None => writeln!(text, "\t\tip daddr {range} accept"),
            };
        }
        let mut resolvers = self.resolvers.clone();
        resolvers.push(METADATA);
        resolvers.sort_unstable();
        resolvers.dedup();
        for resolver in resolvers {
            let _ = writeln!(text, "\t\tip daddr {resolver} udp dport 53 accept");
            let _ = writeln!(text, "\t\tip daddr {resolver} tcp dport 53 accept");
        }
        text
    }
}

/// The ids of the users `names` in the text of a `passwd` file; unknown users are left out.
pub(super) fn user_ids(passwd: &str, names: &[String]) -> Vec<u32> {
    passwd
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let id = fields.nth(1)?.parse().ok()?;
            names.iter().any(|n| n == name).then_some(id)
        })
        .collect()
}

/// The IPv4 resolvers in the text of a `resolv.conf`, without those on the loopback, which
/// containers cannot reach.
pub(super) fn resolvers(resolv_conf: &str) -> Vec<Ipv4Addr> {
    resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next()?.parse::<Ipv4Addr>().ok())
        .filter(|address| !address.is_loopback())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow: &[Destination]) -> String {
        FirewallRules {
            table: "startclaw",
            bridges: "sc123456-",
            pool: "10.87.0.0/16".parse().unwrap(),
            ports: 18001..=26192,
            resolvers: vec![Ipv4Addr::new(10, 0, 0, 2)],
            allow,
            callers: vec![998],
            connections: 4096,
        }
        .render()
    }

    fn position(text: &str, chain: &str, rule: &str) -> usize {
        let start = text.find(&format!("chain {chain} {{")).unwrap();
        let end = start + text[start..].find("\n\t}").unwrap();
        start + text[start..end].find(rule).unwrap_or_else(|| panic!("{rule} in {chain}"))
    }

    #[test]
    fn another_instance_stays_closed_whatever_the_operator_allows() {
        let text = rules(&["10.0.0.0/8".parse().unwrap()]);
        let closed = position(&text, "leaving", "oifname \"sc123456-*\" drop");
        assert!(closed < position(&text, "leaving", "ip daddr 10.0.0.0/8 accept"));
    }

    #[test]
    fn what_is_allowed_comes_before_what_is_blocked() {
        let text = rules(&["10.1.2.3:8000".parse().unwrap()]);
        let allowed = position(&text, "leaving", "ip daddr 10.1.2.3/32 tcp dport 8000 accept");
        let resolver = position(&text, "leaving", "ip daddr 10.0.0.2 udp dport 53 accept");
        let blocked = position(&text, "leaving", "ip daddr @blocked drop");
        assert!(allowed < blocked && resolver < blocked);
        position(&text, "to_host", "ip daddr 10.1.2.3/32 tcp dport 8000 accept");
        position(&text, "to_host", "ip daddr 169.254.169.254 udp dport 53 accept");
    }

    #[test]
    fn it_is_one_transaction_that_replaces_the_table() {
        assert!(rules(&[]).starts_with("table inet startclaw { }\ndelete table inet startclaw\n"));
    }

    #[test]
    fn only_the_proxy_and_root_may_connect_to_instances() {
        position(&rules(&[]), "output", "ip daddr 10.87.0.0/16 meta skuid != { 0, 998 } reject");
        let loopback = "ip daddr 127.0.0.1 tcp dport 18001-26192 meta skuid != { 0, 998 } reject";
        position(&rules(&[]), "output", loopback);
        let passwd = "root:x:0:0::/root:/bin/sh\ncaddy:x:998:998::/:/bin/false\nbad\n";
        assert_eq!(user_ids(passwd, &["caddy".into(), "nobody".into()]), [998]);
    }

    #[test]
    fn new_connections_are_counted_before_anything_is_open() {
        let text = rules(&["10.1.2.3:8000".parse().unwrap()]);
        let rule = "ct state new add @connections { iif ct count over 4096 } drop";
        for chain in ["leaving", "to_host"] {
            assert!(position(&text, chain, rule) < position(&text, chain, "ip daddr 10.1.2.3/32"));
        }
    }

    #[test]
    fn resolvers_on_the_loopback_are_left_out() {
        let text = "# x\nnameserver 127.0.0.53\nnameserver 10.0.0.2 # y\nnameserver fd00::1\n";
        assert_eq!(resolvers(text), [Ipv4Addr::new(10, 0, 0, 2)]);
    }
}
