//! Checks before every page: changes must come from the portal's own pages; a policy restricts what
//! pages load and run.

use std::time::Duration;

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    middleware::Next,
    response::Response,
};

use crate::{Portal, error::RejectionKind};

/// How long a page may take to render. Streams start within this time and continue after it.
const LIMIT: Duration = Duration::from_secs(30);

/// How long a request's body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);
/// The largest form: a key of 16 KiB, percent-encoded byte by byte.
const LARGEST: usize = 64 * 1024;

pub(crate) async fn guard(State(portal): State<Portal>, request: Request, next: Next) -> Response {
    let fixed = request.uri().path().starts_with("/assets/");
    let asked = match arrived(request).await {
        None => RejectionKind::Form.page(&portal, None),
        Some(request)
            if is_change(request.method()) && !from_own_page(&portal, request.headers()) =>
        {
            RejectionKind::CrossSite.page(&portal, None)
        }
        Some(request) => {
            let made = tokio::time::timeout(LIMIT, next.run(request)).await;
            made.unwrap_or_else(|_| RejectionKind::Busy.page(&portal, None))
        }
    };
    with_headers(&portal, asked, fixed)
}

/// The request with its whole body; `None` if it is too large or too slow. The body is read even if
/// no handler needs it: a response before its end closes the connection, on which Caddy may already
/// be sending the next request.
async fn arrived(request: Request) -> Option<Request> {
    let (parts, body) = request.into_parts();
    let whole = tokio::time::timeout(ARRIVAL, to_bytes(body, LARGEST)).await.ok()?.ok()?;
    Some(Request::from_parts(parts, Body::from(whole)))
}

fn is_change(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

/// Whether a page of the portal sent this. To a browser, subdomains are the same site, and tenants
/// control them: so the `Origin` header is required, and must match exactly.
fn from_own_page(portal: &Portal, headers: &HeaderMap) -> bool {
    let own = headers
        .get(header::ORIGIN)
        .is_some_and(|origin| origin.as_bytes() == portal.settings().site.as_bytes());
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    own && site.is_none_or(|site| site == b"same-origin")
}

fn with_headers(portal: &Portal, mut response: Response, fixed: bool) -> Response {
    let headers = response.headers_mut();
    for (name, value) in startclaw_edge::PAGE_HEADERS {
        if !(fixed && name == "cache-control") {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::CONTENT_SECURITY_POLICY, portal.policy());
    response
}

/// What a page may load and run, and where its forms may lead: only to the portal itself, if `site`
/// is not valid in a header.
pub(crate) fn policy(site: &str) -> HeaderValue {
    const OURS: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";
    // Chromium applies `form-action` to redirects too, and "Open" leads to an instance.
    let instances = site.replacen("https://", "https://*.", 1);
    HeaderValue::from_str(&format!("{OURS} {instances}")).unwrap_or(HeaderValue::from_static(OURS))
}
