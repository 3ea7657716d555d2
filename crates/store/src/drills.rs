//! Results of drills and of the verification of stored data.

use std::collections::HashMap;

use sqlx::{Row, sqlite::SqliteRow};
use startclaw_model::{InstanceId, Name, SnapshotId, Timestamp};

use crate::{IMMEDIATE, Store, StoreError, row};

/// The last drill of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drill {
    pub instance: InstanceId,
    pub name: Name,
    /// The tested snapshot.
    pub snapshot: Option<SnapshotId>,
    /// When it ended.
    pub at: Timestamp,
    /// Why it failed.
    pub error: Option<String>,
}

/// Forgets which parts of an instance's stored data were verified.
pub(crate) const FORGET_VERIFIED: &str = "DELETE FROM verified_parts WHERE instance_id = $1";

impl Store {
    /// Stores the result of a drill, and deletes those of removed instances.
    pub async fn note_drill(&self, drill: &Drill) -> Result<(), StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        sqlx::query("DELETE FROM drills WHERE instance_id NOT IN (SELECT id FROM instances)")
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "INSERT INTO drills (instance_id, name, snapshot, at, error) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (instance_id) DO UPDATE SET name = excluded.name,
                snapshot = excluded.snapshot, at = excluded.at, error = excluded.error",
        )
        .bind(drill.instance.as_str())
        .bind(drill.name.as_str())
        .bind(drill.snapshot.as_ref().map(SnapshotId::as_str))
        .bind(drill.at.as_millis())
        .bind(&drill.error)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// The last drill of each instance, newest first.
    pub async fn drills(&self) -> Result<Vec<Drill>, StoreError> {
        let rows = sqlx::query("SELECT * FROM drills ORDER BY at DESC, instance_id")
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(drill).collect()
    }

    /// The time of each instance's first snapshot at the destination.
    pub async fn first_stored(&self) -> Result<HashMap<InstanceId, Timestamp>, StoreError> {
        let rows = sqlx::query(
            "SELECT instance_id, MIN(taken_at) AS taken_at FROM snapshots WHERE remote = 1
             GROUP BY instance_id",
        )
        .fetch_all(&self.read)
        .await?;
        rows.iter()
            .map(|r| Ok((InstanceId(r.try_get("instance_id")?), row::time(r, "taken_at")?)))
            .collect()
    }

    /// Records the verification of a part of an instance's stored data.
    pub async fn note_verified(
        &self,
        id: &InstanceId,
        part: u32,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO verified_parts (instance_id, part, at) VALUES ($1, $2, $3)
             ON CONFLICT (instance_id, part) DO UPDATE SET at = excluded.at",
        )
        .bind(id.as_str())
        .bind(i64::from(part))
        .bind(at.as_millis())
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// Forgets which parts of an instance's stored data were verified: all are due again.
    pub async fn forget_verified(&self, id: &InstanceId) -> Result<(), StoreError> {
        sqlx::query(FORGET_VERIFIED).bind(id.as_str()).execute(&self.write).await?;
        Ok(())
    }

    /// The last verification of each part of an instance's stored data.
    pub async fn verified_parts(
        &self,
        id: &InstanceId,
    ) -> Result<HashMap<u32, Timestamp>, StoreError> {
        let rows = sqlx::query("SELECT part, at FROM verified_parts WHERE instance_id = $1")
            .bind(id.as_str())
            .fetch_all(&self.read)
            .await?;
        rows.iter()
            .map(|r| {
                let part = r.try_get::<i64, _>("part")?;
                Ok((u32::try_from(part).unwrap_or(0), row::time(r, "at")?))
            })
            .collect()
    }
}

fn drill(row: &SqliteRow) -> Result<Drill, StoreError> {
    Ok(Drill {
        instance: InstanceId(row.try_get("instance_id")?),
        name: row::name(row.try_get("name")?)?,
        snapshot: row.try_get::<Option<String>, _>("snapshot")?.map(SnapshotId),
        at: row::time(row, "at")?,
        error: row.try_get("error")?,
    })
}
