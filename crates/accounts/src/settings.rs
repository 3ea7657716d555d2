//! What the operator can set about accounts.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use startclaw_model::Quota;

/// Who may have an account, and what with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccountSettings {
    /// Who can sign up.
    pub sign_up: SignUp,
    /// What an account may have that has no quota of its own.
    pub quota: Quota,
    /// How mail is sent. Without it an admin creates the links (`startclaw accounts link`).
    pub mail: MailSettings,
}

impl Default for AccountSettings {
    fn default() -> Self {
        Self { sign_up: SignUp::Invite, quota: Quota::default(), mail: MailSettings::default() }
    }
}

/// Who can sign up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignUp {
    /// Anyone; with `accounts.mail` by a link that is sent to their address.
    Open,
    /// Holders of an invitation (`startclaw accounts invite`).
    Invite,
    /// Nobody; an admin creates accounts (`startclaw accounts create`).
    Closed,
}

impl SignUp {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Invite => "invite",
            Self::Closed => "closed",
        }
    }
}

/// The mail server that takes our mail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MailSettings {
    /// The server: `smtps://mail.example.com` (TLS from the start), `smtp://mail.example.com`
    /// (STARTTLS, which must be there), with `:PORT` if it is not the usual one; on this host
    /// also `smtp+plain://127.0.0.1:25`. No mail is sent when empty.
    pub server: String,
    /// The user name; no authentication when empty.
    pub user: String,
    /// A file with the password for that.
    pub password_file: PathBuf,
    /// From whom the mail comes, such as `StartClaw <claws@example.com>`.
    pub from: String,
}
