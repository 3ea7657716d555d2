//! Instances: their desired state, and their health.

use sqlx::{Row, SqliteConnection};
use startclaw_model::{
    AccountId, AccountState, Actor, Desired, Health, Instance, InstanceId, InstanceRef, Name,
    Operation, OperationId, Owner, Presence, Slot, Timestamp,
};

use crate::{
    Allowance, IMMEDIATE, SealedSecret, Store, StoreError, accounts, archives, certificates,
    operations, row, secrets, session_end,
};

/// A new instance. Its slot is allocated when it is stored.
#[derive(Debug)]
pub struct NewInstance {
    pub id: InstanceId,
    pub name: Name,
    /// The owner's identity in OpenClaw.
    pub owner: Owner,
    /// The owning account.
    pub account: Option<AccountId>,
    /// The limits of the account; none when the request is not the account's own, and is not
    /// counted.
    pub quota: Option<Allowance>,
    /// The desired state.
    pub desired: Desired,
    /// Its data key, wrapped by the vault.
    pub wrapped_key: String,
    /// Its initial secrets.
    pub secrets: Vec<SealedSecret>,
}

/// The idempotency key of a request.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// The value of the header `Idempotency-Key`.
    pub key: String,
    /// A digest of the request; never the request, which holds secrets.
    pub request_hash: String,
}

/// The answer to a request.
#[derive(Debug)]
pub enum Submission {
    /// It was stored, with this operation.
    Accepted(Operation),
    /// The same request was stored before, with this operation.
    Replayed(Operation),
}

impl Store {
    /// Stores an instance and its provision operation, in one transaction, in the lowest
    /// free slot below `capacity`.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`], [`StoreError::Quota`], [`StoreError::Full`], [`StoreError::KeyReused`].
    pub async fn provision(
        &self,
        new: NewInstance,
        operation: &Operation,
        capacity: u32,
        idempotency: Option<&Idempotency>,
    ) -> Result<Submission, StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        if let Some(before) = replayed(&mut tx, &operation.actor, idempotency).await? {
            return Ok(Submission::Replayed(before));
        }
        let taken = sqlx::query("SELECT 1 FROM instances WHERE name = $1")
            .bind(new.name.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        if taken.is_some() {
            return Err(StoreError::NameTaken);
        }
        if let (Some(account), Some(allowed)) = (&new.account, new.quota) {
            let memory = new.desired.profile.limits.memory_hard_mib;
            accounts::check_quota(&mut tx, account, memory, allowed.quota).await?;
            certificates::count(&mut tx, &new.name, account, allowed.names).await?;
        }
        let slot = free_slot(&mut tx, capacity).await?;
        let now = Timestamp::now().as_millis();
        sqlx::query(
            "INSERT INTO instances
                (id, name, owner, slot, desired, health, wrapped_key, created_at, account_id)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8,
                -- What an account has that leaves goes with it; an archive may know one that left.
                (SELECT id FROM accounts WHERE id = $9 AND state <> $10))",
        )
        .bind(new.id.as_str())
        .bind(new.name.as_str())
        .bind(new.owner.as_str())
        .bind(i64::from(slot.0))
        .bind(serde_json::to_string(&new.desired)?)
        .bind(serde_json::to_string(&Health::default())?)
        .bind(&new.wrapped_key)
        .bind(now)
        .bind(new.account.as_ref().map(AccountId::as_str))
        .bind(row::enum_to_text(&AccountState::PendingDeletion)?)
        .execute(&mut *tx)
        .await?;
        for secret in &new.secrets {
            secrets::put(&mut tx, &new.id, secret).await?;
        }
        // A restored instance is no longer archived.
        let archive = sqlx::query("DELETE FROM archives WHERE instance_id = $1 RETURNING purge")
            .bind(new.id.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(archive) = archive
            && archive.try_get::<i64, _>("purge")? != 0
        {
            return Err(StoreError::Conflict("its backups are being deleted"));
        }
        operations::insert(&mut tx, operation).await?;
        remember(&mut tx, operation, idempotency).await?;
        tx.commit().await?;
        Ok(Submission::Accepted(operation.clone()))
    }

    /// Changes the desired state of an instance and stores the operation, in one transaction;
    /// `secrets` are set, `removed` are deleted.
    ///
    /// # Errors
    /// [`StoreError::NoInstance`], [`StoreError::KeyReused`], and [`StoreError::Removing`] for
    /// every request after deprovision; and the errors of `change`.
    pub async fn change(
        &self,
        operation: &Operation,
        change: impl FnOnce(&mut Desired) -> Result<(), StoreError> + Send,
        secrets: &[SealedSecret],
        removed: &[startclaw_model::SecretName],
        idempotency: Option<&Idempotency>,
    ) -> Result<Submission, StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        if let Some(before) = replayed(&mut tx, &operation.actor, idempotency).await? {
            return Ok(Submission::Replayed(before));
        }
        let row = sqlx::query("SELECT desired FROM instances WHERE id = $1")
            .bind(operation.instance.as_str())
            .fetch_optional(&mut *tx)
            .await?
            .ok_or(StoreError::NoInstance)?;
        let mut desired: Desired = row::json(&row, "desired")?;
        if desired.presence == Presence::Absent {
            return Err(StoreError::Removing);
        }
        change(&mut desired)?;
        if desired.presence == Presence::Absent {
            session_end::end_in(&mut tx, &operation.instance).await?;
        }
        for secret in secrets {
            secrets::put(&mut tx, &operation.instance, secret).await?;
        }
        for name in removed {
            secrets::remove(&mut tx, &operation.instance, name).await?;
        }
        // Resets the health: earlier failures do not delay a request.
        set_desired(&mut tx, &operation.instance, &desired).await?;
        operations::insert(&mut tx, operation).await?;
        remember(&mut tx, operation, idempotency).await?;
        tx.commit().await?;
        Ok(Submission::Accepted(operation.clone()))
    }

    /// The operation of the same earlier request, if there was one.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`] when the key was used with another request.
    pub async fn replayed(
        &self,
        actor: &Actor,
        idempotency: Option<&Idempotency>,
    ) -> Result<Option<Operation>, StoreError> {
        let mut connection = self.read.acquire().await?;
        replayed(&mut connection, actor, idempotency).await
    }

    /// One instance.
    ///
    /// # Errors
    /// [`StoreError::NoInstance`], also when another instance has the name of the meant one.
    pub async fn instance(&self, of: impl Into<InstanceRef<'_>>) -> Result<Instance, StoreError> {
        let of = of.into();
        let row = sqlx::query("SELECT * FROM instances WHERE name = $1 AND id = COALESCE($2, id)")
            .bind(of.name.as_str())
            .bind(of.id.map(InstanceId::as_str))
            .fetch_optional(&self.read)
            .await?
            .ok_or(StoreError::NoInstance)?;
        row::instance(&row)
    }

    /// One instance by its id, with its wrapped data key.
    pub async fn instance_and_key(
        &self,
        id: &InstanceId,
    ) -> Result<Option<(Instance, String)>, StoreError> {
        with_key(&mut *self.read.acquire().await?, id).await
    }

    /// An instance with its wrapped data key, and its operations that are not over, at one moment:
    /// what the one says of the progress of the other is true.
    pub async fn instance_and_operations(
        &self,
        id: &InstanceId,
    ) -> Result<(Option<(Instance, String)>, Vec<Operation>), StoreError> {
        let mut tx = self.read.begin().await?;
        Ok((with_key(&mut tx, id).await?, operations::open_of(&mut tx, id).await?))
    }

    /// All instances, by name.
    pub async fn instances(&self) -> Result<Vec<Instance>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM instances ORDER BY name").fetch_all(&self.read).await?;
        rows.iter().map(row::instance).collect()
    }

    /// The ids of all instances.
    pub async fn instance_ids(&self) -> Result<Vec<InstanceId>, StoreError> {
        let rows = sqlx::query("SELECT id FROM instances").fetch_all(&self.read).await?;
        rows.iter().map(|r| Ok(InstanceId(r.try_get("id")?))).collect()
    }

    /// Stores the health of an instance, if it still has this revision; returns whether it has.
    pub async fn set_health(
        &self,
        id: &InstanceId,
        health: &Health,
        revision: u64,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE instances SET health = $1 WHERE id = $2 AND revision = $3")
            .bind(serde_json::to_string(health)?)
            .bind(id.as_str())
            .bind(i64::try_from(revision).unwrap_or(i64::MAX))
            .execute(&self.write)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Deletes a removed instance with its key, secrets, tokens, login tokens and sessions, and
    /// stores the operations that ended with it. Its operations and events are kept, and while it
    /// has snapshots, an [`Archive`](crate::Archive).
    pub async fn forget(&self, id: &InstanceId, over: &[Operation]) -> Result<(), StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        archives::keep(&mut tx, id).await?;
        for statement in [
            "DELETE FROM tokens WHERE instance = (SELECT name FROM instances WHERE id = $1)",
            "DELETE FROM instances WHERE id = $1",
        ] {
            sqlx::query(statement).bind(id.as_str()).execute(&mut *tx).await?;
        }
        for operation in over {
            operations::save(&mut tx, operation).await?;
        }
        Ok(tx.commit().await?)
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
            set_desired(&mut tx, id, &desired).await?;
            tx.commit().await?;
        }
        Ok(Some(desired))
    }
}

async fn with_key(
    connection: &mut SqliteConnection,
    id: &InstanceId,
) -> Result<Option<(Instance, String)>, StoreError> {
    let row = sqlx::query("SELECT * FROM instances WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?;
    row.map(|r| Ok((row::instance(&r)?, r.try_get("wrapped_key")?))).transpose()
}

/// Stores the desired state of an instance, resets its health and increments its revision.
pub(crate) async fn set_desired(
    tx: &mut SqliteConnection,
    id: &InstanceId,
    desired: &Desired,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE instances SET desired = $1, health = $2, revision = revision + 1 WHERE id = $3",
    )
    .bind(serde_json::to_string(desired)?)
    .bind(serde_json::to_string(&Health::default())?)
    .bind(id.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

async fn free_slot(tx: &mut SqliteConnection, capacity: u32) -> Result<Slot, StoreError> {
    // The lowest free number: 0, or the first one that follows a used number.
    let row = sqlx::query(
        "SELECT MIN(candidate) AS slot FROM (
            SELECT 0 AS candidate WHERE NOT EXISTS (SELECT 1 FROM instances WHERE slot = 0)
            UNION ALL
            SELECT a.slot + 1 FROM instances a
            WHERE NOT EXISTS (SELECT 1 FROM instances b WHERE b.slot = a.slot + 1)
         ) AS candidates",
    )
    .fetch_one(tx)
    .await?;
    let slot: i64 = row.try_get("slot")?;
    match u32::try_from(slot) {
        Ok(slot) if slot < capacity => Ok(Slot(slot)),
        _ => Err(StoreError::Full),
    }
}

async fn replayed(
    tx: &mut SqliteConnection,
    actor: &Actor,
    idempotency: Option<&Idempotency>,
) -> Result<Option<Operation>, StoreError> {
    let Some(wanted) = idempotency else { return Ok(None) };
    let row = sqlx::query(
        "SELECT request_hash, operation_id FROM idempotency WHERE actor = $1 AND key = $2",
    )
    .bind(actor.as_str())
    .bind(&wanted.key)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    if row.try_get::<String, _>("request_hash")? != wanted.request_hash {
        return Err(StoreError::KeyReused);
    }
    operations::by_id(tx, &OperationId(row.try_get("operation_id")?)).await
}

async fn remember(
    tx: &mut SqliteConnection,
    operation: &Operation,
    idempotency: Option<&Idempotency>,
) -> Result<(), StoreError> {
    let Some(given) = idempotency else { return Ok(()) };
    sqlx::query(
        "INSERT INTO idempotency (actor, key, request_hash, operation_id, created_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (actor, key) DO UPDATE SET
            request_hash = excluded.request_hash, operation_id = excluded.operation_id,
            created_at = excluded.created_at",
    )
    .bind(operation.actor.as_str())
    .bind(&given.key)
    .bind(&given.request_hash)
    .bind(operation.id.as_str())
    .bind(operation.created_at.as_millis())
    .execute(tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIGRATION: &str = include_str!("../migrations/0007_unused_volumes.sql");
    /// A row of version 0.1.0.
    const DESIRED: &str = r#"{"presence":"present","epoch":0,"secrets_revision":1,"profile":{"version":"1","provider":null,"api_key":false,"telegram":false,"limits":{"memory_soft_mib":512,"memory_hard_mib":2048,"cpus":0.5,"pids":512}}}"#;

    #[tokio::test]
    async fn of_what_an_older_version_stored_only_an_instance_that_never_was_live_has_no_data() {
        let store = Store::in_memory().await.unwrap();
        let rows = [("new", "running"), ("failed", "failed"), ("live", "succeeded"), ("old", "")];
        for (slot, (id, state)) in (0_i64..).zip(rows) {
            sqlx::query(
                "INSERT INTO instances (id, name, owner, slot, desired, health, wrapped_key, created_at)
                 VALUES ($1, $1, 'a', $2, $3, '{}', '', 0)",
            )
            .bind(id)
            .bind(slot)
            .bind(DESIRED)
            .execute(&store.write)
            .await
            .unwrap();
            if state.is_empty() {
                continue;
            }
            sqlx::query(
                "INSERT INTO operations (id, kind, instance_id, name, actor, state, steps, created_at)
                 VALUES ($1, 'provision', $1, $1, 'a', $2, '[]', 0)",
            )
            .bind(id)
            .bind(state)
            .execute(&store.write)
            .await
            .unwrap();
        }
        sqlx::raw_sql(MIGRATION).execute(&store.write).await.unwrap();
        for (id, _) in rows {
            let row = sqlx::query("SELECT desired FROM instances WHERE id = $1")
                .bind(id)
                .fetch_one(&store.read)
                .await
                .unwrap();
            let stored: String = row.try_get("desired").unwrap();
            let desired: Desired = serde_json::from_str(&stored).unwrap();
            assert_eq!(desired.volumes.holds_data(), id == "live" || id == "old", "{id}");
            assert_eq!(serde_json::to_string(&desired).unwrap(), stored, "as we write it");
        }
    }
}
