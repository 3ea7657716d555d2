//! What a check of the machine found, for `startclaw doctor`.

use serde::{Deserialize, Serialize};

/// How a check went.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, but somebody should look.
    Warning,
    /// It does not work.
    Bad,
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Finding {
    /// What was checked: `docker`, `firewall`, `image`, `disk`, `memory`, `ports`, `clock`, `caddy`...
    pub check: String,
    /// How it went.
    pub verdict: Verdict,
    /// What was seen.
    pub detail: String,
    /// How to mend it; set unless the verdict is good.
    pub mend: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn good(check: &str, detail: impl Into<String>) -> Self {
        Self { check: check.into(), verdict: Verdict::Good, detail: detail.into(), mend: None }
    }

    /// Somebody should look.
    pub fn warning(check: &str, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            verdict: Verdict::Warning,
            detail: detail.into(),
            mend: Some(mend.into()),
        }
    }

    /// It does not work.
    pub fn bad(check: &str, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            verdict: Verdict::Bad,
            detail: detail.into(),
            mend: Some(mend.into()),
        }
    }
}
