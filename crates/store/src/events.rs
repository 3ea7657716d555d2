//! Events, and the garbage collection of expired rows.

use std::time::Duration;

use startclaw_model::{Event, InstanceId, InstanceRef, Name, OperationId, Timestamp};

use crate::{IMMEDIATE, Store, StoreError, row};

impl Store {
    /// Stores an event, with its instance if it has one.
    pub async fn record(
        &self,
        event: &Event,
        instance: Option<&InstanceId>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO events (id, at, kind, instance_id, name, actor, detail)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        // Events sort by their id, which is a time-ordered one like an operation's.
        .bind(OperationId::new().as_str())
        .bind(event.at.as_millis())
        .bind(row::enum_to_text(&event.kind)?)
        .bind(instance.map(InstanceId::as_str))
        .bind(event.name.as_ref().map(Name::as_str))
        .bind(event.actor.as_str())
        .bind(&event.detail)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// The newest events first, at most `limit`, of one name or of all.
    pub async fn events(&self, name: Option<&Name>, limit: u32) -> Result<Vec<Event>, StoreError> {
        let rows = match name {
            Some(name) => {
                sqlx::query("SELECT * FROM events WHERE name = $1 ORDER BY id DESC LIMIT $2")
                    .bind(name.as_str())
                    .bind(i64::from(limit))
                    .fetch_all(&self.read)
                    .await?
            }
            None => {
                sqlx::query("SELECT * FROM events ORDER BY id DESC LIMIT $1")
                    .bind(i64::from(limit))
                    .fetch_all(&self.read)
                    .await?
            }
        };
        rows.iter().map(row::event).collect()
    }

    /// The newest events first, at most `limit`, of the given instance, or of the one that has this
    /// name now: its owner must not see events of an earlier instance of this name.
    pub async fn own_events(
        &self,
        of: impl Into<InstanceRef<'_>>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let of = of.into();
        let rows = sqlx::query(
            "SELECT * FROM events
             WHERE instance_id = COALESCE($3, (SELECT id FROM instances WHERE name = $1))
             ORDER BY id DESC LIMIT $2",
        )
        .bind(of.name.as_str())
        .bind(i64::from(limit))
        .bind(of.id.map(InstanceId::as_str))
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(row::event).collect()
    }

    /// Deletes what is no longer needed: expired login tokens, links and certificate names,
    /// idempotency keys older than a day, finished operations, events and resolved alerts older than
    /// `history`.
    /// Sessions are deleted by [`Store::expire_sessions`].
    pub async fn collect_garbage(
        &self,
        now: Timestamp,
        history: Duration,
    ) -> Result<(), StoreError> {
        let ago = |d: Duration| now.as_millis() - i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        let day = ago(Duration::from_secs(24 * 3600));
        let old = ago(history);
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        for (statement, before) in [
            ("DELETE FROM login_tokens WHERE expires_at < $1", now.as_millis()),
            ("DELETE FROM links WHERE expires_at < $1", now.as_millis()),
            ("DELETE FROM certificate_names WHERE at < $1", ago(crate::certificates::REUSED)),
            ("DELETE FROM idempotency WHERE created_at < $1", day),
            ("DELETE FROM operations WHERE finished_at < $1", old),
            ("DELETE FROM events WHERE at < $1", old),
            ("DELETE FROM past_alerts WHERE resolved_at < $1", old),
        ] {
            sqlx::query(statement).bind(before).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
