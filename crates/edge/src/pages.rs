//! Pages shown when an instance does not answer the request itself.
//!
//! Each page is one self-contained document, because it may be shown while other parts of the
//! platform are down. Its policy allows its own style and script by digest, and nothing else.

use std::sync::LazyLock;

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use sha2::{Digest, Sha256};
use startclaw_model::Name;

const STYLE: &str = include_str!("../templates/style.css");
const ENTER_SCRIPT: &str = include_str!("../templates/enter.js");

/// A page with a message.
#[derive(Debug, Clone, Template, Default)]
#[template(path = "message.html")]
pub(crate) struct Message {
    pub title: String,
    pub lines: Vec<String>,
    /// A link: address and label.
    pub link: Option<(String, String)>,
    /// Text shown verbatim.
    pub quoted: Option<String>,
    /// Reload the page after this many seconds.
    pub refresh: Option<u32>,
    /// Show a progress indicator.
    pub waiting: bool,
}

impl Message {
    pub(crate) fn new(title: impl Into<String>, lines: &[&str]) -> Self {
        Self {
            title: title.into(),
            lines: lines.iter().map(|l| (*l).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// The page as a response.
    pub(crate) fn with_status(&self, status: StatusCode) -> Response {
        page(self, status, &policy(None, "'none'"), "no-referrer")
    }
}

/// The page that Caddy shows if neither the instance nor the daemon is reachable, and its content
/// security policy.
pub(crate) fn unreachable() -> Result<(String, String), askama::Error> {
    let page = Message {
        refresh: Some(3),
        waiting: true,
        ..Message::new("Service unavailable", &["This part of the platform is restarting."])
    };
    Ok((page.render()?, policy(None, "'none'")))
}

/// The page of a sign-in link.
#[derive(Debug, Template)]
#[template(path = "enter.html")]
struct SignInPage<'a> {
    name: &'a Name,
    ticket: &'a str,
}

/// Shows a button that uses the login token. Opening the link must not use it, because messengers
/// and mail filters prefetch links.
pub(crate) fn sign_in(name: &Name, ticket: &str) -> Response {
    let page_ = SignInPage { name, ticket };
    // The form's request must carry its origin, which "no-referrer" would remove. The address,
    // which contains the login token, is never sent as a referrer.
    page(&page_, StatusCode::OK, &policy(Some(&SCRIPT_DIGEST), "'self'"), "strict-origin")
}

/// The page that asks for confirmation before sign-out.
#[derive(Debug, Template)]
#[template(path = "leave.html")]
struct SignOutPage<'a> {
    name: &'a Name,
}

/// Shows a button that ends the session.
pub(crate) fn sign_out(name: &Name) -> Response {
    let page_ = SignOutPage { name };
    page(&page_, StatusCode::OK, &policy(None, "'self'"), "strict-origin")
}

static STYLE_DIGEST: LazyLock<String> = LazyLock::new(|| digest(STYLE));
static SCRIPT_DIGEST: LazyLock<String> = LazyLock::new(|| digest(ENTER_SCRIPT));

/// The source expression of an inline element in a content security policy.
fn digest(content: &str) -> String {
    format!("'sha256-{}'", BASE64.encode(Sha256::digest(content.as_bytes())))
}

fn policy(script: Option<&str>, form_action: &str) -> String {
    let script = script.map(|s| format!(" script-src {s};")).unwrap_or_default();
    format!(
        "default-src 'none'; style-src {};{script} form-action {form_action}; base-uri 'none'; frame-ancestors 'none'",
        *STYLE_DIGEST
    )
}

/// Headers of every page of ours. Caddy adds HSTS.
pub const PAGE_HEADERS: [(&str, &str); 7] = [
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("x-robots-tag", "noindex"),
];

fn page(
    template: &impl Template,
    status: StatusCode,
    csp: &str,
    referrer: &'static str,
) -> Response {
    let body = match template.render() {
        Ok(body) => body,
        Err(e) => {
            tracing::error!(error = %e, "cannot render a page");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let mut response = (status, PAGE_HEADERS, Html(body)).into_response();
    let headers = response.headers_mut();
    if let Ok(csp) = HeaderValue::from_str(csp) {
        headers.insert(header::CONTENT_SECURITY_POLICY, csp);
    }
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static(referrer));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inline_is_what_the_policy_allows() {
        let name = Name::parse("demo").unwrap();
        let page = SignInPage { name: &name, ticket: "t" };
        let html = page.render().unwrap();
        let between = |a: &str, b: &str| html.split_once(a).unwrap().1.split_once(b).unwrap().0;
        assert_eq!(digest(between("<style>", "</style>")), *STYLE_DIGEST);
        assert_eq!(digest(between("<script>", "</script>")), *SCRIPT_DIGEST);
    }

    #[test]
    fn a_page_shows_text_as_text() {
        let mut page = Message::new("<b>", &["<script>alert(1)</script>"]);
        page.quoted = Some("</pre><img src=x>".into());
        let html = page.render().unwrap();
        assert!(!html.contains("<b>") && !html.contains("<script>") && !html.contains("<img"));
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere() {
        let (html, csp) = unreachable().unwrap();
        for outside in ["http://", "https://", "src=", "url(", "@import"] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert!(html.contains("http-equiv=\"refresh\""));
        assert!(csp.starts_with("default-src 'none';") && !csp.contains("unsafe"));
    }
}
