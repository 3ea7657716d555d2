//! The client's address, as seen by Caddy.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::HeaderMap;

/// The address sent to OpenClaw for clients on this host: it rejects proxied requests from loopback
/// addresses, which a browser on this host has. From TEST-NET-1, which no client has.
pub(crate) const SAME_MACHINE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The client's address. Caddy appends it to `X-Forwarded-For`; earlier entries come from the
/// client and are not trusted.
pub fn client_address(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    let ip: IpAddr = last.rsplit(',').next()?.trim().parse().ok()?;
    Some(ip.to_canonical())
}

/// The client's address as sent to OpenClaw: never a loopback one.
pub(crate) fn outside_address(headers: &HeaderMap) -> IpAddr {
    client_address(headers)
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
        .unwrap_or(SAME_MACHINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_on_this_machine_gets_an_address_that_is_nobodys() {
        for (sent, seen) in [
            ("203.0.113.7", "203.0.113.7"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("127.0.0.1", "192.0.2.1"),
            ("127.8.8.8", "192.0.2.1"),
            ("::1", "192.0.2.1"),
            ("::ffff:127.0.0.1", "192.0.2.1"),
            ("0.0.0.0", "192.0.2.1"),
            ("203.0.113.7, 127.0.0.1", "192.0.2.1"),
            ("junk", "192.0.2.1"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", sent.parse().unwrap());
            assert_eq!(outside_address(&headers).to_string(), seen, "{sent}");
        }
        assert_eq!(outside_address(&HeaderMap::new()), SAME_MACHINE);
    }
}
