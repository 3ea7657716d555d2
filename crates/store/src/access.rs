//! Who may enter: tokens of programs, sign-in tickets and sessions of people. Only digests
//! of them are stored.

use sqlx::{Row, sqlite::SqliteRow};
use startclaw_model::{InstanceId, Scopes, Timestamp};

use crate::{Store, StoreError, row};

/// A token that is to be stored.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its public id.
    pub id: String,
    /// The digest of its secret part.
    pub hash: String,
    /// What it is for, in the words of whoever made it.
    pub label: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it ends; never when none.
    pub expires_at: Option<Timestamp>,
}

/// A token as it is stored.
#[derive(Debug, Clone)]
pub struct StoredToken {
    /// Its public id.
    pub id: String,
    /// What it is for.
    pub label: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// Somebody's leave to be in an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Which instance.
    pub instance: InstanceId,
    /// Who OpenClaw is told they are.
    pub identity: String,
    /// The digest of the session of the account that it was entered from; it ends with that one.
    pub account_session: Option<String>,
    /// Until when.
    pub expires_at: Timestamp,
}

fn token(row: &SqliteRow) -> Result<StoredToken, StoreError> {
    Ok(StoredToken {
        id: row.try_get("id")?,
        label: row.try_get("label")?,
        scopes: row::json(row, "scopes")?,
        created_at: row::time(row, "created_at")?,
        expires_at: row::maybe_time(row, "expires_at")?,
        last_used_at: row::maybe_time(row, "last_used_at")?,
    })
}

fn session(row: &SqliteRow) -> Result<Session, StoreError> {
    Ok(Session {
        instance: InstanceId(row.try_get("instance_id")?),
        identity: row.try_get("identity")?,
        account_session: row.try_get("account_session")?,
        expires_at: row::time(row, "expires_at")?,
    })
}

impl Store {
    /// Stores a token.
    pub async fn add_token(&self, new: &NewToken) -> Result<StoredToken, StoreError> {
        let now = Timestamp::now();
        sqlx::query(
            "INSERT INTO tokens (id, hash, label, scopes, instance, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&new.id)
        .bind(&new.hash)
        .bind(&new.label)
        .bind(serde_json::to_string(&new.scopes)?)
        .bind(new.scopes.instance.as_ref().map(startclaw_model::Name::as_str))
        .bind(now.as_millis())
        .bind(new.expires_at.map(Timestamp::as_millis))
        .execute(&self.write)
        .await?;
        Ok(StoredToken {
            id: new.id.clone(),
            label: new.label.clone(),
            scopes: new.scopes.clone(),
            created_at: now,
            expires_at: new.expires_at,
            last_used_at: None,
        })
    }

    /// All tokens, oldest first.
    pub async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        let rows = sqlx::query("SELECT * FROM tokens ORDER BY created_at, id")
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(token).collect()
    }

    /// The token with this digest, if it has not ended.
    pub async fn token_by_hash(
        &self,
        hash: &str,
        now: Timestamp,
    ) -> Result<Option<StoredToken>, StoreError> {
        let row = sqlx::query(
            "SELECT * FROM tokens WHERE hash = $1 AND (expires_at IS NULL OR expires_at > $2)",
        )
        .bind(hash)
        .bind(now.as_millis())
        .fetch_optional(&self.read)
        .await?;
        row.as_ref().map(token).transpose()
    }

    /// Notes that a token was used.
    pub async fn touch_token(&self, id: &str, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE tokens SET last_used_at = $1 WHERE id = $2")
            .bind(now.as_millis())
            .bind(id)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    /// Removes a token; `false` when there was none.
    pub async fn remove_token(&self, id: &str) -> Result<bool, StoreError> {
        let done =
            sqlx::query("DELETE FROM tokens WHERE id = $1").bind(id).execute(&self.write).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Stores a sign-in ticket under its digest. `false` when the instance, or the session of the
    /// account that it was made from, is gone.
    pub async fn add_ticket(&self, hash: &str, leave: &Session) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO tickets (hash, instance_id, identity, account_session, expires_at)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(hash)
        .bind(leave.instance.as_str())
        .bind(&leave.identity)
        .bind(leave.account_session.as_deref())
        .bind(leave.expires_at.as_millis())
        .execute(&self.write)
        .await;
        row::unless_orphan(done)
    }

    /// Takes a ticket of `instance` out, so that it works once; `None` when it is not there
    /// or has ended. A ticket of another instance stays untouched.
    pub async fn take_ticket(
        &self,
        hash: &str,
        instance: &InstanceId,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        let row = sqlx::query(
            "DELETE FROM tickets WHERE hash = $1 AND instance_id = $2 AND expires_at > $3 RETURNING *",
        )
        .bind(hash)
        .bind(instance.as_str())
        .bind(now.as_millis())
        .fetch_optional(&self.write)
        .await?;
        row.as_ref().map(session).transpose()
    }

    /// Stores a session under its digest. `false` when the instance, or the session of the account
    /// that it was entered from, is gone.
    pub async fn add_session(&self, hash: &str, session: &Session) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO sessions
                (hash, instance_id, identity, account_session, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(hash)
        .bind(session.instance.as_str())
        .bind(&session.identity)
        .bind(session.account_session.as_deref())
        .bind(Timestamp::now().as_millis())
        .bind(session.expires_at.as_millis())
        .execute(&self.write)
        .await;
        row::unless_orphan(done)
    }

    /// The session with this digest, if it has not ended. One that was entered from an account's
    /// session lasts while the instance is the account's to see: its own, or any for an admin.
    pub async fn session_by_hash(
        &self,
        hash: &str,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        let row = sqlx::query(
            "SELECT * FROM sessions WHERE hash = $1 AND expires_at > $2
             AND (account_session IS NULL OR EXISTS (
                SELECT 1 FROM account_sessions s
                JOIN accounts a ON a.id = s.account_id
                JOIN instances i ON i.id = sessions.instance_id
                WHERE s.hash = sessions.account_session
                AND (a.admin <> 0 OR i.account_id = a.id)))",
        )
        .bind(hash)
        .bind(now.as_millis())
        .fetch_optional(&self.read)
        .await?;
        row.as_ref().map(session).transpose()
    }
}
