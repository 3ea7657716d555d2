//! End of access: deletes sessions and login tokens, and marks the instances whose open connections
//! must be closed. Both happen in one transaction, so that a crash loses neither.

use sqlx::{Row, SqliteConnection};
use startclaw_model::{AccountId, InstanceId, Slot, Timestamp};

use crate::{IMMEDIATE, Store, StoreError};

/// An instance whose open connections must be closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    pub instance: InstanceId,
    /// Its slot on the host.
    pub slot: Slot,
    /// When access was lost; a later loss has a later time.
    pub at: Timestamp,
}

impl Store {
    /// Ends sessions of an account, and the sessions in instances that came from them: all except
    /// the one with the digest `but`, or only the one with the id `only`. Returns how many.
    pub async fn end_account_sessions(
        &self,
        account: &AccountId,
        only: Option<&str>,
        but: Option<&str>,
    ) -> Result<u64, StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        let ended = end(&mut tx, account, only, but).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Ends a session in an instance; `false` when it does not exist.
    pub async fn remove_session(&self, hash: &str) -> Result<bool, StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        let marked =
            mark(&mut tx, "SELECT instance_id FROM sessions WHERE hash = $1", &[Some(hash)])
                .await?;
        sqlx::query("DELETE FROM sessions WHERE hash = $1").bind(hash).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(marked > 0)
    }

    /// Ends expired sessions, and sessions that depend on an expired account session or token.
    pub async fn expire_sessions(&self, now: Timestamp) -> Result<(), StoreError> {
        let expired = sqlx::query(
            "SELECT 1 FROM sessions WHERE expires_at <= $1
             UNION ALL SELECT 1 FROM account_sessions WHERE expires_at <= $1
             UNION ALL SELECT 1 FROM sessions s JOIN tokens t ON t.id = s.token
                WHERE t.expires_at <= $1 LIMIT 1",
        )
        .bind(now.as_millis())
        .fetch_optional(&self.read)
        .await?;
        if expired.is_none() {
            return Ok(());
        }
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        sqlx::query(
            "INSERT INTO disconnects (instance_id, at)
             SELECT DISTINCT s.instance_id, $1 FROM sessions s
             LEFT JOIN account_sessions a ON a.hash = s.account_session
             LEFT JOIN tokens t ON t.id = s.token
             WHERE s.expires_at <= $1 OR a.expires_at <= $1 OR t.expires_at <= $1
             ON CONFLICT (instance_id) DO UPDATE SET at = MAX(at + 1, excluded.at)",
        )
        .bind(now.as_millis())
        .execute(&mut *tx)
        .await?;
        for statement in [
            "DELETE FROM sessions WHERE expires_at <= $1
             OR token IN (SELECT id FROM tokens WHERE expires_at <= $1)",
            "DELETE FROM account_sessions WHERE expires_at <= $1",
        ] {
            sqlx::query(statement).bind(now.as_millis()).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// The instances whose open connections are not closed yet.
    pub async fn disconnects(&self) -> Result<Vec<Disconnect>, StoreError> {
        let rows = sqlx::query(
            "SELECT d.instance_id, d.at, i.slot FROM disconnects d
             JOIN instances i ON i.id = d.instance_id ORDER BY d.at",
        )
        .fetch_all(&self.read)
        .await?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            let slot: i64 = row.try_get("slot")?;
            Ok(Disconnect {
                instance: InstanceId(row.try_get("instance_id")?),
                slot: Slot(
                    u32::try_from(slot).map_err(|_| StoreError::Value(format!("slot {slot}")))?,
                ),
                at: crate::row::time(row, "at")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Records that the connections were closed, unless access was lost again meanwhile.
    pub async fn disconnected(&self, done: &Disconnect) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM disconnects WHERE instance_id = $1 AND at = $2")
            .bind(done.instance.as_str())
            .bind(done.at.as_millis())
            .execute(&self.write)
            .await?;
        Ok(())
    }
}

/// Ends sessions of an account; returns how many. Login tokens and sessions in instances end with
/// the session that they came from.
pub(crate) async fn end(
    tx: &mut SqliteConnection,
    account: &AccountId,
    only: Option<&str>,
    but: Option<&str>,
) -> Result<u64, StoreError> {
    mark(
        tx,
        "SELECT s.instance_id FROM sessions s JOIN account_sessions a ON a.hash = s.account_session
         WHERE a.account_id = $1 AND ($2 IS NULL OR a.id = $2) AND ($3 IS NULL OR a.hash <> $3)",
        &[Some(account.as_str()), only, but],
    )
    .await?;
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

/// Ends all sessions and login tokens in one instance, including those from links of operators.
pub(crate) async fn end_in(
    tx: &mut SqliteConnection,
    instance: &InstanceId,
) -> Result<(), StoreError> {
    end_where(tx, "SELECT id FROM instances WHERE id = $1", instance.as_str()).await
}

/// Ends all sessions and login tokens in the instances of an account, including those from links of
/// operators.
pub(crate) async fn end_in_instances_of(
    tx: &mut SqliteConnection,
    account: &AccountId,
) -> Result<(), StoreError> {
    end_where(tx, "SELECT id FROM instances WHERE account_id = $1", account.as_str()).await
}

async fn end_where(
    tx: &mut SqliteConnection,
    instances: &'static str,
    of: &str,
) -> Result<(), StoreError> {
    mark(tx, instances, &[Some(of)]).await?;
    for table in ["sessions", "login_tokens"] {
        let statement = format!("DELETE FROM {table} WHERE instance_id IN ({instances})");
        sqlx::query(sqlx::AssertSqlSafe(statement)).bind(of).execute(&mut *tx).await?;
    }
    Ok(())
}

/// Ends an account's sessions and login tokens in instances that it does not own.
pub(crate) async fn end_in_others(
    tx: &mut SqliteConnection,
    account: &AccountId,
) -> Result<(), StoreError> {
    mark(
        tx,
        "SELECT s.instance_id FROM sessions s
         JOIN account_sessions a ON a.hash = s.account_session
         JOIN instances i ON i.id = s.instance_id
         WHERE a.account_id = $1 AND i.account_id IS NOT $1",
        &[Some(account.as_str())],
    )
    .await?;
    for statement in [
        "DELETE FROM sessions WHERE account_session IN
            (SELECT hash FROM account_sessions WHERE account_id = $1)
         AND instance_id NOT IN (SELECT id FROM instances WHERE account_id = $1)",
        "DELETE FROM login_tokens WHERE account_session IN
            (SELECT hash FROM account_sessions WHERE account_id = $1)
         AND instance_id NOT IN (SELECT id FROM instances WHERE account_id = $1)",
    ] {
        sqlx::query(statement).bind(account.as_str()).execute(&mut *tx).await?;
    }
    Ok(())
}

/// Marks the instances that `select` finds, so that their open connections are closed. Returns how
/// many.
pub(crate) async fn mark(
    tx: &mut SqliteConnection,
    select: &'static str,
    binds: &[Option<&str>],
) -> Result<u64, StoreError> {
    let rows = {
        let mut query = sqlx::query(select);
        for bind in binds {
            query = query.bind(*bind);
        }
        query.fetch_all(&mut *tx).await?
    };
    let mut marked = 0;
    for row in &rows {
        let id: String = row.try_get(0)?;
        // Always a later time than before: a disconnect in progress must not clear this mark.
        let done = sqlx::query(
            "INSERT INTO disconnects (instance_id, at) VALUES ($1, $2)
             ON CONFLICT (instance_id) DO UPDATE SET at = MAX(at + 1, excluded.at)",
        )
        .bind(id)
        .bind(Timestamp::now().as_millis())
        .execute(&mut *tx)
        .await?;
        marked += done.rows_affected();
    }
    Ok(marked)
}
