//! Pages and redirects as answers.

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use startclaw_accounts::FreshSession;

use crate::{Portal, auth::CurrentUser, cookie, error::RejectionKind, frame::Site};

/// What a handler gives.
pub(crate) type Answer = Result<Response, Rejection>;

/// A rejection that is already rendered, for the user who made the request.
pub(crate) struct Rejection(pub Box<Response>);

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        *self.0
    }
}

/// A page.
pub(crate) fn page(template: &impl Template) -> Response {
    page_with(StatusCode::OK, template)
}

/// A page with another status.
pub(crate) fn page_with(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(e) => {
            tracing::error!(error = %e, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// On to another page, after something was done.
pub(crate) fn go(to: &str) -> Response {
    match HeaderValue::from_str(to) {
        Ok(to) => (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Into the account: the cookies of a session that was just opened, and on to a page.
pub(crate) fn signed_in(fresh: &FreshSession, to: &str) -> Response {
    with_session(go(to), fresh)
}

/// Gives the cookies of a session along.
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

/// Where somebody goes after signing in: a path of ours that they wanted, else their instances.
pub(crate) fn next_or_home(next: &str) -> String {
    let ours = next.starts_with('/')
        && !next.starts_with("//")
        && next.len() <= 512
        && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if ours { next.to_owned() } else { "/instances".to_owned() }
}

impl Portal {
    /// The frame for whoever looks.
    pub(crate) fn site(&self, who: Option<&CurrentUser>) -> Site {
        Site::of(self, who.map(CurrentUser::signed_in))
    }

    /// Says no, to whoever looks.
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
