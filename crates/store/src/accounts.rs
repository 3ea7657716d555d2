//! Accounts.

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use startclaw_model::{
    Account, AccountId, AccountState, Desired, Email, InstanceId, Quota, Timestamp,
};

use crate::{IMMEDIATE, Store, StoreError, row};

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
    /// Stores an account with its password's hash, if it has one.
    ///
    /// # Errors
    /// [`StoreError::EmailTaken`].
    pub async fn add_account(
        &self,
        new: &Account,
        password: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        let taken = sqlx::query("SELECT 1 FROM accounts WHERE email = $1")
            .bind(new.email.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        if taken.is_some() {
            return Err(StoreError::EmailTaken);
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
        let row = sqlx::query("SELECT * FROM accounts WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&self.read)
            .await?;
        row.as_ref().map(account).transpose()
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

    /// Writes an account as it is now; its password stays. `false` when it is gone.
    pub async fn save_account(&self, changed: &Account) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE accounts SET admin = $1, state = $2, confirmed_at = $3, quota = $4,
                signed_in_at = $5 WHERE id = $6",
        )
        .bind(i64::from(changed.admin))
        .bind(row::word(&changed.state)?)
        .bind(changed.confirmed_at.map(Timestamp::as_millis))
        .bind(changed.quota.map(|q| serde_json::to_string(&q)).transpose()?)
        .bind(changed.signed_in_at.map(Timestamp::as_millis))
        .bind(changed.id.as_str())
        .execute(&self.write)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Replaces an account's password.
    pub async fn set_password(&self, id: &AccountId, hash: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE accounts SET password = $1 WHERE id = $2")
            .bind(hash)
            .bind(id.as_str())
            .execute(&self.write)
            .await?;
        Ok(())
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

    /// Gives an instance to an account, or to none.
    pub async fn give(
        &self,
        instance: &InstanceId,
        to: Option<&AccountId>,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE instances SET account_id = $1 WHERE id = $2")
            .bind(to.map(AccountId::as_str))
            .bind(instance.as_str())
            .execute(&self.write)
            .await?;
        Ok(())
    }

    /// What an account has.
    pub async fn usage(&self, id: &AccountId) -> Result<Usage, StoreError> {
        let mut connection = self.read.acquire().await?;
        usage(&mut connection, id).await
    }
}

async fn usage(tx: &mut SqliteConnection, id: &AccountId) -> Result<Usage, StoreError> {
    let rows = sqlx::query(
        "SELECT desired, (SELECT s.bytes FROM snapshots s WHERE s.instance_id = i.id
                          ORDER BY s.taken_at DESC LIMIT 1) AS bytes
         FROM instances i WHERE account_id = $1",
    )
    .bind(id.as_str())
    .fetch_all(tx)
    .await?;
    let mut used = Usage::default();
    for row in &rows {
        let desired: Desired = row::json(row, "desired")?;
        let bytes = row.try_get::<Option<i64>, _>("bytes")?.unwrap_or(0);
        used.instances += 1;
        used.memory_mib += desired.profile.limits.memory_hard_mib;
        used.disk_mib += u64::try_from(bytes >> 20).unwrap_or(0);
    }
    Ok(used)
}

/// Refuses an instance that would be more than its account may have.
pub(crate) async fn check_quota(
    tx: &mut SqliteConnection,
    id: &AccountId,
    memory_mib: u64,
    everybody: Quota,
) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT * FROM accounts WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    let found = row.as_ref().map(account).transpose()?;
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
