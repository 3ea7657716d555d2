//! Maps host names to sites.

use startclaw_model::Name;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Site {
    /// The domain itself.
    Front,
    /// The management API.
    Api,
    /// The instance of this name, if there is one.
    Instance(Name),
    /// Not a host of ours.
    Foreign,
}

impl Site {
    /// Parses a `Host` header. Upper case and a port are allowed; a trailing dot is not, because
    /// browsers treat `demo.example.com.` as an origin of its own.
    pub(crate) fn of_header(host: &str, domain: &str) -> Self {
        let host = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        Self::of_name(&host.to_ascii_lowercase(), domain)
    }

    /// Parses a name as in a certificate: lowercase, without a port.
    pub(crate) fn of_name(host: &str, domain: &str) -> Self {
        if host == domain {
            return Self::Front;
        }
        let label = host.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.'));
        match label {
            Some("api") => Self::Api,
            Some(label) => Name::parse(label).map_or(Self::Foreign, Self::Instance),
            None => Self::Foreign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lead_where_they_should() {
        let demo = Site::Instance(Name::parse("demo").unwrap());
        for (host, site) in [
            ("claws.example", Site::Front),
            ("claws.example:8443", Site::Front),
            ("api.claws.example", Site::Api),
            ("API.Claws.Example:443", Site::Api),
            ("demo.claws.example", demo.clone()),
            ("DEMO.claws.example:8443", demo),
            ("demo.claws.example.", Site::Foreign),
            ("a.demo.claws.example", Site::Foreign),
            (".claws.example", Site::Foreign),
            ("democlaws.example", Site::Foreign),
            ("www.claws.example", Site::Foreign),
            ("127.0.0.1:9900", Site::Foreign),
            ("[::1]:9900", Site::Foreign),
            ("", Site::Foreign),
        ] {
            assert_eq!(Site::of_header(host, "claws.example"), site, "{host:?}");
        }
    }
}
