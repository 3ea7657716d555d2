//! Copies of snapshots: on this host, and in the bucket.

use sqlx::Row;
use startclaw_model::{InstanceId, SnapshotId, Timestamp};

use crate::{IMMEDIATE, Store, StoreError};

/// A copy of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// The one on this host.
    Local,
    /// The one in the bucket.
    Remote,
}

impl Store {
    /// Instances with snapshots that are on this host and not yet in the bucket.
    pub async fn waiting_for_upload(&self) -> Result<Vec<InstanceId>, StoreError> {
        let rows = sqlx::query(
            "SELECT DISTINCT instance_id FROM snapshots WHERE local = 1 AND remote = 0
             ORDER BY instance_id",
        )
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(|r| Ok(InstanceId(r.try_get("instance_id")?))).collect()
    }

    /// Stores that the copies of these snapshots were found whole.
    pub async fn note_verified_copies(
        &self,
        instance: &InstanceId,
        copy: Copy,
        whole: &[SnapshotId],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let statement = match copy {
            Copy::Local => {
                "UPDATE snapshots SET verified_local = $3
                 WHERE instance_id = $1 AND id IN (SELECT value FROM json_each($2))"
            }
            Copy::Remote => {
                "UPDATE snapshots SET verified_remote = $3
                 WHERE instance_id = $1 AND id IN (SELECT value FROM json_each($2))"
            }
        };
        sqlx::query(statement)
            .bind(instance.as_str())
            .bind(serde_json::to_string(whole)?)
            .bind(at.as_millis())
            .execute(&self.write)
            .await?;
        Ok(())
    }

    /// Stores which snapshots of an instance a repository holds: the others have no copy there.
    /// Those without any copy are kept as missing.
    pub async fn set_copies(
        &self,
        instance: &InstanceId,
        copy: Copy,
        held: &[SnapshotId],
    ) -> Result<(), StoreError> {
        let statement = match copy {
            Copy::Local => {
                "UPDATE snapshots SET
                    local = id IN (SELECT value FROM json_each($2)),
                    verified_local = CASE WHEN id IN (SELECT value FROM json_each($2))
                        THEN verified_local END
                 WHERE instance_id = $1"
            }
            Copy::Remote => {
                "UPDATE snapshots SET
                    remote = id IN (SELECT value FROM json_each($2)),
                    verified_remote = CASE WHEN id IN (SELECT value FROM json_each($2))
                        THEN verified_remote END
                 WHERE instance_id = $1"
            }
        };
        sqlx::query(statement)
            .bind(instance.as_str())
            .bind(serde_json::to_string(held)?)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    /// Stores that the copies of these snapshots were deleted; those without any copy are deleted.
    pub async fn drop_copies(
        &self,
        instance: &InstanceId,
        copy: Copy,
        deleted: &[SnapshotId],
    ) -> Result<(), StoreError> {
        let statement = match copy {
            Copy::Local => {
                "UPDATE snapshots SET local = 0, verified_local = NULL
                 WHERE instance_id = $1 AND id IN (SELECT value FROM json_each($2))"
            }
            Copy::Remote => {
                "UPDATE snapshots SET remote = 0, verified_remote = NULL
                 WHERE instance_id = $1 AND id IN (SELECT value FROM json_each($2))"
            }
        };
        let ids = serde_json::to_string(deleted)?;
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        sqlx::query(statement).bind(instance.as_str()).bind(&ids).execute(&mut *tx).await?;
        sqlx::query(
            "DELETE FROM snapshots WHERE instance_id = $1 AND local = 0 AND remote = 0
                AND id IN (SELECT value FROM json_each($2))",
        )
        .bind(instance.as_str())
        .bind(&ids)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }
}
