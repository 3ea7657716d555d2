//! Sessions that end, and the instances that somebody was in from them.

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use startclaw_model::{AccountId, InstanceId};

use crate::{IMMEDIATE, Store, StoreError};

/// What ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How many sessions of the account.
    pub sessions: u64,
    /// The instances that were entered from one of them.
    pub instances: Vec<InstanceId>,
}

impl Store {
    /// Ends sessions of an account, and what was entered from them: all but the one with the digest
    /// `but`, or only the one called `only`.
    pub async fn end_account_sessions(
        &self,
        account: &AccountId,
        only: Option<&str>,
        but: Option<&str>,
    ) -> Result<Ended, StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        let instances = entered(&mut tx, account, only, but).await?;
        let sessions = end(&mut tx, account, only, but).await?;
        tx.commit().await?;
        Ok(Ended { sessions, instances })
    }

    /// Ends a session in an instance, and says in which.
    pub async fn remove_session(&self, hash: &str) -> Result<Option<InstanceId>, StoreError> {
        let row = sqlx::query("DELETE FROM sessions WHERE hash = $1 RETURNING instance_id")
            .bind(hash)
            .fetch_optional(&self.write)
            .await?;
        row.as_ref().map(instance).transpose()
    }
}

/// Ends sessions of an account, and says how many. Tickets and sessions in instances go with the
/// session that they came from.
pub(crate) async fn end(
    tx: &mut SqliteConnection,
    account: &AccountId,
    only: Option<&str>,
    but: Option<&str>,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM account_sessions WHERE account_id = $1
         AND ($2 IS NULL OR id = $2) AND ($3 IS NULL OR hash <> $3)",
    )
    .bind(account.as_str())
    .bind(only)
    .bind(but)
    .execute(tx)
    .await?;
    Ok(done.rows_affected())
}

/// The instances that were entered from these sessions of an account.
pub(crate) async fn entered(
    tx: &mut SqliteConnection,
    account: &AccountId,
    only: Option<&str>,
    but: Option<&str>,
) -> Result<Vec<InstanceId>, StoreError> {
    let rows = sqlx::query(
        "SELECT DISTINCT s.instance_id FROM sessions s
         JOIN account_sessions a ON a.hash = s.account_session
         WHERE a.account_id = $1 AND ($2 IS NULL OR a.id = $2) AND ($3 IS NULL OR a.hash <> $3)",
    )
    .bind(account.as_str())
    .bind(only)
    .bind(but)
    .fetch_all(tx)
    .await?;
    rows.iter().map(instance).collect()
}

fn instance(row: &SqliteRow) -> Result<InstanceId, StoreError> {
    Ok(InstanceId(row.try_get("instance_id")?))
}
