//! Jobs: the operations of instances that are backups, restores and drills.

use std::collections::HashMap;

use sqlx::Row;
use startclaw_model::{Desired, InstanceId, Operation, Presence, Timestamp};

use crate::{IMMEDIATE, Store, StoreError, row};

impl Store {
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
        if desired.presence == Presence::Absent {
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
}

#[cfg(test)]
mod tests {
    use startclaw_model::{
        Actor, Limits, Name, OperationKind, OperationState, Owner, Profile, Volumes,
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
