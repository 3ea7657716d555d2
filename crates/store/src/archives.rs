//! Archives: what is needed to restore removed instances.

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use startclaw_model::{AccountId, Desired, InstanceId, Name, Owner, Timestamp};

use crate::{SealedSecret, Store, StoreError, row};

/// A removed instance that has snapshots.
#[derive(Debug, Clone)]
pub struct Archive {
    pub id: InstanceId,
    pub name: Name,
    /// Its owner.
    pub owner: Owner,
    /// Its account.
    pub account: Option<AccountId>,
    /// Its last desired state.
    pub desired: Desired,
    /// Its data key, wrapped by the vault.
    pub wrapped_key: String,
    /// Its secrets.
    pub secrets: Vec<SealedSecret>,
    /// When it was removed.
    pub removed_at: Timestamp,
    /// Whether the deletion of its backups was requested.
    pub purge: bool,
}

impl Store {
    /// The last removed instance of this name, if the deletion of its backups was not requested.
    pub async fn archive(&self, name: &Name) -> Result<Option<Archive>, StoreError> {
        let row = sqlx::query(
            "SELECT * FROM archives WHERE name = $1 AND purge = 0 ORDER BY removed_at DESC LIMIT 1",
        )
        .bind(name.as_str())
        .fetch_optional(&self.read)
        .await?;
        row.as_ref().map(archive).transpose()
    }

    /// All removed instances that can be restored, by name.
    pub async fn archives(&self) -> Result<Vec<Archive>, StoreError> {
        let rows = sqlx::query("SELECT * FROM archives ORDER BY name, removed_at")
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(archive).collect()
    }

    /// Begins the deletion of a removed instance's backups: it cannot be restored from here on.
    pub async fn begin_erasing(&self, instance: &InstanceId) -> Result<(), StoreError> {
        sqlx::query("UPDATE archives SET purge = 1 WHERE instance_id = $1")
            .bind(instance.as_str())
            .execute(&self.write)
            .await?;
        Ok(())
    }

    /// Deletes the archive of a removed instance: its backups were deleted.
    pub async fn drop_archive(&self, instance: &InstanceId) -> Result<(), StoreError> {
        self.drop_snapshots(instance).await?;
        sqlx::query("DELETE FROM archives WHERE instance_id = $1")
            .bind(instance.as_str())
            .execute(&self.write)
            .await?;
        Ok(())
    }
}

/// Archives what is needed to restore an instance, if it has snapshots.
pub(crate) async fn keep(tx: &mut SqliteConnection, id: &InstanceId) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT OR REPLACE INTO archives
            (instance_id, name, owner, account_id, desired, wrapped_key, secrets, removed_at)
         SELECT id, name, owner, account_id, desired, wrapped_key,
            (SELECT json_group_array(json_array(name, sealed, updated_at))
             FROM secrets WHERE instance_id = instances.id),
            $2
         FROM instances
         WHERE id = $1 AND EXISTS (SELECT 1 FROM snapshots WHERE instance_id = $1)",
    )
    .bind(id.as_str())
    .bind(Timestamp::now().as_millis())
    .execute(tx)
    .await?;
    Ok(())
}

fn archive(row: &SqliteRow) -> Result<Archive, StoreError> {
    let secrets: Vec<(startclaw_model::SecretName, String, i64)> = row::json(row, "secrets")?;
    Ok(Archive {
        id: InstanceId(row.try_get("instance_id")?),
        name: row::name(row.try_get("name")?)?,
        owner: row::enum_from_text(row.try_get("owner")?)?,
        account: row.try_get::<Option<String>, _>("account_id")?.map(AccountId),
        desired: row::json(row, "desired")?,
        wrapped_key: row.try_get("wrapped_key")?,
        secrets: secrets
            .into_iter()
            .map(|(name, sealed, at)| SealedSecret {
                name,
                sealed,
                updated_at: Timestamp::from_millis(at),
            })
            .collect(),
        removed_at: row::time(row, "removed_at")?,
        purge: row.try_get::<i64, _>("purge")? != 0,
    })
}
