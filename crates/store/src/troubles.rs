//! Troubles that somebody is to hear of: once when they come, and once when they are over.

use sqlx::Row;
use startclaw_model::Timestamp;

use crate::{IMMEDIATE, Store, StoreError, row};

/// A trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What it is about, such as `backup/alice`: there is one of a kind at a time.
    pub key: String,
    /// In words.
    pub detail: String,
    /// Since when.
    pub since: Timestamp,
    /// Since when it is over.
    pub over_at: Option<Timestamp>,
    /// Whether somebody was told that it came.
    pub told: bool,
}

/// How far the telling is, as stored. A crash while it is told leaves it in doubt, and then it is
/// told again: better twice than never.
mod told {
    pub const NO: i64 = 0;
    pub const FIRED: i64 = 1;
    /// It is being told that it fired.
    pub const FIRING: i64 = 2;
    /// It was told that it fired, and is being told that it is resolved.
    pub const RESOLVING: i64 = 3;
}

impl Store {
    /// Fires an alert; `true` when it is new or says something else. One that fires again while
    /// its end is being told begins anew, so that it is told again.
    pub async fn raise(&self, key: &str, detail: &str) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO troubles (key, detail, since, over_at, told) VALUES ($1, $2, $3, NULL, $4)
             ON CONFLICT (key) DO UPDATE SET over_at = NULL, detail = excluded.detail,
                since = CASE WHEN told = $5 THEN excluded.since ELSE since END,
                told = CASE WHEN told = $5 THEN $4 ELSE told END
             WHERE troubles.detail <> excluded.detail OR troubles.over_at IS NOT NULL",
        )
        .bind(key)
        .bind(detail)
        .bind(Timestamp::now().as_millis())
        .bind(told::NO)
        .bind(told::RESOLVING)
        .execute(&self.write)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Resolves an alert, if there is one; `true` when there was. One that nobody was told of is
    /// forgotten.
    pub async fn clear(&self, key: &str) -> Result<bool, StoreError> {
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        let forgotten = sqlx::query("DELETE FROM troubles WHERE key = $1 AND told = $2")
            .bind(key)
            .bind(told::NO)
            .execute(&mut *tx)
            .await?;
        let resolved =
            sqlx::query("UPDATE troubles SET over_at = $2 WHERE key = $1 AND over_at IS NULL")
                .bind(key)
                .bind(Timestamp::now().as_millis())
                .execute(&mut *tx)
                .await?;
        tx.commit().await?;
        Ok(forgotten.rows_affected() + resolved.rows_affected() > 0)
    }

    /// The troubles there are, and those that are over and of which nobody was told so.
    pub async fn troubles(&self) -> Result<Vec<Trouble>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM troubles ORDER BY since, key").fetch_all(&self.read).await?;
        rows.iter()
            .map(|r| {
                let state = r.try_get::<i64, _>("told")?;
                Ok(Trouble {
                    key: r.try_get("key")?,
                    detail: r.try_get("detail")?,
                    since: row::time(r, "since")?,
                    over_at: row::maybe_time(r, "over_at")?,
                    told: state == told::FIRED || state == told::RESOLVING,
                })
            })
            .collect()
    }

    /// Notes that an alert is about to be told as it is: that it fired, or that it is resolved.
    /// `false` when it changed meanwhile; then it is not to be told.
    pub async fn begin_telling(&self, trouble: &Trouble) -> Result<bool, StoreError> {
        let statement = match trouble.over_at {
            None => "UPDATE troubles SET told = $2 WHERE key = $1 AND over_at IS NULL",
            Some(_) => "UPDATE troubles SET told = $2 WHERE key = $1 AND over_at IS NOT NULL",
        };
        let state = if trouble.over_at.is_none() { told::FIRING } else { told::RESOLVING };
        let done =
            sqlx::query(statement).bind(&trouble.key).bind(state).execute(&self.write).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Notes how the telling that [`Store::begin_telling`] began ended. One that fired and was
    /// not told is forgotten if it is resolved by now.
    pub async fn end_telling(
        &self,
        trouble: &Trouble,
        got_through: bool,
    ) -> Result<(), StoreError> {
        let run = async |statement: &'static str, before: i64, after: i64| {
            sqlx::query(statement)
                .bind(&trouble.key)
                .bind(before)
                .bind(after)
                .execute(&self.write)
                .await
        };
        const SET: &str = "UPDATE troubles SET told = $3 WHERE key = $1 AND told = $2";
        const FORGET: &str =
            "DELETE FROM troubles WHERE key = $1 AND told = $2 AND over_at IS NOT NULL AND $3 = $3";
        match (trouble.over_at, got_through) {
            (None, true) => run(SET, told::FIRING, told::FIRED).await?,
            (None, false) => {
                run(FORGET, told::FIRING, told::NO).await?;
                run(SET, told::FIRING, told::NO).await?
            }
            (Some(_), true) => run(FORGET, told::RESOLVING, told::NO).await?,
            (Some(_), false) => run(SET, told::RESOLVING, told::FIRED).await?,
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

    async fn only(store: &Store) -> Trouble {
        let mut all = store.troubles().await.unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[tokio::test]
    async fn an_alert_that_is_resolved_while_it_is_told_is_told_as_resolved_too() {
        let store = store().await;
        assert!(store.raise("a", "down").await.unwrap());
        assert!(!store.raise("a", "down").await.unwrap(), "the same again is no news");
        let fired = only(&store).await;
        assert!(store.begin_telling(&fired).await.unwrap());
        assert!(store.clear("a").await.unwrap());
        store.end_telling(&fired, true).await.unwrap();
        let resolved = only(&store).await;
        assert!(resolved.told && resolved.over_at.is_some());
        assert!(store.begin_telling(&resolved).await.unwrap());
        store.end_telling(&resolved, true).await.unwrap();
        assert!(store.troubles().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_alert_that_fires_again_while_its_end_is_told_is_told_again() {
        let store = store().await;
        store.raise("a", "down").await.unwrap();
        let fired = only(&store).await;
        store.begin_telling(&fired).await.unwrap();
        store.end_telling(&fired, true).await.unwrap();
        store.clear("a").await.unwrap();
        let resolved = only(&store).await;
        store.begin_telling(&resolved).await.unwrap();
        assert!(store.raise("a", "down").await.unwrap());
        store.end_telling(&resolved, true).await.unwrap();
        let again = only(&store).await;
        assert!(!again.told && again.over_at.is_none());
    }

    #[tokio::test]
    async fn what_did_not_get_through_is_told_later_or_forgotten_when_it_is_over() {
        let store = store().await;
        for over in [false, true] {
            store.raise("a", "down").await.unwrap();
            let fired = only(&store).await;
            store.begin_telling(&fired).await.unwrap();
            if over {
                store.clear("a").await.unwrap();
            }
            store.end_telling(&fired, false).await.unwrap();
            assert_eq!(store.troubles().await.unwrap().len(), usize::from(!over));
        }
        store.raise("a", "down").await.unwrap();
        assert!(store.clear("a").await.unwrap() && !store.clear("a").await.unwrap());
        assert!(store.troubles().await.unwrap().is_empty(), "nobody was told that it fired");
    }
}
