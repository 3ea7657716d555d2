//! The content of the repositories: snapshots, and removed instances that can be restored.

use std::collections::HashMap;

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use startclaw_model::{
    AccountId, Desired, InstanceId, Name, Operation, Owner, Snapshot, SnapshotId, Timestamp,
    VerifiedBackup,
};

use crate::{IMMEDIATE, SealedSecret, Store, StoreError, row};

/// A copy of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// The one on this host.
    Local,
    /// The one in the bucket.
    Remote,
}

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
            "SELECT *, MAX(taken_at) FROM snapshots
             WHERE (remote = 1 AND verified_remote IS NOT NULL)
                OR (local = 1 AND verified_local IS NOT NULL)
             GROUP BY instance_id",
        )
        .fetch_all(&self.read)
        .await?;
        let found = rows.iter().map(snapshot).collect::<Result<Vec<_>, _>>()?;
        Ok(found.into_iter().filter_map(|s| Some((s.instance.clone(), s.verified()?))).collect())
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

    /// When each instance's last nightly backup was requested, at `now` or before: later times come
    /// from a clock that was ahead for a while, and are ignored.
    pub async fn last_nightly(
        &self,
        now: Timestamp,
    ) -> Result<HashMap<InstanceId, Timestamp>, StoreError> {
        let rows = sqlx::query(
            "SELECT instance_id, MAX(created_at) AS at FROM operations
             WHERE kind = 'backup' AND actor = 'startclaw' AND created_at <= $1
             GROUP BY instance_id",
        )
        .bind(now.as_millis())
        .fetch_all(&self.read)
        .await?;
        rows.iter()
            .map(|r| Ok((InstanceId(r.try_get("instance_id")?), row::time(r, "at")?)))
            .collect()
    }

    /// The nightly backups that were requested at `since` or later and did not succeed, or not yet;
    /// oldest first.
    pub async fn unsuccessful_nightly(
        &self,
        since: Timestamp,
    ) -> Result<Vec<Operation>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM operations
             WHERE kind = 'backup' AND actor = 'startclaw' AND state <> 'succeeded'
                AND created_at >= $1
             ORDER BY created_at, id",
        )
        .bind(since.as_millis())
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(row::operation).collect()
    }

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

    /// Deletes all snapshots of an instance: its repositories were erased.
    pub async fn drop_snapshots(&self, instance: &InstanceId) -> Result<(), StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        for statement in [
            "DELETE FROM snapshots WHERE instance_id = $1",
            "DELETE FROM verified_parts WHERE instance_id = $1",
        ] {
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

    /// Stores a requested backup or drill, unless one of the same kind and instance is not over:
    /// then returns that one, and `false`.
    ///
    /// # Errors
    /// [`StoreError::NoInstance`], [`StoreError::Removing`].
    pub async fn place_job(&self, operation: &Operation) -> Result<(Operation, bool), StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        let found = sqlx::query("SELECT desired FROM instances WHERE id = $1")
            .bind(operation.instance.as_str())
            .fetch_optional(&mut *tx)
            .await?
            .ok_or(StoreError::NoInstance)?;
        let desired: Desired = row::json(&found, "desired")?;
        if desired.presence == startclaw_model::Presence::Absent {
            return Err(StoreError::Removing);
        }
        let open = sqlx::query(
            "SELECT * FROM operations
             WHERE instance_id = $1 AND finished_at IS NULL AND kind = $2 LIMIT 1",
        )
        .bind(operation.instance.as_str())
        .bind(row::enum_to_text(&operation.kind)?)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(open) = open {
            return Ok((row::operation(&open)?, false));
        }
        crate::operations::insert(&mut tx, operation).await?;
        tx.commit().await?;
        Ok((operation.clone(), true))
    }

    /// The backups, restores and drills that are not over, oldest first.
    pub async fn open_jobs(&self) -> Result<Vec<Operation>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM operations
             WHERE finished_at IS NULL AND kind IN ('backup', 'restore', 'drill') ORDER BY id",
        )
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(row::operation).collect()
    }

    /// Applies `change` to the desired state of an instance without an operation. `change` returns
    /// whether it changed anything; if so, the instance's health is reset. Returns the desired
    /// state; `None` when the instance does not exist.
    pub async fn amend(
        &self,
        id: &InstanceId,
        change: impl FnOnce(&mut Desired) -> bool + Send,
    ) -> Result<Option<Desired>, StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        let found = sqlx::query("SELECT desired FROM instances WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        let Some(found) = found else { return Ok(None) };
        let mut desired: Desired = row::json(&found, "desired")?;
        if change(&mut desired) {
            crate::instances::set_desired(&mut tx, id, &desired).await?;
            tx.commit().await?;
        }
        Ok(Some(desired))
    }

    /// Writes a copy of the database into a new file that only its owner may read. Writes to the
    /// database continue meanwhile.
    pub async fn write_copy(&self, file: &std::path::Path) -> Result<(), StoreError> {
        let path = file.to_str().ok_or_else(|| StoreError::Value("a path of no UTF-8".into()))?;
        // SQLite accepts an empty file.
        crate::make_private(file)?;
        sqlx::query("VACUUM INTO $1").bind(path).execute(&self.read).await?;
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

#[cfg(test)]
mod tests {
    use startclaw_model::{
        Actor, Limits, OperationKind, OperationState, Presence, Profile, Volumes,
    };

    use super::*;
    use crate::NewInstance;

    #[tokio::test]
    async fn a_night_that_a_wrong_clock_put_into_the_future_is_not_believed() {
        let store = Store::in_memory().await.unwrap();
        let (id, name) = (InstanceId::new(), Name::parse("alice").unwrap());
        let kind = OperationKind::Provision;
        let made = Operation::new(kind, id.clone(), name.clone(), Actor::system());
        let desired = Desired {
            presence: Presence::Present,
            epoch: 1,
            secrets_revision: 1,
            profile: Profile {
                version: "1".into(),
                provider: None,
                api_key: false,
                telegram: false,
                telegram_access: startclaw_model::TelegramAccess::Pairing,
                limits: Limits::default(),
            },
            volumes: Volumes::default(),
            deletion_policy: startclaw_model::DeletionPolicy::None,
        };
        let new = NewInstance {
            id: id.clone(),
            name: name.clone(),
            owner: Owner::parse("alice@example.com").unwrap(),
            account: None,
            quota: None,
            desired,
            wrapped_key: String::new(),
            secrets: Vec::new(),
        };
        store.provision(new, &made, 1, None).await.unwrap();
        let now = Timestamp::from_millis(1_000_000);
        for (at, last) in [(900_000, 900_000), (9_000_000, 900_000)] {
            let mut night =
                Operation::new(OperationKind::Backup, id.clone(), name.clone(), Actor::system());
            night.created_at = Timestamp::from_millis(at);
            night.state = OperationState::Succeeded;
            night.finished_at = Some(night.created_at);
            store.place_job(&night).await.unwrap();
            let seen = store.last_nightly(now).await.unwrap();
            assert_eq!(seen[&id].as_millis(), last);
        }
    }
}
