//! Secrets, sealed by the vault.

use sqlx::{Row, SqliteConnection};
use startclaw_model::{InstanceId, SecretName, Timestamp};

use crate::{Store, StoreError, row};

/// A secret that only the vault can open.
#[derive(Debug, Clone)]
pub struct SealedSecret {
    pub name: SecretName,
    /// Its sealed value.
    pub sealed: String,
    /// When it was set.
    pub updated_at: Timestamp,
}

pub(crate) async fn put(
    tx: &mut SqliteConnection,
    id: &InstanceId,
    secret: &SealedSecret,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO secrets (instance_id, name, sealed, updated_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (instance_id, name)
         DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at",
    )
    .bind(id.as_str())
    .bind(secret.name.as_str())
    .bind(&secret.sealed)
    .bind(secret.updated_at.as_millis())
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) async fn remove(
    tx: &mut SqliteConnection,
    id: &InstanceId,
    name: &SecretName,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM secrets WHERE instance_id = $1 AND name = $2")
        .bind(id.as_str())
        .bind(name.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

impl Store {
    /// The sealed secrets of an instance, by name.
    pub async fn secrets(&self, id: &InstanceId) -> Result<Vec<SealedSecret>, StoreError> {
        let rows = sqlx::query("SELECT * FROM secrets WHERE instance_id = $1 ORDER BY name")
            .bind(id.as_str())
            .fetch_all(&self.read)
            .await?;
        rows.iter()
            .map(|r| {
                Ok(SealedSecret {
                    name: row::enum_from_text(r.try_get("name")?)?,
                    sealed: r.try_get("sealed")?,
                    updated_at: row::time(r, "updated_at")?,
                })
            })
            .collect()
    }
}
