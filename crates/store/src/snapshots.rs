//! The snapshots that the repositories hold, and those that are missing there.

use std::collections::HashMap;

use sqlx::{Row, sqlite::SqliteRow};
use startclaw_model::{InstanceId, Snapshot, SnapshotId, Timestamp, VerifiedBackup};

use crate::{IMMEDIATE, Store, StoreError, drills::FORGET_VERIFIED, row};

impl Store {
    /// Stores a snapshot.
    pub async fn add_snapshot(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let Snapshot { id, instance, name, taken_at, files, bytes, added_bytes, .. } = snapshot;
        let Snapshot { sequence, local, remote, .. } = snapshot;
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        sqlx::query(
            "INSERT INTO snapshots (id, instance_id, name, taken_at, files, bytes, added_bytes,
                                    local, remote, sequence)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (instance_id, id) DO UPDATE SET
                local = MAX(local, excluded.local), remote = MAX(remote, excluded.remote),
                sequence = MAX(COALESCE(excluded.sequence, sequence), COALESCE(sequence, excluded.sequence))",
        )
        .bind(id.as_str())
        .bind(instance.as_str())
        .bind(name.as_str())
        .bind(taken_at.as_millis())
        .bind(number(*files))
        .bind(number(*bytes))
        .bind(number(*added_bytes))
        .bind(i64::from(*local))
        .bind(i64::from(*remote))
        .bind(sequence.map(number))
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// The snapshots of an instance, newest first, with those that are missing.
    pub async fn snapshots(&self, instance: &InstanceId) -> Result<Vec<Snapshot>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM snapshots WHERE instance_id = $1
             ORDER BY sequence IS NULL, sequence DESC, taken_at DESC, id",
        )
        .bind(instance.as_str())
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(snapshot).collect()
    }

    /// When each instance's newest snapshot was taken.
    pub async fn newest_snapshots(&self) -> Result<HashMap<InstanceId, Timestamp>, StoreError> {
        let rows = sqlx::query(
            "SELECT instance_id, MAX(taken_at) AS taken_at FROM snapshots
             WHERE local = 1 OR remote = 1 GROUP BY instance_id",
        )
        .fetch_all(&self.read)
        .await?;
        rows.iter()
            .map(|r| Ok((InstanceId(r.try_get("instance_id")?), row::time(r, "taken_at")?)))
            .collect()
    }

    /// The newest snapshot of each instance that was found whole.
    pub async fn newest_verified(&self) -> Result<HashMap<InstanceId, VerifiedBackup>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM (
                SELECT *, ROW_NUMBER() OVER (
                    PARTITION BY instance_id
                    ORDER BY sequence IS NULL, sequence DESC, taken_at DESC, id
                ) AS place FROM snapshots
                WHERE (remote = 1 AND verified_remote IS NOT NULL)
                    OR (local = 1 AND verified_local IS NOT NULL)
             ) WHERE place = 1",
        )
        .fetch_all(&self.read)
        .await?;
        let found = rows.iter().map(snapshot).collect::<Result<Vec<_>, _>>()?;
        Ok(found.into_iter().filter_map(|s| Some((s.instance.clone(), s.verified()?))).collect())
    }

    /// Deletes all snapshots of an instance: its repositories were erased.
    pub async fn drop_snapshots(&self, instance: &InstanceId) -> Result<(), StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        for statement in ["DELETE FROM snapshots WHERE instance_id = $1", FORGET_VERIFIED] {
            sqlx::query(statement).bind(instance.as_str()).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Forgets the missing snapshots of an instance that were taken before `time`: they would have
    /// expired by now.
    pub async fn drop_missing(
        &self,
        instance: &InstanceId,
        before: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM snapshots
             WHERE instance_id = $1 AND local = 0 AND remote = 0 AND taken_at < $2",
        )
        .bind(instance.as_str())
        .bind(before.as_millis())
        .execute(&self.write)
        .await?;
        Ok(())
    }
}

fn snapshot(row: &SqliteRow) -> Result<Snapshot, StoreError> {
    let number = |column: &str| -> Result<u64, StoreError> {
        Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
    };
    Ok(Snapshot {
        id: SnapshotId(row.try_get("id")?),
        instance: InstanceId(row.try_get("instance_id")?),
        name: row::name(row.try_get("name")?)?,
        sequence: row
            .try_get::<Option<i64>, _>("sequence")?
            .and_then(|number| u64::try_from(number).ok()),
        taken_at: row::time(row, "taken_at")?,
        files: number("files")?,
        bytes: number("bytes")?,
        added_bytes: number("added_bytes")?,
        local: number("local")? != 0,
        remote: number("remote")? != 0,
        verified_local: row::maybe_time(row, "verified_local")?,
        verified_remote: row::maybe_time(row, "verified_remote")?,
    })
}

#[cfg(test)]
mod tests {
    use startclaw_model::Name;

    use super::*;
    use crate::Copy;

    #[tokio::test]
    async fn the_newest_verified_is_the_last_in_order_also_after_the_clock_was_set_back() {
        let store = Store::in_memory().await.unwrap();
        let alice = InstanceId::new();
        for (sequence, taken_at) in [(1, 9_000), (2, 5_000), (3, 6_000)] {
            let snapshot = Snapshot {
                id: SnapshotId(format!("s{sequence}")),
                instance: alice.clone(),
                name: Name::parse("alice").unwrap(),
                sequence: Some(sequence),
                taken_at: Timestamp::from_millis(taken_at),
                files: 1,
                bytes: 1,
                added_bytes: 1,
                local: false,
                remote: true,
                verified_local: None,
                verified_remote: None,
            };
            store.add_snapshot(&snapshot).await.unwrap();
        }
        let whole = [SnapshotId("s1".into()), SnapshotId("s2".into())];
        let at = Timestamp::from_millis(7_000);
        store.note_verified_copies(&alice, Copy::Remote, &whole, at).await.unwrap();
        let newest = store.newest_verified().await.unwrap();
        assert_eq!(newest[&alice].taken_at, Timestamp::from_millis(5_000));
    }
}
