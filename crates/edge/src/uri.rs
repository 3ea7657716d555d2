//! Classifies the path of a request, however it is encoded.
//!
//! The edge and the instance must parse a path alike, else a path that the edge considers blocked
//! reaches the instance. So paths that parsers interpret differently are rejected, and forbidden
//! paths are searched for in every possible interpretation.

use startclaw_openclaw::{ADMIN_RPC_PATH, HEALTH_PATH, STARTUP_PATH, WEBHOOK_PATH};

/// The class of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// Telegram's webhook.
    Webhook,
    /// OpenClaw's liveness probe: it answers "live" or "started" and nothing else.
    Probe,
    /// Everything else in the instance.
    Inside,
    /// Never reachable from outside.
    Hidden,
    /// Parsers would disagree on it.
    Ambiguous,
}

/// No legitimate client encodes a path more often than this.
const MAX_DECODINGS: usize = 4;

impl Path {
    /// Classifies the path and query of a request, as Caddy will forward it.
    pub(crate) fn of(uri: &str) -> Self {
        let (path, query) = match uri.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (uri, None),
        };
        match (path, query) {
            (WEBHOOK_PATH, None) => return Self::Webhook,
            (HEALTH_PATH | STARTUP_PATH, None) => return Self::Probe,
            _ => {}
        }
        if !path.starts_with('/') || path.starts_with("//") || path.contains('#') {
            return Self::Ambiguous;
        }
        let mut reading = path.as_bytes().to_vec();
        for _ in 0..=MAX_DECODINGS {
            if leads_to_admin(&reading) {
                return Self::Hidden;
            }
            if !is_clear(&reading) {
                return Self::Ambiguous;
            }
            match decode(&reading) {
                Some(decoded) if decoded == reading => return Self::Inside,
                Some(decoded) => reading = decoded,
                // A path that cannot be decoded is malformed; after the first decoding, a percent
                // sign is an ordinary character of a name.
                None if reading == path.as_bytes() => return Self::Ambiguous,
                None => return Self::Inside,
            }
        }
        Self::Ambiguous
    }
}

/// Decodes each `%xx` once; `None` if a percent sign is not followed by two hex digits.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(*bytes.next()?).to_digit(16);
            out.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

/// Whether it is free of what parsers treat differently: control characters, backslashes (a slash
/// to some), invalid UTF-8, and dot segments (which every browser resolves).
fn is_clear(reading: &[u8]) -> bool {
    std::str::from_utf8(reading).is_ok()
        && !reading.iter().any(|b| b.is_ascii_control() || *b == b'\\')
        && !segments(reading).any(|s| s == b"." || s == b"..")
}

fn segments(reading: &[u8]) -> impl Iterator<Item = &[u8]> {
    reading.split(|b| matches!(b, b'/' | b'\\'))
}

/// Whether any parser could take this for the admin RPC: parameters and suffixes cut off, empty and
/// dot segments removed, case ignored.
fn leads_to_admin(reading: &[u8]) -> bool {
    let mut stack: Vec<String> = Vec::new();
    for segment in segments(reading) {
        let end =
            segment.iter().position(|b| matches!(b, b';' | b'?' | b'#')).unwrap_or(segment.len());
        let name = String::from_utf8_lossy(&segment[..end]).to_lowercase();
        match name.trim_matches(|c: char| c.is_whitespace() || c.is_control()) {
            "" | "." => {}
            ".." => drop(stack.pop()),
            name => stack.push(name.trim_end_matches('.').to_owned()),
        }
    }
    // Anywhere in the path, because the instance may serve under a base path.
    let admin: Vec<&str> = ADMIN_RPC_PATH.split('/').filter(|s| !s.is_empty()).collect();
    stack.windows(admin.len()).any(|w| w == admin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_rpc_is_hidden_in_every_spelling() {
        for uri in [
            "/api/v1/admin/rpc",
            "/api/v1/admin/rpc/",
            "/api/v1/admin/rpc?x=1",
            "/api/v1/admin/rpc/x",
            "/API/V1/Admin/RPC",
            "/api/v1/admin/%72pc",
            "/%61%70%69/v1/admin/rpc",
            "/api%2Fv1%2fadmin%2Frpc",
            "/api/v1/admin%2frpc",
            "/api/v1/admin/%2572pc",
            "/api%252Fv1/admin/rpc",
            "/api/v1/admin/%252572pc",
            "/api//v1///admin/rpc",
            "/api/v1/./admin/rpc",
            "/api/v1/x/../admin/rpc",
            "/api/v1/x/%2e%2e/admin/rpc",
            "/api/v1/x/%252e%252e/admin/rpc",
            "/api/v1/admin/rpc;a=b",
            "/api;x/v1;y/admin;z/rpc",
            "/api/v1/admin/rpc%3Bx",
            "/api/v1/admin/rpc%3Fx",
            "/api/v1/admin/rpc%23",
            "/api/v1/admin/rpc%20",
            "/api/v1/admin/rpc.",
            "/api/v1/admin/rpc%00",
            "/api\\v1\\admin\\rpc",
            "/api%5Cv1%5cadmin%5Crpc",
            "/base/api/v1/admin/rpc",
            "/\u{212A}/../api/v1/admin/rpc",
        ] {
            assert_eq!(Path::of(uri), Path::Hidden, "{uri}");
        }
    }

    #[test]
    fn what_readers_read_differently_is_refused() {
        for uri in [
            "",
            "*",
            "x",
            "https://demo.localhost/",
            "//host/api/v1/admin/rpc",
            "//",
            "/a#b",
            "/a/../b",
            "/a/./b",
            "/a/%2e%2e/b",
            "/a/%2E./b",
            "/a/%252e%252e/b",
            "/..",
            "/a\\b",
            "/a%5cb",
            "/a%00b",
            "/a%0d%0ab",
            "/a%7f",
            "/a%ff",
            "/a%c0%af",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%25252525252525252561",
        ] {
            assert_eq!(Path::of(uri), Path::Ambiguous, "{uri}");
        }
    }

    #[test]
    fn ordinary_paths_go_inside() {
        for uri in [
            "/",
            "/?token=%2F..%2F",
            "/chat?session=agent%3Amain",
            "/assets/index-a1b2.js",
            "/api/v1/admin",
            "/api/v1/admin/rpcs",
            "/api/v1/administrator/rpc",
            "/files/a%20b/%C3%A9.txt",
            "/files/100%25",
            "/files/a%2Fb",
            "/a//b/",
            "/.well-known/x",
            "/a..b/...",
            "/telegram-webhook/",
            "/telegram-webhook?x",
            "/%74elegram-webhook",
            "/Telegram-Webhook",
            "/healthz?x",
            "/readyz",
        ] {
            assert_eq!(Path::of(uri), Path::Inside, "{uri}");
        }
        assert_eq!(Path::of("/telegram-webhook"), Path::Webhook);
        assert_eq!(Path::of("/healthz"), Path::Probe);
        assert_eq!(Path::of("/startupz"), Path::Probe);
    }
}
