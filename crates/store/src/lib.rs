//! The database: every line of SQL, and the migrations.
//!
//! SQLite in WAL mode. All writes use one connection, so a write never finds the database locked;
//! reads use other connections and never wait for a write.

mod access;
mod account_access;
mod accounts;
mod alerts;
mod archives;
mod certificates;
mod copies;
mod destination;
mod drills;
mod error;
mod events;
mod instances;
mod jobs;
mod operations;
mod pauses;
mod properties;
mod row;
mod secrets;
mod session_end;
mod snapshots;

use std::{path::Path, time::Duration};

use sqlx::{
    Row, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub use access::{NewToken, Session, StoredToken};
pub use account_access::{AccountSession, Link, LinkKind, Passkey};
pub use accounts::{Transfer, Usage};
pub use alerts::{Alert, AlertRecord};
pub use archives::Archive;
pub use certificates::{Allowance, NameRate};
pub use copies::Copy;
pub use destination::Departure;
pub use drills::Drill;
pub use error::StoreError;
pub use instances::{Idempotency, NewInstance, Submission};
pub use properties::Property;
pub use secrets::SealedSecret;
pub use session_end::Disconnect;

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    read: SqlitePool,
    write: SqlitePool,
}

/// How long a statement waits for another process that holds the database.
const BUSY: Duration = Duration::from_secs(5);

/// Takes the write lock at the start: otherwise a transaction that reads first fails, instead of
/// waiting, when another process (such as an old daemon that is stopping) writes before it.
const IMMEDIATE: &str = "BEGIN IMMEDIATE";

/// Connections for reading; two cores do not benefit from more.
const READERS: u32 = 4;

impl Store {
    /// Opens the database file; creates (mode 600) and migrates it if needed.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        make_private(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // FULL: an operation that was answered with 202 survives a power failure.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let write =
            SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        sqlx::migrate!().run(&write).await?;
        let read = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Self { read, write })
    }

    /// A database in memory that is gone with the last clone.
    pub async fn in_memory() -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await?;
        sqlx::migrate!().run(&pool).await?;
        Ok(Self { read: pool.clone(), write: pool })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.read).await?;
        Ok(())
    }

    /// Whether nothing was ever stored that was encrypted with the master key or with a key derived
    /// from it. Archives, snapshots and accounts outlive their instances.
    pub async fn is_new(&self) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM instances) OR EXISTS (SELECT 1 FROM secrets)
                 OR EXISTS (SELECT 1 FROM archives) OR EXISTS (SELECT 1 FROM snapshots)
                 OR EXISTS (SELECT 1 FROM operations) OR EXISTS (SELECT 1 FROM tokens)
                 OR EXISTS (SELECT 1 FROM accounts) AS used",
        )
        .fetch_one(&self.read)
        .await?;
        Ok(row.try_get::<i64, _>("used")? == 0)
    }

    /// Completes pending writes and closes the files.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }

    /// Writes a copy of the database into a new file that only its owner may read. Writes to the
    /// database continue meanwhile.
    pub async fn write_copy(&self, file: &Path) -> Result<(), StoreError> {
        let path = file.to_str().ok_or_else(|| StoreError::Value("a path of no UTF-8".into()))?;
        // SQLite accepts an empty file.
        make_private(file)?;
        sqlx::query("VACUUM INTO $1").bind(path).execute(&self.read).await?;
        Ok(())
    }
}

/// Creates the file before SQLite does, so that it is never readable by other users. An existing
/// one, such as from a backup, becomes private before SQLite copies its mode to the WAL files.
pub(crate) fn make_private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let failed = |e| StoreError::File(path.to_owned(), e);
    let opened = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    let file = opened.map_err(failed)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_copy_is_written_while_somebody_writes_to_the_database() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("startclaw.db")).await.unwrap();
        // It has the only connection for writing.
        let writer = store.write.begin_with(IMMEDIATE).await.unwrap();
        let copy = dir.path().join("copy.db");
        let written = tokio::time::timeout(Duration::from_secs(10), store.write_copy(&copy)).await;
        written.expect("it does not wait for the writer").unwrap();
        drop(writer);
        assert!(Store::open(&copy).await.unwrap().is_new().await.unwrap());
    }
}
