//! Rate limit of names that need a certificate. A public CA limits new certificates per week and
//! domain, so one account that provisions and deprovisions in a loop could use up the limit for all
//! others.

use std::time::Duration;

use sqlx::{Row, SqliteConnection};
use startclaw_model::{AccountId, Name, Quota, Timestamp};

use crate::StoreError;

/// The window in which new names are counted: that of Let's Encrypt.
const WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a name counts as having a certificate: it is valid for 90 days, and Caddy, which also
/// keeps those of removed instances, renews it after 60.
pub(crate) const REUSED: Duration = Duration::from_secs(60 * 24 * 3600);

/// The limit of new names per week; 0 for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NameRate {
    /// By one account.
    pub account: u32,
    /// By all accounts together.
    pub all: u32,
}

/// The limits of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// The default quota, for accounts without their own.
    pub quota: Quota,
    /// The limit of new names.
    pub names: NameRate,
}

/// Counts a name that an account requests, unless it has a certificate already.
///
/// # Errors
/// [`StoreError::TooSoon`].
pub(crate) async fn count(
    tx: &mut SqliteConnection,
    name: &Name,
    account: &AccountId,
    rate: NameRate,
) -> Result<(), StoreError> {
    let now = Timestamp::now();
    let before = |d: Duration| now.as_millis() - i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    let known = sqlx::query("SELECT 1 FROM certificate_names WHERE name = $1 AND at > $2")
        .bind(name.as_str())
        .bind(before(REUSED))
        .fetch_optional(&mut *tx)
        .await?;
    if known.is_some() {
        return Ok(());
    }
    for (limit, of, whose) in
        [(rate.account, Some(account.as_str()), "this account"), (rate.all, None, "this platform")]
    {
        if limit == 0 {
            continue;
        }
        // The oldest of the last `limit` names: when it leaves the window, another one is allowed.
        let oldest = sqlx::query(
            "SELECT at FROM certificate_names WHERE at > $1
             AND ($2 IS NULL OR account_id = $2) ORDER BY at DESC LIMIT 1 OFFSET $3",
        )
        .bind(before(WINDOW))
        .bind(of)
        .bind(i64::from(limit) - 1)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(row) = oldest {
            let at = Timestamp::from_millis(row.try_get("at")?).plus(WINDOW);
            return Err(StoreError::TooSoon {
                message: format!(
                    "{whose} has used {limit} new names in a week, which is as many as certificates \
                     are requested for; use a name that was used before, or try again later"
                ),
                at,
            });
        }
    }
    sqlx::query(
        "INSERT INTO certificate_names (name, account_id, at) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET account_id = excluded.account_id, at = excluded.at",
    )
    .bind(name.as_str())
    .bind(account.as_str())
    .bind(now.as_millis())
    .execute(tx)
    .await?;
    Ok(())
}
