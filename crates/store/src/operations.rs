//! Operations: requested changes and their progress.

use sqlx::{Row as _, SqliteConnection};
use startclaw_model::{
    InstanceId, InstanceRef, Name, Operation, OperationId, SnapshotId, Timestamp,
};

use crate::{Store, StoreError, row};

pub(crate) async fn insert(tx: &mut SqliteConnection, op: &Operation) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO operations (id, kind, instance_id, name, actor, state, steps, error,
                                 snapshot, source, created_at, started_at, finished_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(op.id.as_str())
    .bind(row::enum_to_text(&op.kind)?)
    .bind(op.instance.as_str())
    .bind(op.name.as_str())
    .bind(op.actor.as_str())
    .bind(row::enum_to_text(&op.state)?)
    .bind(serde_json::to_string(&op.steps)?)
    .bind(&op.error)
    .bind(op.snapshot.as_ref().map(SnapshotId::as_str))
    .bind(op.source.as_ref().map(InstanceId::as_str))
    .bind(op.created_at.as_millis())
    .bind(op.started_at.map(Timestamp::as_millis))
    .bind(op.finished_at.map(Timestamp::as_millis))
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) async fn by_id(
    tx: &mut SqliteConnection,
    id: &OperationId,
) -> Result<Option<Operation>, StoreError> {
    let row = sqlx::query("SELECT * FROM operations WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(tx)
        .await?;
    row.as_ref().map(row::operation).transpose()
}

impl Store {
    /// One operation.
    pub async fn operation(&self, id: &OperationId) -> Result<Option<Operation>, StoreError> {
        let row = sqlx::query("SELECT * FROM operations WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&self.read)
            .await?;
        row.as_ref().map(row::operation).transpose()
    }

    /// The newest operations first, at most `limit`, of one name or of all.
    pub async fn operations(
        &self,
        name: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<Operation>, StoreError> {
        let rows = match name {
            Some(name) => {
                sqlx::query("SELECT * FROM operations WHERE name = $1 ORDER BY id DESC LIMIT $2")
                    .bind(name.as_str())
                    .bind(i64::from(limit))
                    .fetch_all(&self.read)
                    .await?
            }
            None => {
                sqlx::query("SELECT * FROM operations ORDER BY id DESC LIMIT $1")
                    .bind(i64::from(limit))
                    .fetch_all(&self.read)
                    .await?
            }
        };
        rows.iter().map(row::operation).collect()
    }

    /// The newest operations first, at most `limit`, of the given instance, or of the one that has
    /// this name now.
    pub async fn own_operations(
        &self,
        of: impl Into<InstanceRef<'_>>,
        limit: u32,
    ) -> Result<Vec<Operation>, StoreError> {
        let of = of.into();
        let rows = sqlx::query(
            "SELECT * FROM operations
             WHERE instance_id = COALESCE($3, (SELECT id FROM instances WHERE name = $1))
             ORDER BY id DESC LIMIT $2",
        )
        .bind(of.name.as_str())
        .bind(i64::from(limit))
        .bind(of.id.map(InstanceId::as_str))
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(row::operation).collect()
    }

    /// One operation, if it is of the given instance, or of the one that has this name now.
    pub async fn own_operation(
        &self,
        of: impl Into<InstanceRef<'_>>,
        id: &OperationId,
    ) -> Result<Option<Operation>, StoreError> {
        let of = of.into();
        let row = sqlx::query(
            "SELECT * FROM operations WHERE id = $1
             AND instance_id = COALESCE($3, (SELECT id FROM instances WHERE name = $2))",
        )
        .bind(id.as_str())
        .bind(of.name.as_str())
        .bind(of.id.map(InstanceId::as_str))
        .fetch_optional(&self.read)
        .await?;
        row.as_ref().map(row::operation).transpose()
    }

    /// The operations of an instance that are not over, oldest first.
    pub async fn open_operations(&self, id: &InstanceId) -> Result<Vec<Operation>, StoreError> {
        open_of(&mut *self.read.acquire().await?, id).await
    }

    /// The instances with operations that are not over, including removed ones.
    pub async fn instances_with_open_operations(&self) -> Result<Vec<InstanceId>, StoreError> {
        let rows =
            sqlx::query("SELECT DISTINCT instance_id FROM operations WHERE finished_at IS NULL")
                .fetch_all(&self.read)
                .await?;
        rows.iter().map(|r| Ok(InstanceId(r.try_get("instance_id")?))).collect()
    }

    /// Stores the progress of an operation. `false` when it was over already: that is not changed.
    pub async fn save_operation(&self, op: &Operation) -> Result<bool, StoreError> {
        let mut connection = self.write.acquire().await?;
        save(&mut connection, op).await
    }
}

/// See [`Store::open_operations`].
pub(crate) async fn open_of(
    connection: &mut SqliteConnection,
    id: &InstanceId,
) -> Result<Vec<Operation>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM operations WHERE instance_id = $1 AND finished_at IS NULL ORDER BY id",
    )
    .bind(id.as_str())
    .fetch_all(connection)
    .await?;
    rows.iter().map(row::operation).collect()
}

pub(crate) async fn save(tx: &mut SqliteConnection, op: &Operation) -> Result<bool, StoreError> {
    let saved = sqlx::query(
        "UPDATE operations SET state = $1, steps = $2, error = $3, started_at = $4,
                               finished_at = $5, snapshot = $6
         WHERE id = $7 AND finished_at IS NULL",
    )
    .bind(row::enum_to_text(&op.state)?)
    .bind(serde_json::to_string(&op.steps)?)
    .bind(&op.error)
    .bind(op.started_at.map(Timestamp::as_millis))
    .bind(op.finished_at.map(Timestamp::as_millis))
    .bind(op.snapshot.as_ref().map(SnapshotId::as_str))
    .bind(op.id.as_str())
    .execute(tx)
    .await?;
    Ok(saved.rows_affected() > 0)
}
