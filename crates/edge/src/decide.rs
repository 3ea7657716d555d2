//! Who may enter which instance: a pure function, so that every case can stand in a table.

use std::net::SocketAddr;

use axum::http::Method;
use startclaw_engine::Route;
use startclaw_model::InstanceState;

use crate::{authorize_request::AuthorizeRequest, uri::Path};

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It continues to this address, as this person; or as nobody.
    Pass {
        /// Where the instance listens.
        upstream: SocketAddr,
        /// Who OpenClaw is told it is.
        user: Option<String>,
    },
    /// It goes no further.
    Refuse(Rejection),
}

/// Why a request goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// There is no instance of this name.
    NoInstance,
    /// Its address can be read in more than one way.
    Ambiguous,
    /// The path is not for the outside.
    Hidden,
    /// Nobody is signed in.
    SignIn,
    /// Another site's page sent it.
    CrossSite,
    /// The instance is on its way up.
    Starting,
    /// The instance does not come up; the reason is for its owner only.
    Failing(Option<String>),
    /// The instance is being removed.
    Removing,
    /// Too many ask for the same at this moment.
    Busy,
    /// Something of ours failed.
    Internal,
}

/// Decides about a request to the instance at `route`, whose own origin is `origin`, from
/// a signed-in user as `user`.
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
        // Telegram cannot sign in; OpenClaw checks the secret that Telegram sends along.
        Path::Webhook if route.telegram && request.method == Method::POST && !request.upgrade => {
            return Pass { upstream: route.endpoints.webhook, user: None };
        }
        // Anybody may ask whether it is alive; as nobody, so that it tells no details.
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

/// Whether a signed-in person's browser sent this for the instance's own pages.
///
/// All subdomains are one "site" to browsers, so a neighbour's page can send requests that
/// carry the session cookie in spite of `SameSite`. What changes something, and a WebSocket,
/// therefore needs the instance's own origin; and what only reads must not be embedded by
/// another origin, as a frame or otherwise. Links from anywhere still work.
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
