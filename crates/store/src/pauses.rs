//! How long instances were frozen for their last backup.

use std::collections::HashMap;

use sqlx::Row;
use startclaw_model::{BackupPause, InstanceId, Timestamp};

use crate::{Store, StoreError};

impl Store {
    /// Stores the last pause of an instance; nothing if the instance does not exist any more.
    pub async fn note_pause(
        &self,
        instance: &InstanceId,
        pause: BackupPause,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO pauses (instance_id, at, millis, exceeded)
             SELECT id, $2, $3, $4 FROM instances WHERE id = $1
             ON CONFLICT (instance_id) DO UPDATE SET at = $2, millis = $3, exceeded = $4",
        )
        .bind(instance.as_str())
        .bind(pause.at.as_millis())
        .bind(i64::try_from(pause.millis).unwrap_or(i64::MAX))
        .bind(pause.exceeded)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// The last pause of each instance that had one.
    pub async fn pauses(&self) -> Result<HashMap<InstanceId, BackupPause>, StoreError> {
        let rows = sqlx::query("SELECT * FROM pauses").fetch_all(&self.read).await?;
        let pause = |row: &sqlx::sqlite::SqliteRow| {
            let pause = BackupPause {
                at: Timestamp::from_millis(row.try_get("at")?),
                millis: u64::try_from(row.try_get::<i64, _>("millis")?).unwrap_or(0),
                exceeded: row.try_get("exceeded")?,
            };
            Ok((InstanceId(row.try_get("instance_id")?), pause))
        };
        rows.iter().map(pause).collect()
    }
}
