//! The layout of all pages, and parts that several pages share.

use startclaw_accounts::SignedIn;

use crate::Portal;

/// What the layout shows of the platform and of the user.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub domain: String,
    pub who: Option<Who>,
    pub sign_up: &'static str,
    pub mail: bool,
}

/// The signed-in user.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub email: String,
    pub admin: bool,
}

impl Site {
    pub fn of(portal: &Portal, who: Option<&SignedIn>) -> Self {
        Self {
            domain: portal.settings().domain.clone(),
            who: who
                .map(|who| Who { email: who.account.email.to_string(), admin: who.account.admin }),
            sign_up: portal.sign_up().as_str(),
            mail: portal.has_mail(),
        }
    }
}

/// A message above the page: what was done, or what failed.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    pub kind: &'static str,
    pub text: String,
}

impl Notice {
    pub fn good(text: impl Into<String>) -> Self {
        Self { kind: "good", text: text.into() }
    }

    pub fn bad(text: impl Into<String>) -> Self {
        Self { kind: "bad", text: text.into() }
    }

    /// The message after a redirect: the address carries a keyword for it and never a text, which
    /// any link could set.
    pub fn after(done: Option<&str>) -> Option<Self> {
        let text = match done? {
            "saved" => "Saved.",
            "password" => "Your password is changed. Other devices were signed out.",
            "passkey-removed" => "The passkey is removed.",
            "ended" => "Signed out there.",
            "sent" => "The mail is sent.",
            "confirmed" => "Thank you, your address is confirmed.",
            "quota" => "The quota is changed.",
            "suspended" => "The account is suspended, and signed out everywhere.",
            "unsuspended" => "The account is active again.",
            "admin" => "The rights are changed.",
            "approved" => "The Telegram user is approved.",
            "closed" => "The bot answers only approved users now.",
            "revoked" => "The invitation is revoked.",
            _ => return None,
        };
        Some(Self::good(text))
    }
}

/// A usage bar.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    pub label: &'static str,
    pub text: String,
    pub percent: u64,
    pub tone: &'static str,
}

impl Meter {
    pub fn new(label: &'static str, used: u64, of: u64, text: String) -> Self {
        let percent = used.saturating_mul(100).checked_div(of).unwrap_or(100).min(100);
        let tone = match percent {
            0..80 => "good",
            80..95 => "warn",
            _ => "bad",
        };
        Self { label, text, percent, tone }
    }
}

/// A chart, rendered by the server.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    pub title: &'static str,
    pub now: String,
    pub top: String,
    pub from: String,
    pub to: String,
    pub lines: Vec<String>,
    pub areas: Vec<String>,
    pub limit: Option<String>,
    pub summary: String,
}

#[derive(Debug, Clone)]
pub(crate) struct EventRow {
    pub tone: &'static str,
    pub text: String,
    pub time: String,
    pub datetime: String,
    pub name: Option<String>,
}

/// A link that is shown once.
#[derive(Debug, Clone)]
pub(crate) struct CreatedLink {
    pub title: String,
    pub text: String,
    pub url: String,
}
