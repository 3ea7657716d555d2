//! Cookies of the portal. All are `__Host-`: no subdomain can read or set them.

use axum::http::{HeaderMap, HeaderValue};
use startclaw_accounts::SESSION_LIFETIME;

pub(crate) const SESSION: &str = "__Host-startclaw";
/// Marks a device that signed in before; grants no access.
pub(crate) const DEVICE: &str = "__Host-startclaw-device";
/// The passkey ceremony in progress.
pub(crate) const CEREMONY: &str = "__Host-startclaw-passkey";

/// How long a device is remembered.
const DEVICE_LIFE: u64 = 365 * 24 * 3600;
/// How long a ceremony may take.
const CEREMONY_LIFE: u64 = 300;

/// The value of a cookie.
pub(crate) fn read<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    startclaw_edge::cookie_value(headers, name)
}

/// The header that sets a cookie.
pub(crate) fn set(name: &'static str, value: &str) -> Option<HeaderValue> {
    let (life, site) = match name {
        SESSION => (SESSION_LIFETIME.as_secs(), "Lax"),
        DEVICE => (DEVICE_LIFE, "Strict"),
        _ => (CEREMONY_LIFE, "Strict"),
    };
    let text = format!("{name}={value}; Path=/; Max-Age={life}; Secure; HttpOnly; SameSite={site}");
    let mut header = HeaderValue::from_str(&text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The header that clears a cookie.
pub(crate) fn clear(name: &'static str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("{name}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"))
        .ok()
}
