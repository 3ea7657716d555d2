//! The request as Caddy describes it, without its body.

use axum::http::{HeaderMap, Method, header};

use crate::uri::Path;

#[derive(Debug)]
pub(crate) struct AuthorizeRequest {
    pub method: Method,
    /// The meaning of its path.
    pub path: Path,
    /// It requests a WebSocket.
    pub upgrade: bool,
    /// The `Origin` header.
    pub origin: Option<String>,
    /// The browser's Fetch Metadata.
    pub fetch: Fetch,
    /// It is a navigation: the response should be a page.
    pub page: bool,
}

/// Where a browser says the request comes from, and what for (Fetch Metadata); scripts cannot forge
/// it.
#[derive(Debug, Default)]
pub(crate) struct Fetch {
    /// `Sec-Fetch-Site`.
    pub site: Option<String>,
    /// `Sec-Fetch-Mode`.
    pub mode: Option<String>,
    /// `Sec-Fetch-Dest`.
    pub dest: Option<String>,
}

impl Fetch {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let read = |name| text(headers, name).map(str::to_owned);
        Self {
            site: read("sec-fetch-site"),
            mode: read("sec-fetch-mode"),
            dest: read("sec-fetch-dest"),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

impl AuthorizeRequest {
    /// Parses what Caddy's `forward_auth` sends; `None` if it does not come from there.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let method: Method = text(headers, "x-forwarded-method")?.parse().ok()?;
        let uri = text(headers, "x-forwarded-uri")?;
        let fetch = Fetch::of(headers);
        let upgrade = headers.contains_key(header::UPGRADE);
        let reading = method == Method::GET || method == Method::HEAD;
        let page = reading
            && !upgrade
            && text(headers, "accept").is_some_and(|a| a.contains("text/html"))
            && fetch.mode.as_deref().is_none_or(|mode| mode == "navigate");
        Some(Self {
            path: Path::of(uri),
            upgrade,
            origin: headers
                .get(header::ORIGIN)
                .map(|o| String::from_utf8_lossy(o.as_bytes()).into_owned()),
            fetch,
            page,
            method,
        })
    }

    /// Whether it is read-only by HTTP semantics.
    pub(crate) fn only_reads(&self) -> bool {
        !self.upgrade && (self.method == Method::GET || self.method == Method::HEAD)
    }
}
