//! Troubles that somebody is to hear of: once when they come, and once when they are over.

use sqlx::Row;
use startclaw_model::Timestamp;

use crate::{Store, StoreError, row};

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

impl Store {
    /// Notes a trouble; one that is known stays as it is.
    pub async fn raise(&self, key: &str, detail: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO troubles (key, detail, since, over_at, told) VALUES ($1, $2, $3, NULL, 0)
             ON CONFLICT (key) DO UPDATE SET over_at = NULL, detail = excluded.detail",
        )
        .bind(key)
        .bind(detail)
        .bind(Timestamp::now().as_millis())
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// Notes that a trouble, if there is one, is over. One that nobody was told of is forgotten.
    pub async fn clear(&self, key: &str) -> Result<(), StoreError> {
        for statement in [
            "DELETE FROM troubles WHERE key = $1 AND told = 0 AND $2 = $2",
            "UPDATE troubles SET over_at = $2 WHERE key = $1 AND over_at IS NULL",
        ] {
            sqlx::query(statement)
                .bind(key)
                .bind(Timestamp::now().as_millis())
                .execute(&self.write)
                .await?;
        }
        Ok(())
    }

    /// The troubles there are, and those that are over and of which nobody was told so.
    pub async fn troubles(&self) -> Result<Vec<Trouble>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM troubles ORDER BY since, key").fetch_all(&self.read).await?;
        rows.iter()
            .map(|r| {
                Ok(Trouble {
                    key: r.try_get("key")?,
                    detail: r.try_get("detail")?,
                    since: row::time(r, "since")?,
                    over_at: row::maybe_time(r, "over_at")?,
                    told: r.try_get::<i64, _>("told")? != 0,
                })
            })
            .collect()
    }

    /// Notes that somebody was told of a trouble as it was: that it came, or that it is over.
    pub async fn told(&self, trouble: &Trouble) -> Result<(), StoreError> {
        let statement = match trouble.over_at {
            None => "UPDATE troubles SET told = 1 WHERE key = $1",
            Some(_) => "DELETE FROM troubles WHERE key = $1 AND over_at IS NOT NULL",
        };
        sqlx::query(statement).bind(&trouble.key).execute(&self.write).await?;
        Ok(())
    }
}
