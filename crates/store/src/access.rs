//! Access: API tokens of programs, login tokens and sessions of people. Only digests of them are
//! stored.

use sqlx::{Row, sqlite::SqliteRow};
use startclaw_model::{AccountId, InstanceId, Principal, Scopes, Timestamp};

use crate::{IMMEDIATE, Store, StoreError, row, session_end};

/// A new API token.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its public id.
    pub id: String,
    /// The digest of its secret part.
    pub hash: String,
    /// Its purpose, as its creator described it.
    pub label: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it ends; never when none.
    pub expires_at: Option<Timestamp>,
}

/// A stored API token.
#[derive(Debug, Clone)]
pub struct StoredToken {
    /// Its public id.
    pub id: String,
    /// What it is for.
    pub label: String,
    /// What it may do.
    pub scopes: Scopes,
    /// The instance that it is restricted to, when it was read: a token ends with its instance, and
    /// says nothing about a later one of that name.
    pub instance: Option<InstanceId>,
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// The last use, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// A session in an instance, or the grant of a login token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Which instance.
    pub instance: InstanceId,
    /// The user's identity in OpenClaw.
    pub identity: String,
    /// The digest of the account's session that it was created from, and ends with.
    pub account_session: Option<String>,
    /// The id of the API token that created the sign-in link; the session ends with it.
    pub token: Option<String>,
    /// Until when.
    pub expires_at: Timestamp,
}

fn token(row: &SqliteRow) -> Result<StoredToken, StoreError> {
    Ok(StoredToken {
        id: row.try_get("id")?,
        label: row.try_get("label")?,
        scopes: row::json(row, "scopes")?,
        instance: row.try_get::<Option<String>, _>("instance_id")?.map(InstanceId),
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
        token: row.try_get("token")?,
        expires_at: row::time(row, "expires_at")?,
    })
}

/// A session or login token, with the account session or API token that it came from, which must
/// not have expired either.
macro_rules! held {
    ($table:literal) => {
        concat!(
            "SELECT s.instance_id, s.identity, s.account_session, s.token,
                MIN(s.expires_at, COALESCE(x.expires_at, s.expires_at),
                    COALESCE(t.expires_at, s.expires_at)) AS expires_at,
                i.name, i.account_id, a.id AS holder, a.admin, a.state, t.scopes
             FROM ",
            $table,
            " s JOIN instances i ON i.id = s.instance_id
             LEFT JOIN account_sessions x ON x.hash = s.account_session
             LEFT JOIN accounts a ON a.id = x.account_id
             LEFT JOIN tokens t ON t.id = s.token
             WHERE s.hash = $1 AND s.expires_at > $2
             AND (s.account_session IS NULL OR x.expires_at > $2)
             AND (s.token IS NULL OR t.expires_at IS NULL OR t.expires_at > $2)"
        )
    };
}

/// Tokens, each with the id of the instance that it is restricted to.
macro_rules! tokens {
    ($rest:literal) => {
        concat!(
            "SELECT *, (SELECT id FROM instances WHERE name = tokens.instance) AS instance_id
             FROM tokens ",
            $rest
        )
    };
}

impl Store {
    /// Stores a token.
    ///
    /// # Errors
    /// [`StoreError::NoInstance`]: else it would be good for the next instance of that name.
    pub async fn add_token(&self, new: &NewToken) -> Result<StoredToken, StoreError> {
        let row = sqlx::query(
            "INSERT INTO tokens (id, hash, label, scopes, instance, created_at, expires_at)
             SELECT $1, $2, $3, $4, $5, $6, $7
             WHERE $5 IS NULL OR EXISTS (SELECT 1 FROM instances WHERE name = $5)
             RETURNING *, (SELECT id FROM instances WHERE name = $5) AS instance_id",
        )
        .bind(&new.id)
        .bind(&new.hash)
        .bind(&new.label)
        .bind(serde_json::to_string(&new.scopes)?)
        .bind(new.scopes.instance.as_ref().map(startclaw_model::Name::as_str))
        .bind(Timestamp::now().as_millis())
        .bind(new.expires_at.map(Timestamp::as_millis))
        .fetch_optional(&self.write)
        .await?;
        token(&row.ok_or(StoreError::NoInstance)?)
    }

    /// All tokens, oldest first.
    pub async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        let rows = sqlx::query(tokens!("ORDER BY created_at, id")).fetch_all(&self.read).await?;
        rows.iter().map(token).collect()
    }

    /// The token with this digest, if it has not ended.
    pub async fn token_by_hash(
        &self,
        hash: &str,
        now: Timestamp,
    ) -> Result<Option<StoredToken>, StoreError> {
        let row =
            sqlx::query(tokens!("WHERE hash = $1 AND (expires_at IS NULL OR expires_at > $2)"))
                .bind(hash)
                .bind(now.as_millis())
                .fetch_optional(&self.read)
                .await?;
        row.as_ref().map(token).transpose()
    }

    /// Records the use of a token.
    pub async fn touch_token(&self, id: &str, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE tokens SET last_used_at = $1 WHERE id = $2")
            .bind(now.as_millis())
            .bind(id)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    /// The token with this id, if it has not ended.
    pub async fn token(&self, id: &str, now: Timestamp) -> Result<Option<StoredToken>, StoreError> {
        let row = sqlx::query(tokens!("WHERE id = $1 AND (expires_at IS NULL OR expires_at > $2)"))
            .bind(id)
            .bind(now.as_millis())
            .fetch_optional(&self.read)
            .await?;
        row.as_ref().map(token).transpose()
    }

    /// Removes a token, and the sessions from links that it created; `false` when it does not
    /// exist.
    pub async fn remove_token(&self, id: &str) -> Result<bool, StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        session_end::mark(
            &mut tx,
            "SELECT instance_id FROM sessions WHERE token = $1",
            &[Some(id)],
        )
        .await?;
        let done =
            sqlx::query("DELETE FROM tokens WHERE id = $1").bind(id).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Stores a login token under its digest. `false` when the instance, or the account's session
    /// that it was created from, is gone.
    pub async fn add_login_token(&self, hash: &str, leave: &Session) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO login_tokens (hash, instance_id, identity, account_session, expires_at, token)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(hash)
        .bind(leave.instance.as_str())
        .bind(&leave.identity)
        .bind(leave.account_session.as_deref())
        .bind(leave.expires_at.as_millis())
        .bind(leave.token.as_deref())
        .execute(&self.write)
        .await;
        row::unless_orphan(done)
    }

    /// Removes a login token of `instance`, so that it works once; `None` when it does not exist,
    /// has expired, or its creator may no longer access the instance. A login token of another
    /// instance is not removed.
    pub async fn take_login_token(
        &self,
        hash: &str,
        instance: &InstanceId,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        let row = sqlx::query(held!("login_tokens"))
            .bind(hash)
            .bind(now.as_millis())
            .fetch_optional(&mut *tx)
            .await?;
        let found = row.as_ref().map(held).transpose()?.flatten();
        let Some(found) = found.filter(|ticket| ticket.instance == *instance) else {
            return Ok(None);
        };
        sqlx::query("DELETE FROM login_tokens WHERE hash = $1")
            .bind(hash)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Some(found))
    }

    /// Stores a session under its digest. `false` when the instance, or the account's session that
    /// it was created from, is gone.
    pub async fn add_session(&self, hash: &str, session: &Session) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO sessions
                (hash, instance_id, identity, account_session, created_at, expires_at, token)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(hash)
        .bind(session.instance.as_str())
        .bind(&session.identity)
        .bind(session.account_session.as_deref())
        .bind(Timestamp::now().as_millis())
        .bind(session.expires_at.as_millis())
        .bind(session.token.as_deref())
        .execute(&self.write)
        .await;
        row::unless_orphan(done)
    }

    /// The session with this digest, if it has not ended. It is valid while the principal that it
    /// came from (an account's session or an API token) may access the instance.
    pub async fn session_by_hash(
        &self,
        hash: &str,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        let row = sqlx::query(held!("sessions"))
            .bind(hash)
            .bind(now.as_millis())
            .fetch_optional(&self.read)
            .await?;
        Ok(row.as_ref().map(held).transpose()?.flatten())
    }
}

/// The session, if its principal may access the instance.
fn held(row: &SqliteRow) -> Result<Option<Session>, StoreError> {
    let found = session(row)?;
    let principal = if found.account_session.is_some() {
        Principal::Account {
            id: AccountId(row.try_get("holder")?),
            admin: row.try_get::<i64, _>("admin")? != 0,
            state: row::enum_from_text(row.try_get("state")?)?,
        }
    } else if found.token.is_some() {
        Principal::Token(row::json(row, "scopes")?)
    } else {
        Principal::Operator
    };
    let name = row::name(row.try_get("name")?)?;
    let owner = row.try_get::<Option<String>, _>("account_id")?.map(AccountId);
    Ok(principal.can_access(&name, owner.as_ref()).then_some(found))
}
