//! The session cookie: parse, remove from a request, set.
//!
//! It is `__Host-`: bound to one subdomain, so neither other instances nor the portal get it. The
//! instance does not get it either, because it runs the tenant's code.

use axum::http::{HeaderMap, HeaderValue, header};
use startclaw_engine::SESSION_LIFETIME;

pub const SESSION_COOKIE: &str = "__Host-startclaw";

/// Whether a text has the format of our tokens: 256 random bits in URL-safe base64. Anything else
/// is rejected without a database query.
pub(crate) fn is_token(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// The parts of all `Cookie` headers, unparsed.
fn crumbs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|crumb| !crumb.is_empty())
}

/// The value of the cookie `name`. `None` if there are two that differ: a browser has only one, so
/// the request is forged.
pub fn cookie_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values =
        crumbs(headers).filter_map(|crumb| crumb.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    let first = values.next()?;
    if values.any(|other| other != first) {
        return None;
    }
    std::str::from_utf8(first).ok()
}

pub(crate) fn session(headers: &HeaderMap) -> Option<&str> {
    cookie_value(headers, SESSION_COOKIE).filter(|value| is_token(value))
}

/// All cookies except ours, as one header; `None` if none is left. Every part that contains our
/// name in any case is removed, so that quotes, commas or capitals cannot smuggle it through.
pub(crate) fn without_session(headers: &HeaderMap) -> Option<HeaderValue> {
    let marker = SESSION_COOKIE.to_ascii_lowercase();
    let kept: Vec<&[u8]> = crumbs(headers)
        .filter(|crumb| {
            !crumb.windows(marker.len()).any(|w| w.eq_ignore_ascii_case(marker.as_bytes()))
        })
        .collect();
    if kept.is_empty() { None } else { HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok() }
}

/// The header that sets the cookie.
pub(crate) fn set(value: &str) -> Option<HeaderValue> {
    let life = SESSION_LIFETIME.as_secs();
    let text =
        format!("{SESSION_COOKIE}={value}; Path=/; Max-Age={life}; Secure; HttpOnly; SameSite=Lax");
    let mut header = HeaderValue::from_str(&text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The header that clears it.
pub(crate) const CLEAR: &str =
    "__Host-startclaw=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax";

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const B: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for line in lines {
            let text = line.replace("{A}", A).replace("{B}", B);
            map.append(header::COOKIE, HeaderValue::from_bytes(text.as_bytes()).unwrap());
        }
        map
    }

    #[test]
    fn the_session_is_found_among_other_cookies() {
        for lines in [
            &["__Host-startclaw={A}"][..],
            &["a=b; __Host-startclaw={A}; c=d"],
            &["a=b;__Host-startclaw={A}"],
            &["a=b", "__Host-startclaw={A}"],
            &["__Host-startclaw={A}; __Host-startclaw={A}"],
        ] {
            assert_eq!(session(&headers(lines)), Some(A), "{lines:?}");
        }
    }

    #[test]
    fn what_no_browser_sends_is_no_session() {
        for lines in [
            &[][..],
            &["startclaw={A}"],
            &["__host-startclaw={A}"],
            &["__Host-startclaw=\"{A}\""],
            &["__Host-startclaw = {A}"],
            &["__Host-startclaw={A}; __Host-startclaw={B}"],
            &["__Host-startclaw={A}x"],
            &["__Host-startclaw="],
        ] {
            assert_eq!(session(&headers(lines)), None, "{lines:?}");
        }
    }

    #[test]
    fn no_spelling_carries_the_session_into_the_instance() {
        for (lines, left) in [
            (&["__Host-startclaw={A}"][..], None),
            (&["a=b; __Host-startclaw={A}; c=d"], Some("a=b; c=d")),
            (&["a=b;__Host-startclaw={A};c=d"], Some("a=b; c=d")),
            (&["a=b", "__Host-startclaw={A}", "c=d"], Some("a=b; c=d")),
            (&["  __Host-startclaw  =  {A}  ;a=b"], Some("a=b")),
            (&["\t__Host-startclaw={A}"], None),
            (&["__HOST-STARTCLAW={A}; a=b"], Some("a=b")),
            (&["\"__Host-startclaw\"=\"{A}\"; a=b"], Some("a=b")),
            (&["a=\"x; __Host-startclaw={A}; y\""], Some("a=\"x; y\"")),
            (&["$Version=1, __Host-startclaw={A}; a=b"], Some("a=b")),
            (&["=__Host-startclaw={A}; a=b"], Some("a=b")),
            (&["a=b; b=\"c\"; d=é"], Some("a=b; b=\"c\"; d=é")),
            (&[";; ;"], None),
        ] {
            let found = without_session(&headers(lines));
            let found = found.as_ref().map(|v| std::str::from_utf8(v.as_bytes()).unwrap());
            assert_eq!(found, left, "{lines:?}");
        }
    }
}
