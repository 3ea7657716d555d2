//! Responses: pages and redirects.

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use startclaw_accounts::FreshSession;

use crate::{Portal, access::CurrentUser, cookie, error::RejectionKind, frame::Site};

/// What a handler returns.
pub(crate) type Answer = Result<Response, Rejection>;

/// A rendered rejection, for the user who made the request.
pub(crate) struct Rejection(pub Box<Response>);

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        *self.0
    }
}

pub(crate) fn page(template: &impl Template) -> Response {
    page_with(StatusCode::OK, template)
}

/// A page with a status other than 200.
pub(crate) fn page_with(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(e) => {
            tracing::error!(error = %e, "cannot render a page");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Redirects to another page after a change.
pub(crate) fn go(to: &str) -> Response {
    match HeaderValue::from_str(to) {
        Ok(to) => (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Sets the cookies of a new session and redirects.
pub(crate) fn signed_in(fresh: &FreshSession, to: &str) -> Response {
    with_session(go(to), fresh)
}

/// Adds the cookies of a session to a response.
pub(crate) fn with_session(mut response: Response, fresh: &FreshSession) -> Response {
    for header in [
        cookie::set(cookie::SESSION, fresh.value.expose()),
        cookie::set(cookie::DEVICE, fresh.device.expose()),
    ]
    .into_iter()
    .flatten()
    {
        response.headers_mut().append(header::SET_COOKIE, header);
    }
    response
}

/// Where to redirect after signing in: the requested path, if it is one of the portal, else
/// `/instances`.
pub(crate) fn next_or_home(next: &str) -> String {
    let ours = next.starts_with('/')
        && !next.starts_with("//")
        && next.len() <= 512
        && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if ours { next.to_owned() } else { "/instances".to_owned() }
}

impl Portal {
    pub(crate) fn site(&self, who: Option<&CurrentUser>) -> Site {
        Site::of(self, who.map(CurrentUser::signed_in))
    }

    /// Renders the rejection of a request.
    pub(crate) fn refuse(
        &self,
        why: impl Into<RejectionKind>,
        who: Option<&CurrentUser>,
    ) -> Rejection {
        Rejection(Box::new(why.into().page(self, who.map(CurrentUser::signed_in))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_sent_to_our_own_pages_only() {
        for (asked, goes) in [
            ("/instances/alice", "/instances/alice"),
            ("/operations/1?x=2", "/operations/1?x=2"),
            ("", "/instances"),
            ("//evil.example", "/instances"),
            ("/\\evil.example", "/instances"),
            ("https://evil.example", "/instances"),
            ("javascript:alert(1)", "/instances"),
            ("/a\r\nset-cookie: x", "/instances"),
        ] {
            assert_eq!(next_or_home(asked), goes, "{asked:?}");
        }
    }
}
