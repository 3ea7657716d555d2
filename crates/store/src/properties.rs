//! Single values, and the revision of the control plane.

use sqlx::{Row, SqliteConnection};

use crate::{Store, StoreError};

/// A single value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// The identity of the destination of backups.
    DestinationId,
    /// Its address, as in the settings.
    DestinationAddress,
    /// The last time that was seen, in milliseconds.
    ClockSeen,
    /// Until when the clock is suspect, in milliseconds.
    ClockSuspectUntil,
    /// The revision of the control plane that was backed up last.
    SavedRevision,
    /// When expired backups of removed instances were deleted last, in milliseconds.
    ArchivesCollected,
}

impl Property {
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::DestinationId => "destination-id",
            Self::DestinationAddress => "destination-address",
            Self::ClockSeen => "clock-seen",
            Self::ClockSuspectUntil => "clock-suspect-until",
            Self::SavedRevision => "saved-revision",
            Self::ArchivesCollected => "archives-collected",
        }
    }
}

impl Store {
    /// A value, if it is set.
    pub async fn property(&self, property: Property) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT value FROM properties WHERE key = $1")
            .bind(property.key())
            .fetch_optional(&self.read)
            .await?;
        Ok(row.map(|row| row.try_get("value")).transpose()?)
    }

    /// Sets a value.
    pub async fn set_property(&self, property: Property, value: &str) -> Result<(), StoreError> {
        set(&mut *self.write.acquire().await?, property, value).await
    }

    /// A number that grows with every change that a recovery needs.
    pub async fn revision(&self) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT value FROM revision").fetch_one(&self.read).await?;
        Ok(row.try_get("value")?)
    }
}

/// Sets a value in a transaction.
pub(crate) async fn set(
    tx: &mut SqliteConnection,
    property: Property,
    value: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO properties (key, value) VALUES ($1, $2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )
    .bind(property.key())
    .bind(value)
    .execute(tx)
    .await?;
    Ok(())
}

/// Removes a value in a transaction.
pub(crate) async fn remove(
    tx: &mut SqliteConnection,
    property: Property,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM properties WHERE key = $1").bind(property.key()).execute(tx).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use startclaw_model::Timestamp;

    use super::*;

    #[tokio::test]
    async fn a_value_is_set_and_replaced() {
        let store = Store::in_memory().await.unwrap();
        assert_eq!(store.property(Property::DestinationId).await.unwrap(), None);
        for value in ["a", "b"] {
            store.set_property(Property::DestinationId, value).await.unwrap();
            assert_eq!(store.property(Property::DestinationId).await.unwrap().unwrap(), value);
        }
    }

    #[tokio::test]
    async fn the_revision_grows_with_what_a_recovery_needs_and_with_nothing_else() {
        let store = Store::in_memory().await.unwrap();
        let mut before = store.revision().await.unwrap();
        for (statement, grows) in [
            ("INSERT INTO instances (id, name, owner, slot, desired, health, wrapped_key, created_at)
              VALUES ('a', 'alice', 'a@b', 0, '{}', '{}', '', 0)", true),
            ("UPDATE instances SET desired = '{ }' WHERE id = 'a'", true),
            ("UPDATE instances SET health = '{ }' WHERE id = 'a'", false),
            ("INSERT INTO secrets VALUES ('a', 'x', 'sealed', 0)", true),
            ("UPDATE secrets SET sealed = 'other'", true),
            ("INSERT INTO snapshots (id, instance_id, name, taken_at, files, bytes, added_bytes, local, remote)
              VALUES ('s', 'a', 'alice', 0, 1, 1, 1, 1, 0)", true),
            ("INSERT INTO accounts (id, email, admin, state, created_at) VALUES ('p', 'p@q', 0, 'active', 0)", true),
            ("UPDATE accounts SET signed_in_at = 1", false),
            ("UPDATE accounts SET password = 'x'", true),
            ("INSERT INTO properties VALUES ('x', 'y')", false),
            ("DELETE FROM secrets", true),
            ("DELETE FROM instances", true),
            ("DELETE FROM accounts", true),
        ] {
            sqlx::query(statement).execute(&store.write).await.unwrap();
            let now = store.revision().await.unwrap();
            assert_eq!(now > before, grows, "{statement}");
            before = now;
        }
        store.fire("bucket", "away").await.unwrap();
        store.resolve("bucket").await.unwrap();
        let now = Timestamp::now().as_millis().to_string();
        store.set_property(Property::ClockSeen, &now).await.unwrap();
        assert_eq!(store.revision().await.unwrap(), before, "these change all the time");
    }
}
