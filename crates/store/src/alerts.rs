//! Alerts: stored until the notifications of their start and end are sent.

use sqlx::Row;
use startclaw_model::Timestamp;

use crate::{IMMEDIATE, Store, StoreError, row};

/// An alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// What it is about, such as `backup/alice`: there is one of a kind at a time.
    pub key: String,
    pub detail: String,
    /// Since when.
    pub since: Timestamp,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// Whether the notification of its start was sent.
    pub notified: bool,
}

/// How far the telling is, as stored. A crash while it is told leaves it in doubt, and then it is
/// told again: better twice than never.
mod notified {
    pub const NO: i64 = 0;
    pub const FIRED: i64 = 1;
    /// It is being told that it fired.
    pub const FIRING: i64 = 2;
    /// It was told that it fired, and is being told that it is resolved.
    pub const RESOLVING: i64 = 3;
}

impl Store {
    /// Fires an alert; `true` when it is new or says something else. One that fires again while
    /// its end is being told begins again, so that it is told again.
    pub async fn fire(&self, key: &str, detail: &str) -> Result<bool, StoreError> {
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
        .execute(&self.write)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Resolves an alert, if there is one; `true` when there was. One that nobody was told of is
    /// forgotten.
    pub async fn resolve(&self, key: &str) -> Result<bool, StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        let forgotten = sqlx::query("DELETE FROM alerts WHERE key = $1 AND notified = $2")
            .bind(key)
            .bind(notified::NO)
            .execute(&mut *tx)
            .await?;
        let resolved = sqlx::query(
            "UPDATE alerts SET resolved_at = $2 WHERE key = $1 AND resolved_at IS NULL",
        )
        .bind(key)
        .bind(Timestamp::now().as_millis())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(forgotten.rows_affected() + resolved.rows_affected() > 0)
    }

    /// The alerts that are firing, and those that are resolved without a sent notification.
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

    /// Notes that an alert is about to be told as it is: that it fired, or that it is resolved.
    /// `false` when it changed meanwhile; then it is not to be told.
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

    /// Notes how the telling that [`Store::begin_telling`] began ended. One that fired and was
    /// not told is forgotten if it is resolved by now.
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
