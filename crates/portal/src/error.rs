//! Error pages: what failed, and what to do next.

use std::any::Any;

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use startclaw_accounts::{AccountError, SignedIn};
use startclaw_engine::EngineError;

use crate::{
    Portal,
    access::MaybeUser,
    answer::{Answer, page_with},
    assets::Page as _,
    frame::{Notice, Site},
};

/// Why a request was rejected.
#[derive(Debug)]
pub(crate) enum RejectionKind {
    /// There is no such page, or the user has no access to it.
    Nothing,
    /// The request came from another site's page.
    CrossSite,
    /// Only for admins.
    NotAdmin,
    /// The form is invalid.
    Form,
    /// Too many requests at once.
    Busy,
    /// The link has expired or was used.
    DeadLink,
    /// An error of the engine.
    Engine(EngineError),
    /// An error of the accounts.
    Account(AccountError),
}

impl From<EngineError> for RejectionKind {
    fn from(e: EngineError) -> Self {
        Self::Engine(e)
    }
}

impl From<AccountError> for RejectionKind {
    fn from(e: AccountError) -> Self {
        Self::Account(e)
    }
}

/// A page with a message.
#[derive(Template)]
#[template(path = "message.html")]
pub(crate) struct Message {
    pub site: Site,
    pub here: &'static str,
    pub notice: Option<Notice>,
    pub title: String,
    pub lines: Vec<String>,
    pub action: Option<Action>,
    pub button: Option<Button>,
}

pub(crate) struct Action {
    pub href: String,
    pub label: String,
}

pub(crate) struct Button {
    pub action: String,
    pub label: String,
}

impl RejectionKind {
    pub fn page(self, portal: &Portal, who: Option<&SignedIn>) -> Response {
        let (status, title, lines) = self.describe();
        let (href, label) = match who {
            Some(_) => ("/instances", "Your instances"),
            None => ("/sign-in", "Sign in"),
        };
        let message = Message {
            site: Site::of(portal, who),
            here: "",
            notice: None,
            title: title.to_owned(),
            lines,
            action: Some(Action { href: href.into(), label: label.into() }),
            button: None,
        };
        let mut response = page_with(status, &message);
        if let Self::Account(AccountError::Slow { seconds }) = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn describe(&self) -> (StatusCode, &'static str, Vec<String>) {
        let one = |text: &str| vec![text.to_owned()];
        match self {
            Self::Nothing => (
                StatusCode::NOT_FOUND,
                "Page not found",
                one("Check the address, or start from your instances."),
            ),
            Self::CrossSite => (
                StatusCode::FORBIDDEN,
                "Request blocked",
                one(
                    "The request came from another site, so nothing was changed. Use the page itself.",
                ),
            ),
            Self::NotAdmin => (
                StatusCode::FORBIDDEN,
                "For admins only",
                one("Contact your administrator if you need access."),
            ),
            Self::Form => (
                StatusCode::BAD_REQUEST,
                "Invalid form",
                one("Go back, load the page again, and send it again."),
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many requests",
                one("Please try again in a moment."),
            ),
            Self::DeadLink => (
                StatusCode::NOT_FOUND,
                "This link has expired",
                one("The link has expired or was already used. Request a new one."),
            ),
            Self::Engine(e) => of_engine(e),
            Self::Account(e) => of_account(e),
        }
    }
}

fn of_engine(e: &EngineError) -> (StatusCode, &'static str, Vec<String>) {
    let status = match e {
        EngineError::NoInstance(_) | EngineError::NoOperation(_) => {
            return RejectionKind::Nothing.describe();
        }
        EngineError::Invalid { .. } | EngineError::NoSecret(_) => StatusCode::UNPROCESSABLE_ENTITY,
        EngineError::Quota(_) => StatusCode::FORBIDDEN,
        EngineError::NoAccess => return RejectionKind::Nothing.describe(),
        EngineError::TooManyStreams => return RejectionKind::Busy.describe(),
        EngineError::TooSoon { .. } => StatusCode::TOO_MANY_REQUESTS,
        EngineError::HostUnavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        EngineError::DiskFull(_) => StatusCode::INSUFFICIENT_STORAGE,
        EngineError::Inside(inside) => {
            tracing::error!(error = ?inside, "cannot serve a page");
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ => StatusCode::CONFLICT,
    };
    let text = match e {
        EngineError::Inside(_) => "Internal error. Try again in a moment.".to_owned(),
        // The sizes and commands are for the operator.
        EngineError::DiskFull(why) => {
            tracing::warn!(why, "a restore from the portal was refused");
            "The disk has no room for this restore. Nothing was changed. Contact your administrator."
                .to_owned()
        }
        other => sentence(&other.to_string()),
    };
    (status, "Something went wrong", vec![text])
}

fn of_account(e: &AccountError) -> (StatusCode, &'static str, Vec<String>) {
    let status = match e {
        AccountError::Slow { .. } => StatusCode::TOO_MANY_REQUESTS,
        AccountError::Busy => StatusCode::SERVICE_UNAVAILABLE,
        AccountError::DeadLink => return RejectionKind::DeadLink.describe(),
        AccountError::Instance(e) => return of_engine(e),
        AccountError::Missing(_) => StatusCode::NOT_FOUND,
        AccountError::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        AccountError::LastAdmin => StatusCode::CONFLICT,
        AccountError::Inside(inside) => {
            tracing::error!(error = ?inside, "cannot serve a page");
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ => StatusCode::FORBIDDEN,
    };
    (status, "Something went wrong", vec![sentence(&e.to_string())])
}

/// An error message of another crate, as a sentence.
pub(crate) fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{first}{}{end}", characters.as_str())
}

pub(crate) async fn nothing(visitor: MaybeUser) -> Answer {
    Err(visitor.refuse(RejectionKind::Nothing))
}

pub(crate) async fn wrong_method(visitor: MaybeUser) -> Response {
    let mut response = visitor.refuse(RejectionKind::Form).into_response();
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
}

/// A bug in the portal.
pub(crate) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("bug in StartClaw: a page panicked");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}
