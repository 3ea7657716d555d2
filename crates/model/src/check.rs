//! Diagnostic checks of the host, for `startclaw doctor`.

use serde::{Deserialize, Serialize};

/// Status of a check.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum CheckStatus {
    /// As it should be.
    #[serde(alias = "good")]
    Ok,
    /// It works, but needs attention.
    Warning,
    /// It does not work.
    #[serde(alias = "bad")]
    Error,
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Check {
    /// Name of the check: `docker`, `firewall`, `image`, `disk`, `memory`, `ports`, `clock`,
    /// `caddy`...
    #[serde(alias = "check")]
    pub name: String,
    /// How it went.
    #[serde(alias = "verdict")]
    pub status: CheckStatus,
    /// What was seen.
    pub detail: String,
    /// How to fix it; set unless the status is ok.
    #[serde(alias = "mend")]
    pub fix: Option<String>,
}

impl Check {
    /// All is well.
    pub fn ok(check: &str, detail: impl Into<String>) -> Self {
        Self { name: check.into(), status: CheckStatus::Ok, detail: detail.into(), fix: None }
    }

    /// Needs attention.
    pub fn warning(check: &str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            name: check.into(),
            status: CheckStatus::Warning,
            detail: detail.into(),
            fix: Some(fix.into()),
        }
    }

    /// It does not work.
    pub fn error(check: &str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            name: check.into(),
            status: CheckStatus::Error,
            detail: detail.into(),
            fix: Some(fix.into()),
        }
    }
}
