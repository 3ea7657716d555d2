//! What the operator can set about the edge.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use startclaw_model::Name;

use crate::EdgeError;

/// How the platform is reached from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EdgeSettings {
    /// The domain whose subdomains the instances are. Its DNS, and that of `*.DOMAIN`, points
    /// to this host. `localhost` needs no DNS.
    pub domain: String,
    /// The port for HTTP, which only sends browsers to HTTPS and answers ACME challenges.
    /// A public certificate authority reaches it as port 80.
    pub http_port: u16,
    /// The port for HTTPS. A public certificate authority reaches it as port 443.
    pub https_port: u16,
    /// The addresses that Caddy listens on; all of the host's when empty.
    pub bind: Vec<IpAddr>,
    /// Where the daemon listens for Caddy; an address on the loopback interface.
    pub listen: SocketAddr,
    /// The user that Caddy runs as, a name or a number. Connections to `listen` of other users,
    /// except root, are refused.
    pub caddy_user: String,
    /// Where Caddy asks itself which certificates it may get; an address on the loopback
    /// interface. It passes the question on to `listen` and waits while the daemon restarts.
    pub ask_listen: SocketAddr,
    /// Where certificates come from.
    pub tls: Tls,
    /// The certificate authority, when `tls` is `acme`.
    pub acme: AcmeSettings,
    /// Where Caddy keeps certificates and their keys.
    pub storage: PathBuf,
    /// Where Caddy writes its access log: no headers, no query
    /// strings, no links that work once, at most 100 MiB. None
    /// is written when empty.
    pub access_log: PathBuf,
    /// For how many days browsers insist on HTTPS after a visit (HSTS); 0 turns it off. It is
    /// never sent with `tls = "internal"`.
    pub hsts_days: u32,
}

/// Where certificates come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Caddy's own authority, for use on one machine; browsers do not know it.
    Internal,
    /// A public (or your own) certificate authority, over ACME.
    Acme,
}

/// The ACME certificate authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AcmeSettings {
    /// The address of its directory.
    pub directory: String,
    /// The e-mail address it can reach you at; optional with Let's Encrypt.
    pub email: String,
    /// A PEM file with the root that the directory's own certificate is checked against; the
    /// system's roots when empty. For private authorities.
    pub trusted_root: PathBuf,
}

impl Default for EdgeSettings {
    fn default() -> Self {
        Self {
            domain: "localhost".into(),
            http_port: 80,
            https_port: 443,
            bind: Vec::new(),
            listen: (Ipv4Addr::LOCALHOST, 9900).into(),
            caddy_user: "startclaw-caddy".into(),
            ask_listen: (Ipv4Addr::LOCALHOST, 9901).into(),
            tls: Tls::Internal,
            acme: AcmeSettings::default(),
            storage: "/var/lib/startclaw/caddy".into(),
            access_log: "/var/log/startclaw/access.log".into(),
            hsts_days: 365,
        }
    }
}

impl Default for AcmeSettings {
    fn default() -> Self {
        Self {
            directory: "https://acme-v02.api.letsencrypt.org/directory".into(),
            email: String::new(),
            trusted_root: PathBuf::new(),
        }
    }
}

impl EdgeSettings {
    /// Checks what the types cannot. Everything that passes can stand in a Caddyfile.
    pub fn check(&self) -> Result<(), EdgeError> {
        let err = |field, problem| Err(EdgeError::Setting { field, problem });
        if !is_domain(&self.domain) {
            return err("domain", "is no domain name in small letters, such as claws.example.com");
        }
        if !self.listen.ip().is_loopback() || self.listen.port() == 0 {
            return err(
                "listen",
                "is no address on the loopback interface, such as 127.0.0.1:9900",
            );
        }
        if !self.ask_listen.ip().is_loopback() || self.ask_listen.port() == 0 {
            return err("ask_listen", "is no address on the loopback interface");
        }
        if self.ask_listen == self.listen {
            return err("ask_listen", "is the same as edge.listen; each needs its own port");
        }
        if self.http_port == 0 || self.https_port == 0 || self.http_port == self.https_port {
            return err("https_port", "and edge.http_port are two different ports above 0");
        }
        if self.storage.as_os_str().is_empty() || !is_plain(&self.storage.to_string_lossy()) {
            return err("storage", "is no plain path");
        }
        if !is_plain(&self.access_log.to_string_lossy()) {
            return err("access_log", "is no plain path");
        }
        if self.hsts_days > 3650 {
            return err("hsts_days", "is more than ten years");
        }
        if self.tls == Tls::Acme {
            let directory = &self.acme.directory;
            if !directory.starts_with("https://") || !is_plain(directory) {
                return err("acme.directory", "is no https:// address");
            }
            if !is_plain(&self.acme.email) {
                return err("acme.email", "is no e-mail address");
            }
            if !is_plain(&self.acme.trusted_root.to_string_lossy()) {
                return err("acme.trusted_root", "is no plain path");
            }
        }
        Ok(())
    }

    /// What comes between the domain and the path in an address: empty, or `:8443`.
    pub fn port_suffix(&self) -> String {
        match self.https_port {
            443 => String::new(),
            port => format!(":{port}"),
        }
    }

    /// The name that the management API is reached by.
    pub fn api_host(&self) -> String {
        format!("api.{}", self.domain)
    }

    /// The host name of an instance.
    pub fn instance_host(&self, name: &Name) -> String {
        format!("{name}.{}", self.domain)
    }

    /// The origin of an instance as browsers write it, without a slash at the end.
    pub fn instance_origin(&self, name: &Name) -> String {
        format!("https://{}{}", self.instance_host(name), self.port_suffix())
    }

    /// The origin of the domain's own pages, without a slash at the end.
    pub fn site_origin(&self) -> String {
        format!("https://{}{}", self.domain, self.port_suffix())
    }

    /// The root of Caddy's own authority, once Caddy has made it.
    pub(crate) fn internal_root(&self) -> PathBuf {
        self.storage.join("pki/authorities/local/root.crt")
    }

    /// An address at which Caddy can be reached from this host, with this port.
    pub(crate) fn local(&self, port: u16) -> SocketAddr {
        let ip = self.bind.first().copied().filter(|ip| !ip.is_unspecified());
        SocketAddr::new(ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port)
    }

    /// The value of the HSTS header, when there is to be one.
    pub(crate) fn hsts(&self) -> Option<String> {
        (self.tls == Tls::Acme && self.hsts_days > 0)
            .then(|| format!("max-age={}", u64::from(self.hsts_days) * 24 * 3600))
    }
}

/// Dot-separated DNS labels in small letters, short enough that a name fits in front.
fn is_domain(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    text.len() < 253 - Name::MAX_LEN
        && text.split('.').all(label)
        && text.parse::<IpAddr>().is_err()
}

/// Free of everything that means something in a Caddyfile: quotes, braces, spaces that are
/// no spaces.
fn is_plain(text: &str) -> bool {
    !text.chars().any(|c| {
        c.is_control()
            || matches!(c, '"' | '`' | '{' | '}' | '\\' | '#' | char::REPLACEMENT_CHARACTER)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut EdgeSettings)) -> Result<(), EdgeError> {
        let mut settings = EdgeSettings::default();
        change(&mut settings);
        settings.check()
    }

    #[test]
    fn the_defaults_can_be_used() {
        with(|_| ()).unwrap();
        with(|s| s.tls = Tls::Acme).unwrap();
    }

    #[test]
    fn what_would_change_the_meaning_of_a_caddyfile_is_refused() {
        for domain in
            ["", "a b", "Claws.example", "x{y}", "a..b", "-a.b", "127.0.0.1", "a.b.", "é.b"]
        {
            assert!(with(|s| s.domain = domain.into()).is_err(), "{domain:?}");
        }
        for path in ["", "/a\nadmin :2019", "/a\"b", "/{env.HOME}", "/a#b"] {
            assert!(with(|s| s.storage = path.into()).is_err(), "{path:?}");
        }
        assert!(with(|s| s.listen = ([0, 0, 0, 0], 9900).into()).is_err());
        assert!(with(|s| s.ask_listen = s.listen).is_err());
        assert!(with(|s| s.http_port = s.https_port).is_err());
        assert!(
            with(|s| {
                s.tls = Tls::Acme;
                s.acme.directory = "http://ca.example".into();
            })
            .is_err()
        );
    }

    #[test]
    fn the_port_stands_in_an_origin_only_when_it_is_not_https_own() {
        let name = Name::parse("demo").unwrap();
        let mut settings = EdgeSettings::default();
        assert_eq!(settings.instance_origin(&name), "https://demo.localhost");
        settings.https_port = 8443;
        assert_eq!(settings.instance_origin(&name), "https://demo.localhost:8443");
    }
}
