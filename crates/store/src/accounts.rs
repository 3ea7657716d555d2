//! Accounts.

use std::collections::HashMap;

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use startclaw_model::{
    Account, AccountId, AccountState, Desired, Email, InstanceId, Owner, Quota, Timestamp,
};

use crate::{IMMEDIATE, LinkKind, Store, StoreError, account_access, row, session_end};

/// The total usage of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Instances.
    pub instances: u32,
    /// The sum of their hard limits, in MiB.
    pub memory_mib: u64,
    /// The data in their newest backups, in MiB.
    pub disk_mib: u64,
}

/// The result of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The owner's identity in OpenClaw.
    pub owner: Owner,
    /// Whether the owner changed.
    pub changed: bool,
}

fn account(row: &SqliteRow) -> Result<Account, StoreError> {
    let quota: Option<String> = row.try_get("quota")?;
    Ok(Account {
        id: AccountId(row.try_get("id")?),
        email: row::enum_from_text(row.try_get("email")?)?,
        admin: row.try_get::<i64, _>("admin")? != 0,
        state: row::enum_from_text(row.try_get("state")?)?,
        confirmed_at: row::maybe_time(row, "confirmed_at")?,
        quota: quota.map(|q| serde_json::from_str(&q)).transpose()?,
        created_at: row::time(row, "created_at")?,
        signed_in_at: row::maybe_time(row, "signed_in_at")?,
    })
}

impl Store {
    /// Stores an account with the hash of its password, if it has one. The invitation with this
    /// digest is redeemed in the same transaction: it creates exactly one account, and is kept if
    /// that fails.
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
        .bind(row::enum_to_text(&new.state)?)
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

    /// The account of an address, with the hash of its password.
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

    /// Applies `change` to the account as it is stored now, so that concurrent changes are kept.
    /// Sessions that it may no longer have end in the same transaction. `None` when the account is
    /// gone.
    ///
    /// # Errors
    /// [`StoreError::LastAdmin`] for a change after which no account that can sign in is an admin,
    /// unless `last_admin` allows it.
    pub async fn change_account(
        &self,
        id: &AccountId,
        last_admin: bool,
        change: impl FnOnce(&mut Account) + Send,
    ) -> Result<Option<Account>, StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        let Some(before) = by_id(&mut tx, id).await? else { return Ok(None) };
        let mut changed = before.clone();
        change(&mut changed);
        let active = row::enum_to_text(&AccountState::Active)?;
        if !last_admin && administers(&before) && !administers(&changed) {
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
        .bind(row::enum_to_text(&changed.state)?)
        .bind(changed.confirmed_at.map(Timestamp::as_millis))
        .bind(changed.quota.map(|q| serde_json::to_string(&q)).transpose()?)
        .bind(id.as_str())
        .execute(&mut *tx)
        .await?;
        if changed.state != AccountState::Active {
            session_end::end(&mut tx, id, None, None).await?;
            session_end::end_in_instances_of(&mut tx, id).await?;
        } else if before.admin && !changed.admin {
            session_end::end_in_others(&mut tx, id).await?;
        }
        tx.commit().await?;
        Ok(Some(changed))
    }

    /// Replaces an account's password, and ends all its sessions except the one with the digest
    /// `but`, in one transaction. Pending links to set a password become invalid. If a `link` is
    /// given, it is redeemed, and the address is confirmed.
    ///
    /// # Errors
    /// [`StoreError::DeadLink`].
    pub async fn set_password(
        &self,
        id: &AccountId,
        hash: &str,
        link: Option<&str>,
        but: Option<&str>,
    ) -> Result<(), StoreError> {
        let (mut tx, now) = (self.write.begin_with(IMMEDIATE).await?, Timestamp::now());
        if let Some(link) = link
            && !account_access::use_up(&mut tx, link, now).await?
        {
            return Err(StoreError::DeadLink);
        }
        sqlx::query("UPDATE accounts SET password = $1 WHERE id = $2")
            .bind(hash)
            .bind(id.as_str())
            .execute(&mut *tx)
            .await?;
        if link.is_some() {
            confirm(&mut tx, id, now).await?;
        }
        sqlx::query("DELETE FROM links WHERE account_id = $1 AND kind = $2")
            .bind(id.as_str())
            .bind(row::enum_to_text(&LinkKind::Password)?)
            .execute(&mut *tx)
            .await?;
        session_end::end(&mut tx, id, None, but).await?;
        Ok(tx.commit().await?)
    }

    /// Redeems a link and confirms the account's address, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::DeadLink`].
    pub async fn confirm_by_link(&self, id: &AccountId, link: &str) -> Result<(), StoreError> {
        let (mut tx, now) = (self.write.begin_with(IMMEDIATE).await?, Timestamp::now());
        if !account_access::use_up(&mut tx, link, now).await? {
            return Err(StoreError::DeadLink);
        }
        confirm(&mut tx, id, now).await?;
        Ok(tx.commit().await?)
    }

    /// Deletes an account without instances, with its sessions, passkeys and links. `false` while
    /// it has instances.
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

    /// Transfers an instance to an account, which also becomes its owner in OpenClaw. All sessions,
    /// sign-in links and tokens of this instance end in the same transaction, because they belong
    /// to the previous owner. `None` when the account is gone or pending deletion, because its
    /// instances are deleted with it.
    pub async fn transfer(
        &self,
        instance: &InstanceId,
        to: &AccountId,
    ) -> Result<Option<Transfer>, StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        let Some(account) = by_id(&mut tx, to).await? else { return Ok(None) };
        let before = sqlx::query("SELECT * FROM instances WHERE id = $1")
            .bind(instance.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        let Some(before) = before.as_ref().map(row::instance).transpose()? else {
            return Ok(None);
        };
        if account.state == AccountState::PendingDeletion {
            return Ok(None);
        }
        let owner = account.email.owner();
        if before.account.as_ref() == Some(to) && before.owner == owner {
            return Ok(Some(Transfer { owner, changed: false }));
        }
        sqlx::query("UPDATE instances SET account_id = $1, owner = $2, revision = revision + 1 WHERE id = $3")
            .bind(to.as_str())
            .bind(owner.as_str())
            .bind(instance.as_str())
            .execute(&mut *tx)
            .await?;
        session_end::end_in(&mut tx, instance).await?;
        session_end::mark(
            &mut tx,
            "SELECT s.instance_id FROM sessions s JOIN tokens t ON t.id = s.token
             WHERE t.instance = $1",
            &[Some(before.name.as_str())],
        )
        .await?;
        sqlx::query("DELETE FROM tokens WHERE instance = $1")
            .bind(before.name.as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Some(Transfer { owner, changed: true }))
    }

    /// The usage of an account.
    pub async fn usage(&self, id: &AccountId) -> Result<Usage, StoreError> {
        let mut connection = self.read.acquire().await?;
        usage(&mut connection, id).await
    }

    /// The usage of each account that has instances.
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

async fn confirm(
    tx: &mut SqliteConnection,
    id: &AccountId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE accounts SET confirmed_at = COALESCE(confirmed_at, $1) WHERE id = $2")
        .bind(now.as_millis())
        .bind(id.as_str())
        .execute(tx)
        .await?;
    Ok(())
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
                                      ORDER BY s.sequence IS NULL, s.sequence DESC, s.taken_at DESC LIMIT 1) AS bytes
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

/// Rejects an instance that would exceed its account's quota.
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
