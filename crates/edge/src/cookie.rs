//! The session cookie: read, taken out, set.
//!
//! It is `__Host-`: bound to one subdomain, so that no neighbour and no portal ever sees it.
//! The instance must not see it either, because what runs there is the tenant's business.

use axum::http::{HeaderMap, HeaderValue, header};
use startclaw_engine::SESSION_LIFETIME;

/// The name of the session cookie.
pub const SESSION_COOKIE: &str = "__Host-startclaw";

/// What a value of ours looks like: 256 random bits in URL-safe base64. Anything else is
/// refused here and costs the database nothing.
pub(crate) fn is_token(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// The parts of all `Cookie` headers, as they were sent.
fn crumbs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|crumb| !crumb.is_empty())
}

/// The value of the cookie `name`. None when there are two that differ: a browser cannot have
/// two, so somebody is trying something.
pub fn cookie_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values =
        crumbs(headers).filter_map(|crumb| crumb.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    let first = values.next()?;
    if values.any(|other| other != first) {
        return None;
    }
    std::str::from_utf8(first).ok()
}

/// The session cookie's value.
pub(crate) fn session(headers: &HeaderMap) -> Option<&str> {
    cookie_value(headers, SESSION_COOKIE).filter(|value| is_token(value))
}

/// All cookies except ours, as one header; none when none is left. Whatever mentions our
/// name in any spelling goes, so that quotes, commas or capitals cannot carry it through.
pub(crate) fn without_session(headers: &HeaderMap) -> Option<HeaderValue> {
    let marker = SESSION_COOKIE.to_ascii_lowercase();
    let kept: Vec<&[u8]> = crumbs(headers)
        .filter(|crumb| {
            !crumb.windows(marker.len()).any(|w| w.eq_ignore_ascii_case(marker.as_bytes()))
        })
        .collect();
    if kept.is_empty() { None } else { HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok() }
}

/// The header that begins a session.
pub(crate) fn set(value: &str) -> Option<HeaderValue> {
    let life = SESSION_LIFETIME.as_secs();
    let text =
        format!("{SESSION_COOKIE}={value}; Path=/; Max-Age={life}; Secure; HttpOnly; SameSite=Lax");
    let mut header = HeaderValue::from_str(&text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The header that ends it.
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
