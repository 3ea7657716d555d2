//! Sign-in to accounts: sessions, one-time links, passkeys. Only digests of secrets are stored.

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use startclaw_model::{AccountId, AccountState, Email, Timestamp};

use crate::{Store, StoreError, row};

/// A session of an account on one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSession {
    /// The digest of the cookie's value.
    pub hash: String,
    /// Its public id, for lists.
    pub id: String,
    pub account: AccountId,
    /// The browser and system, from its user agent.
    pub device: String,
    /// The client's address at the last request.
    pub address: String,
    /// Since when.
    pub created_at: Timestamp,
    /// The last request, to a few minutes.
    pub seen_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
}

/// The purpose of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    /// Confirms an e-mail address.
    Confirm,
    /// Sets a password.
    Password,
    /// Invites to sign up.
    Invite,
}

/// A one-time link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The digest of its secret.
    pub hash: String,
    /// Its public id, for lists.
    pub id: String,
    pub kind: LinkKind,
    /// The account it is for, if any.
    pub account: Option<AccountId>,
    /// The only address that it is for.
    pub email: Option<Email>,
    pub created_by: String,
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// A passkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkey {
    /// The credential's id.
    pub id: String,
    pub account: AccountId,
    /// Its name, chosen by its owner.
    pub label: String,
    /// Public key and counter, as JSON.
    pub credential: String,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last used.
    pub used_at: Option<Timestamp>,
}

fn session(row: &SqliteRow) -> Result<AccountSession, StoreError> {
    Ok(AccountSession {
        hash: row.try_get("hash")?,
        id: row.try_get("id")?,
        account: AccountId(row.try_get("account_id")?),
        device: row.try_get("device")?,
        address: row.try_get("address")?,
        created_at: row::time(row, "created_at")?,
        seen_at: row::time(row, "seen_at")?,
        expires_at: row::time(row, "expires_at")?,
    })
}

fn link(row: &SqliteRow) -> Result<Link, StoreError> {
    Ok(Link {
        hash: row.try_get("hash")?,
        id: row.try_get("id")?,
        kind: row::enum_from_text(row.try_get("kind")?)?,
        account: row.try_get::<Option<String>, _>("account_id")?.map(AccountId),
        email: row.try_get::<Option<String>, _>("email")?.map(row::enum_from_text).transpose()?,
        created_by: row.try_get("created_by")?,
        created_at: row::time(row, "created_at")?,
        expires_at: row::time(row, "expires_at")?,
    })
}

fn passkey(row: &SqliteRow) -> Result<Passkey, StoreError> {
    Ok(Passkey {
        id: row.try_get("id")?,
        account: AccountId(row.try_get("account_id")?),
        label: row.try_get("label")?,
        credential: row.try_get("credential")?,
        created_at: row::time(row, "created_at")?,
        used_at: row::maybe_time(row, "used_at")?,
    })
}

impl Store {
    /// Stores a session, and the time of the sign-in. `false` when the account is not active: it
    /// may have been suspended while its password was verified.
    pub async fn add_account_session(&self, new: &AccountSession) -> Result<bool, StoreError> {
        let mut tx = self.write.begin_with(crate::IMMEDIATE).await?;
        let done =
            sqlx::query("UPDATE accounts SET signed_in_at = $1 WHERE id = $2 AND state = $3")
                .bind(new.created_at.as_millis())
                .bind(new.account.as_str())
                .bind(row::enum_to_text(&AccountState::Active)?)
                .execute(&mut *tx)
                .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO account_sessions
                (hash, id, account_id, device, address, created_at, seen_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(&new.hash)
        .bind(&new.id)
        .bind(new.account.as_str())
        .bind(&new.device)
        .bind(&new.address)
        .bind(new.created_at.as_millis())
        .bind(new.seen_at.as_millis())
        .bind(new.expires_at.as_millis())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The session with this digest, if it has not ended.
    pub async fn account_session(
        &self,
        hash: &str,
        now: Timestamp,
    ) -> Result<Option<AccountSession>, StoreError> {
        let row = sqlx::query("SELECT * FROM account_sessions WHERE hash = $1 AND expires_at > $2")
            .bind(hash)
            .bind(now.as_millis())
            .fetch_optional(&self.read)
            .await?;
        row.as_ref().map(session).transpose()
    }

    /// The sessions of an account that have not ended, the last seen first.
    pub async fn account_sessions(
        &self,
        id: &AccountId,
        now: Timestamp,
    ) -> Result<Vec<AccountSession>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM account_sessions WHERE account_id = $1 AND expires_at > $2
             ORDER BY seen_at DESC, id",
        )
        .bind(id.as_str())
        .bind(now.as_millis())
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(session).collect()
    }

    /// Records the last request of a session.
    pub async fn touch_account_session(
        &self,
        hash: &str,
        address: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE account_sessions SET seen_at = $1, address = $2 WHERE hash = $3")
            .bind(now.as_millis())
            .bind(address)
            .bind(hash)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    /// Stores a link. It replaces earlier ones of the same kind for the same account.
    pub async fn add_link(&self, new: &Link) -> Result<(), StoreError> {
        let kind = row::enum_to_text(&new.kind)?;
        let account = new.account.as_ref().map(AccountId::as_str);
        let mut tx = self.write.begin_with(crate::IMMEDIATE).await?;
        sqlx::query("DELETE FROM links WHERE kind = $1 AND account_id = $2")
            .bind(&kind)
            .bind(account)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "INSERT INTO links (hash, id, kind, account_id, email, created_by, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(&new.hash)
        .bind(&new.id)
        .bind(kind)
        .bind(account)
        .bind(new.email.as_ref().map(Email::as_str))
        .bind(&new.created_by)
        .bind(new.created_at.as_millis())
        .bind(new.expires_at.as_millis())
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// The link with this digest, if it is valid.
    pub async fn link(&self, hash: &str, now: Timestamp) -> Result<Option<Link>, StoreError> {
        let row = sqlx::query("SELECT * FROM links WHERE hash = $1 AND expires_at > $2")
            .bind(hash)
            .bind(now.as_millis())
            .fetch_optional(&self.read)
            .await?;
        row.as_ref().map(link).transpose()
    }

    /// The valid links of one kind, newest first.
    pub async fn links(&self, kind: LinkKind, now: Timestamp) -> Result<Vec<Link>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM links WHERE kind = $1 AND expires_at > $2 ORDER BY created_at DESC, id",
        )
        .bind(row::enum_to_text(&kind)?)
        .bind(now.as_millis())
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(link).collect()
    }

    /// Revokes a link of one kind; `false` when it does not exist.
    pub async fn remove_link(&self, kind: LinkKind, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM links WHERE id = $1 AND kind = $2")
            .bind(id)
            .bind(row::enum_to_text(&kind)?)
            .execute(&self.write)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Stores a new passkey. `false` when the id exists, also in another account: an authenticator
    /// chooses the id, and could choose that of another user's passkey.
    pub async fn add_passkey(&self, key: &Passkey) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO passkeys (id, account_id, label, credential, created_at, used_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&key.id)
        .bind(key.account.as_str())
        .bind(&key.label)
        .bind(&key.credential)
        .bind(key.created_at.as_millis())
        .bind(key.used_at.map(Timestamp::as_millis))
        .execute(&self.write)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Stores the changes from a use of a passkey. `false` when it was removed meanwhile.
    pub async fn passkey_used(&self, key: &Passkey) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE passkeys SET credential = $1, used_at = $2 WHERE id = $3 AND account_id = $4",
        )
        .bind(&key.credential)
        .bind(key.used_at.map(Timestamp::as_millis))
        .bind(&key.id)
        .bind(key.account.as_str())
        .execute(&self.write)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// The passkeys of an account, the oldest first.
    pub async fn passkeys(&self, account: &AccountId) -> Result<Vec<Passkey>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM passkeys WHERE account_id = $1 ORDER BY created_at, id")
                .bind(account.as_str())
                .fetch_all(&self.read)
                .await?;
        rows.iter().map(passkey).collect()
    }

    /// Removes a passkey of an account; `false` when it does not exist.
    pub async fn remove_passkey(&self, account: &AccountId, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM passkeys WHERE id = $1 AND account_id = $2")
            .bind(id)
            .bind(account.as_str())
            .execute(&self.write)
            .await?;
        Ok(done.rows_affected() > 0)
    }
}

/// Redeems a link; `false` when it was used before or has expired.
pub(crate) async fn use_up(
    tx: &mut SqliteConnection,
    hash: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM links WHERE hash = $1 AND expires_at > $2")
        .bind(hash)
        .bind(now.as_millis())
        .execute(tx)
        .await?;
    Ok(done.rows_affected() > 0)
}
