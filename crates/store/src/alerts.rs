//! Alerts: stored until the notifications that they fired and were resolved are sent.

use sqlx::Row;
use startclaw_model::Timestamp;

use crate::{IMMEDIATE, Store, StoreError, row};

/// An alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// What it is about, such as `backup/alice`: unique.
    pub key: String,
    pub detail: String,
    /// Since when.
    pub since: Timestamp,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// Whether the notification that it fired was sent.
    pub notified: bool,
}

/// An alert in the list of recent ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRecord {
    /// What it is about, such as `backup/alice`.
    pub key: String,
    pub detail: String,
    /// Since when.
    pub since: Timestamp,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
}

/// The stored state of the notification. A crash while it is sent leaves it unknown, and then it is
/// sent again: better twice than never.
mod notified {
    pub const NO: i64 = 0;
    pub const FIRED: i64 = 1;
    /// The notification that it fired is being sent.
    pub const FIRING: i64 = 2;
    /// The notification that it fired was sent; the one that it is resolved is being sent.
    pub const RESOLVING: i64 = 3;
}

impl Store {
    /// Fires an alert; `true` when it is new or its detail changed. One that fires again while the
    /// notification of its end is being sent becomes a new alert, so that it is notified again.
    pub async fn fire(&self, key: &str, detail: &str) -> Result<bool, StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        let done = sqlx::query(
            "INSERT INTO alerts (key, detail, since, resolved_at, notified) VALUES ($1, $2, $3, NULL, $4)
             ON CONFLICT (key) DO UPDATE SET resolved_at = NULL, detail = excluded.detail,
                since = CASE WHEN notified = $5 THEN excluded.since ELSE since END,
                notified = CASE WHEN notified = $5 THEN $4 ELSE notified END
             WHERE alerts.detail <> excluded.detail OR alerts.resolved_at IS NOT NULL",
        )
        .bind(key)
        .bind(detail)
        .bind(Timestamp::now().as_millis())
        .bind(notified::NO)
        .bind(notified::RESOLVING)
        .execute(&mut *tx)
        .await?;
        // Unless it became a new alert, it is not past.
        sqlx::query(
            "DELETE FROM past_alerts
             WHERE key = $1 AND since = (SELECT since FROM alerts WHERE key = $1)",
        )
        .bind(key)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Resolves an alert; `true` when it existed. An alert without a sent notification is deleted.
    pub async fn resolve(&self, key: &str) -> Result<bool, StoreError> {
        let now = Timestamp::now().as_millis();
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        sqlx::query(
            "INSERT INTO past_alerts (key, detail, since, resolved_at)
             SELECT key, detail, since, $2 FROM alerts WHERE key = $1 AND resolved_at IS NULL
             ON CONFLICT (key, since) DO UPDATE SET
                detail = excluded.detail, resolved_at = excluded.resolved_at",
        )
        .bind(key)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        let forgotten = sqlx::query("DELETE FROM alerts WHERE key = $1 AND notified = $2")
            .bind(key)
            .bind(notified::NO)
            .execute(&mut *tx)
            .await?;
        let resolved = sqlx::query(
            "UPDATE alerts SET resolved_at = $2 WHERE key = $1 AND resolved_at IS NULL",
        )
        .bind(key)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(forgotten.rows_affected() + resolved.rows_affected() > 0)
    }

    /// The alerts that are firing, and the resolved ones whose notification is pending.
    pub async fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM alerts ORDER BY since, key").fetch_all(&self.read).await?;
        rows.iter()
            .map(|r| {
                let state = r.try_get::<i64, _>("notified")?;
                Ok(Alert {
                    key: r.try_get("key")?,
                    detail: r.try_get("detail")?,
                    since: row::time(r, "since")?,
                    resolved_at: row::maybe_time(r, "resolved_at")?,
                    notified: state == notified::FIRED || state == notified::RESOLVING,
                })
            })
            .collect()
    }

    /// The newest alerts first, at most `limit`: those that are firing, and those that were resolved
    /// within the history that is kept.
    pub async fn recent_alerts(&self, limit: u32) -> Result<Vec<AlertRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT key, detail, since, resolved_at FROM alerts WHERE resolved_at IS NULL
             UNION ALL SELECT key, detail, since, resolved_at FROM past_alerts
             ORDER BY since DESC, key LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.read)
        .await?;
        rows.iter()
            .map(|r| {
                Ok(AlertRecord {
                    key: r.try_get("key")?,
                    detail: r.try_get("detail")?,
                    since: row::time(r, "since")?,
                    resolved_at: row::maybe_time(r, "resolved_at")?,
                })
            })
            .collect()
    }

    /// Records that the notification of an alert is about to be sent: that it fired, or that it is
    /// resolved. `false` when it changed meanwhile; then it must not be sent.
    pub async fn begin_telling(&self, alert: &Alert) -> Result<bool, StoreError> {
        let statement = match alert.resolved_at {
            None => "UPDATE alerts SET notified = $2 WHERE key = $1 AND resolved_at IS NULL",
            Some(_) => "UPDATE alerts SET notified = $2 WHERE key = $1 AND resolved_at IS NOT NULL",
        };
        let state =
            if alert.resolved_at.is_none() { notified::FIRING } else { notified::RESOLVING };
        let done = sqlx::query(statement).bind(&alert.key).bind(state).execute(&self.write).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Records the result of a notification that [`Store::begin_telling`] began. An alert whose
    /// notification failed is deleted if it is resolved by now.
    pub async fn end_telling(&self, alert: &Alert, got_through: bool) -> Result<(), StoreError> {
        let run = async |statement: &'static str, before: i64, after: i64| {
            sqlx::query(statement)
                .bind(&alert.key)
                .bind(before)
                .bind(after)
                .execute(&self.write)
                .await
        };
        const SET: &str = "UPDATE alerts SET notified = $3 WHERE key = $1 AND notified = $2";
        const FORGET: &str = "DELETE FROM alerts WHERE key = $1 AND notified = $2 AND resolved_at IS NOT NULL AND $3 = $3";
        match (alert.resolved_at, got_through) {
            (None, true) => run(SET, notified::FIRING, notified::FIRED).await?,
            (None, false) => {
                run(FORGET, notified::FIRING, notified::NO).await?;
                run(SET, notified::FIRING, notified::NO).await?
            }
            (Some(_), true) => run(FORGET, notified::RESOLVING, notified::NO).await?,
            (Some(_), false) => run(SET, notified::RESOLVING, notified::FIRED).await?,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn store() -> Store {
        Store::in_memory().await.unwrap()
    }

    async fn only(store: &Store) -> Alert {
        let mut all = store.alerts().await.unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[tokio::test]
    async fn an_alert_that_is_resolved_while_it_is_told_is_told_as_resolved_too() {
        let store = store().await;
        assert!(store.fire("a", "down").await.unwrap());
        assert!(!store.fire("a", "down").await.unwrap(), "the same again is no news");
        let fired = only(&store).await;
        assert!(store.begin_telling(&fired).await.unwrap());
        assert!(store.resolve("a").await.unwrap());
        store.end_telling(&fired, true).await.unwrap();
        let resolved = only(&store).await;
        assert!(resolved.notified && resolved.resolved_at.is_some());
        assert!(store.begin_telling(&resolved).await.unwrap());
        store.end_telling(&resolved, true).await.unwrap();
        assert!(store.alerts().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_alert_that_fires_again_while_its_end_is_told_is_told_again() {
        let store = store().await;
        store.fire("a", "down").await.unwrap();
        let fired = only(&store).await;
        store.begin_telling(&fired).await.unwrap();
        store.end_telling(&fired, true).await.unwrap();
        store.resolve("a").await.unwrap();
        let resolved = only(&store).await;
        store.begin_telling(&resolved).await.unwrap();
        assert!(store.fire("a", "down").await.unwrap());
        store.end_telling(&resolved, true).await.unwrap();
        let again = only(&store).await;
        assert!(!again.notified && again.resolved_at.is_none());
    }

    #[tokio::test]
    async fn recent_alerts_are_those_that_fire_and_those_that_are_over_newest_first() {
        let store = store().await;
        store.fire("a", "down").await.unwrap();
        assert!(store.resolve("a").await.unwrap());
        assert!(store.alerts().await.unwrap().is_empty());
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        store.fire("b", "full").await.unwrap();
        let shown = async |limit| -> Vec<(String, bool)> {
            let all = store.recent_alerts(limit).await.unwrap();
            all.into_iter().map(|a| (a.key, a.resolved_at.is_some())).collect()
        };
        assert_eq!(shown(50).await, [("b".to_owned(), false), ("a".to_owned(), true)]);
        assert_eq!(shown(1).await, [("b".to_owned(), false)]);

        // One that fires again before its end was notified is still the same.
        let fired = only(&store).await;
        store.begin_telling(&fired).await.unwrap();
        store.end_telling(&fired, true).await.unwrap();
        store.resolve("b").await.unwrap();
        store.fire("b", "full").await.unwrap();
        assert_eq!(shown(50).await, [("b".to_owned(), false), ("a".to_owned(), true)]);
        let later = Timestamp::now().plus(std::time::Duration::from_secs(10));
        store.collect_garbage(later, std::time::Duration::from_secs(1)).await.unwrap();
        assert_eq!(shown(50).await, [("b".to_owned(), false)]);
    }

    #[tokio::test]
    async fn what_did_not_get_through_is_told_later_or_forgotten_when_it_is_over() {
        let store = store().await;
        for over in [false, true] {
            store.fire("a", "down").await.unwrap();
            let fired = only(&store).await;
            store.begin_telling(&fired).await.unwrap();
            if over {
                store.resolve("a").await.unwrap();
            }
            store.end_telling(&fired, false).await.unwrap();
            assert_eq!(store.alerts().await.unwrap().len(), usize::from(!over));
        }
        store.fire("a", "down").await.unwrap();
        assert!(store.resolve("a").await.unwrap() && !store.resolve("a").await.unwrap());
        assert!(store.alerts().await.unwrap().is_empty(), "nobody was notified that it fired");
    }
}
