//! Accounts.

use std::collections::HashMap;

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use startclaw_model::{
    Account, AccountId, AccountState, Desired, Email, InstanceId, Quota, Timestamp,
};

use crate::{IMMEDIATE, LinkKind, Store, StoreError, account_access, endings, row};

/// What an account has in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Instances.
    pub instances: u32,
    /// The sum of their hard limits, in MiB.
    pub memory_mib: u64,
    /// The data in their newest backups, in MiB.
    pub disk_mib: u64,
}

/// An account after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// What it is now.
    pub account: Account,
    /// The instances in which it was, and now may not be any more.
    pub out: Vec<InstanceId>,
}

fn account(row: &SqliteRow) -> Result<Account, StoreError> {
    let quota: Option<String> = row.try_get("quota")?;
    Ok(Account {
        id: AccountId(row.try_get("id")?),
        email: row::from_word(row.try_get("email")?)?,
        admin: row.try_get::<i64, _>("admin")? != 0,
        state: row::from_word(row.try_get("state")?)?,
        confirmed_at: row::maybe_time(row, "confirmed_at")?,
        quota: quota.map(|q| serde_json::from_str(&q)).transpose()?,
        created_at: row::time(row, "created_at")?,
        signed_in_at: row::maybe_time(row, "signed_in_at")?,
    })
}

impl Store {
    /// Stores an account with its password's hash, if it has one. The invitation with this digest
    /// is used up in the same transaction: it makes one account, and is lost for nothing.
    ///
    /// # Errors
    /// [`StoreError::EmailTaken`], [`StoreError::DeadLink`].
    pub async fn add_account(
        &self,
        new: &Account,
        password: Option<&str>,
        invitation: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        let taken = sqlx::query("SELECT 1 FROM accounts WHERE email = $1")
            .bind(new.email.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        if taken.is_some() {
            return Err(StoreError::EmailTaken);
        }
        if let Some(hash) = invitation
            && !account_access::use_up(&mut tx, hash, Timestamp::now()).await?
        {
            return Err(StoreError::DeadLink);
        }
        sqlx::query(
            "INSERT INTO accounts (id, email, password, admin, state, confirmed_at, quota, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(new.id.as_str())
        .bind(new.email.as_str())
        .bind(password)
        .bind(i64::from(new.admin))
        .bind(row::word(&new.state)?)
        .bind(new.confirmed_at.map(Timestamp::as_millis))
        .bind(new.quota.map(|q| serde_json::to_string(&q)).transpose()?)
        .bind(new.created_at.as_millis())
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// One account.
    pub async fn account(&self, id: &AccountId) -> Result<Option<Account>, StoreError> {
        let mut connection = self.read.acquire().await?;
        by_id(&mut connection, id).await
    }

    /// The account of an address, with its password's hash.
    pub async fn account_and_password(
        &self,
        email: &Email,
    ) -> Result<Option<(Account, Option<String>)>, StoreError> {
        let row = sqlx::query("SELECT * FROM accounts WHERE email = $1")
            .bind(email.as_str())
            .fetch_optional(&self.read)
            .await?;
        row.map(|r| Ok((account(&r)?, r.try_get("password")?))).transpose()
    }

    /// All accounts, by address.
    pub async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM accounts ORDER BY email").fetch_all(&self.read).await?;
        rows.iter().map(account).collect()
    }

    /// Changes an account by `change`, from what is stored of it at that moment: what somebody
    /// else changed meanwhile stays changed. Who is kept out is signed out. `None` when the account is gone.
    ///
    /// # Errors
    /// [`StoreError::LastAdmin`] for a change after which nobody who can sign in is an admin.
    pub async fn change_account(
        &self,
        id: &AccountId,
        change: impl FnOnce(&mut Account) + Send,
    ) -> Result<Option<Changed>, StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        let Some(before) = by_id(&mut tx, id).await? else { return Ok(None) };
        let mut changed = before.clone();
        change(&mut changed);
        let active = row::word(&AccountState::Active)?;
        if administers(&before) && !administers(&changed) {
            let other = sqlx::query(
                "SELECT 1 FROM accounts WHERE admin <> 0 AND state = $1 AND id <> $2 LIMIT 1",
            )
            .bind(active)
            .bind(id.as_str())
            .fetch_optional(&mut *tx)
            .await?;
            other.ok_or(StoreError::LastAdmin)?;
        }
        sqlx::query(
            "UPDATE accounts SET admin = $1, state = $2, confirmed_at = $3, quota = $4
             WHERE id = $5",
        )
        .bind(i64::from(changed.admin))
        .bind(row::word(&changed.state)?)
        .bind(changed.confirmed_at.map(Timestamp::as_millis))
        .bind(changed.quota.map(|q| serde_json::to_string(&q)).transpose()?)
        .bind(id.as_str())
        .execute(&mut *tx)
        .await?;
        let barred = changed.state != AccountState::Active;
        let out = if barred || before.admin && !changed.admin {
            endings::entered(&mut tx, id, None, None).await?
        } else {
            Vec::new()
        };
        if barred {
            endings::end(&mut tx, id, None, None).await?;
        }
        tx.commit().await?;
        Ok(Some(Changed { account: changed, out }))
    }

    /// Replaces an account's password. Links that were to set one are good for nothing any more.
    pub async fn set_password(&self, id: &AccountId, hash: &str) -> Result<(), StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        sqlx::query("UPDATE accounts SET password = $1 WHERE id = $2")
            .bind(hash)
            .bind(id.as_str())
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM links WHERE account_id = $1 AND kind = $2")
            .bind(id.as_str())
            .bind(row::word(&LinkKind::Password)?)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Forgets an account that has no instances any more, with its sessions, passkeys and links.
    /// `false` while there are instances.
    pub async fn remove_account(&self, id: &AccountId) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "DELETE FROM accounts WHERE id = $1
             AND NOT EXISTS (SELECT 1 FROM instances WHERE account_id = $1)",
        )
        .bind(id.as_str())
        .execute(&self.write)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Gives an instance to an account. `false` when the account is gone or leaves: its instances
    /// go with it.
    pub async fn give(&self, instance: &InstanceId, to: &AccountId) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE instances SET account_id = $1, revision = revision + 1 WHERE id = $2
             AND EXISTS (SELECT 1 FROM accounts WHERE id = $1 AND state <> $3)",
        )
        .bind(to.as_str())
        .bind(instance.as_str())
        .bind(row::word(&AccountState::Leaving)?)
        .execute(&self.write)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// What an account has.
    pub async fn usage(&self, id: &AccountId) -> Result<Usage, StoreError> {
        let mut connection = self.read.acquire().await?;
        usage(&mut connection, id).await
    }

    /// What each account has; one without instances is left out.
    pub async fn usages(&self) -> Result<HashMap<AccountId, Usage>, StoreError> {
        let mut connection = self.read.acquire().await?;
        usages(&mut connection, None).await
    }
}

async fn by_id(tx: &mut SqliteConnection, id: &AccountId) -> Result<Option<Account>, StoreError> {
    let row = sqlx::query("SELECT * FROM accounts WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(tx)
        .await?;
    row.as_ref().map(account).transpose()
}

fn administers(account: &Account) -> bool {
    account.admin && account.state == AccountState::Active
}

async fn usage(tx: &mut SqliteConnection, id: &AccountId) -> Result<Usage, StoreError> {
    Ok(usages(tx, Some(id)).await?.remove(id).unwrap_or_default())
}

async fn usages(
    tx: &mut SqliteConnection,
    only: Option<&AccountId>,
) -> Result<HashMap<AccountId, Usage>, StoreError> {
    let rows = sqlx::query(
        "SELECT account_id, desired, (SELECT s.bytes FROM snapshots s WHERE s.instance_id = i.id
                                      ORDER BY s.taken_at DESC LIMIT 1) AS bytes
         FROM instances i WHERE account_id IS NOT NULL AND ($1 IS NULL OR account_id = $1)",
    )
    .bind(only.map(AccountId::as_str))
    .fetch_all(tx)
    .await?;
    let mut all: HashMap<_, Usage> = HashMap::new();
    for row in &rows {
        let desired: Desired = row::json(row, "desired")?;
        let bytes = row.try_get::<Option<i64>, _>("bytes")?.unwrap_or(0);
        let used = all.entry(AccountId(row.try_get("account_id")?)).or_default();
        used.instances += 1;
        used.memory_mib += desired.profile.limits.memory_hard_mib;
        used.disk_mib += u64::try_from(bytes >> 20).unwrap_or(0);
    }
    Ok(all)
}

/// Refuses an instance that would be more than its account may have.
pub(crate) async fn check_quota(
    tx: &mut SqliteConnection,
    id: &AccountId,
    memory_mib: u64,
    everybody: Quota,
) -> Result<(), StoreError> {
    let found = by_id(tx, id).await?;
    let Some(found) = found.filter(|a| a.state == AccountState::Active) else {
        return Err(StoreError::Quota("this account cannot make instances".into()));
    };
    let may = found.quota.unwrap_or(everybody);
    let used = usage(tx, id).await?;
    if used.instances >= may.instances {
        return Err(StoreError::Quota(format!(
            "this account may have {} and has {}",
            counted(may.instances),
            used.instances
        )));
    }
    if used.memory_mib + memory_mib > may.memory_mib {
        return Err(StoreError::Quota(format!(
            "this account may use {} MiB of memory, and this would make {} MiB",
            may.memory_mib,
            used.memory_mib + memory_mib
        )));
    }
    if used.disk_mib >= may.disk_mib {
        return Err(StoreError::Quota(format!(
            "this account may hold {} MiB of data and holds {} MiB",
            may.disk_mib, used.disk_mib
        )));
    }
    Ok(())
}

fn counted(instances: u32) -> String {
    if instances == 1 { "1 instance".to_owned() } else { format!("{instances} instances") }
}
