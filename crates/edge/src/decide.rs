//! Access decisions, as a pure function, so that a table of cases can test it.

use std::net::SocketAddr;

use axum::http::Method;
use startclaw_engine::Route;
use startclaw_model::InstanceState;

use crate::{authorize_request::AuthorizeRequest, uri::Path};

/// The decision about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Forward it to this address, as this user or anonymously.
    Pass {
        /// The address that the instance listens on.
        upstream: SocketAddr,
        /// The user, as sent to OpenClaw.
        user: Option<String>,
    },
    /// Reject it.
    Refuse(Rejection),
}

/// Why a request is rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// There is no instance of this name.
    NoInstance,
    /// Its path is ambiguous.
    Ambiguous,
    /// The path is not public.
    Hidden,
    /// The client is not signed in.
    SignIn,
    /// Another site's page sent it.
    CrossSite,
    /// The instance is starting.
    Starting,
    /// The instance does not start; only its owner sees the reason.
    Failing(Option<String>),
    /// The instance is being removed.
    Removing,
    /// Too many concurrent requests.
    Busy,
    /// Internal error.
    Internal,
}

/// Decides about a request to the instance at `route`, whose own origin is `origin`, from the
/// signed-in user `user`, if any.
pub(crate) fn decide(
    request: &AuthorizeRequest,
    route: &Route,
    origin: &str,
    user: Option<&str>,
) -> Decision {
    use Decision::{Pass, Refuse};
    match request.path {
        Path::Ambiguous => return Refuse(Rejection::Ambiguous),
        Path::Hidden => return Refuse(Rejection::Hidden),
        Path::Webhook | Path::Probe | Path::Inside => {}
    }
    match route.state {
        InstanceState::Live => {}
        InstanceState::Unknown | InstanceState::Starting => return Refuse(Rejection::Starting),
        InstanceState::Failing => {
            return Refuse(Rejection::Failing(user.and_then(|_| route.reason.clone())));
        }
        InstanceState::Removing => return Refuse(Rejection::Removing),
    }
    match request.path {
        // Telegram cannot sign in; OpenClaw checks Telegram's secret header.
        Path::Webhook if route.telegram && request.method == Method::POST && !request.upgrade => {
            return Pass { upstream: route.endpoints.webhook, user: None };
        }
        // Anyone may probe for liveness; anonymously, so that the response has no details.
        Path::Probe if request.only_reads() => {
            return Pass { upstream: route.endpoints.gateway, user: None };
        }
        _ => {}
    }
    let Some(user) = user else { return Refuse(Rejection::SignIn) };
    if !comes_from_own_pages(request, origin) {
        return Refuse(Rejection::CrossSite);
    }
    Pass { upstream: route.endpoints.gateway, user: Some(user.to_owned()) }
}

/// Whether one of the instance's own pages sent this, in the browser of a signed-in user.
///
/// To browsers, all subdomains are the same site, so a page of another instance can send requests
/// that carry the session cookie in spite of `SameSite`. Therefore changes and WebSockets require
/// the instance's own origin, and reads must not be embedded by another origin, as a frame or
/// otherwise. Links from other sites still work.
fn comes_from_own_pages(request: &AuthorizeRequest, origin: &str) -> bool {
    if request.origin.as_deref().is_some_and(|o| o != origin) {
        return false;
    }
    let site = request.fetch.site.as_deref();
    if !request.only_reads() {
        return request.origin.is_some() && site.is_none_or(|s| s == "same-origin");
    }
    match site {
        None | Some("same-origin" | "none") => true,
        Some(_) => {
            request.fetch.mode.as_deref() == Some("navigate")
                && request.fetch.dest.as_deref() == Some("document")
        }
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
