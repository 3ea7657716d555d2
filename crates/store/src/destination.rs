//! The destination of backups: its identity, and a change to another one.

use sqlx::Row;

use crate::{IMMEDIATE, Property, Store, StoreError};

/// What becomes of the copies at a destination that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// The former destination was the folder on this host, which holds the copies beside those in the
    /// bucket from now on.
    CopiesStayHere,
    /// The folder on this host is the destination from now on.
    ToThisHost,
    /// They are not listed any more; those on this host, beside a bucket, are.
    CopiesAreLeft,
    /// They are not listed any more, and neither are those on this host: they belonged to a bucket.
    AllIsLeft,
}

impl Store {
    /// Whether any snapshot is known to be at the destination.
    pub async fn has_remote_snapshots(&self) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT EXISTS (SELECT 1 FROM snapshots WHERE remote = 1) AS known")
            .fetch_one(&self.read)
            .await?;
        Ok(row.try_get::<i64, _>("known")? != 0)
    }

    /// The backups go to the destination with this identity and address from now on; `departure` is
    /// what becomes of the copies at the former one, if it is another. The control plane is not
    /// backed up there yet.
    ///
    /// Removed instances keep what has no copy any more as missing: their keys go with the last
    /// snapshot, and the former destination may come back.
    pub async fn set_destination(
        &self,
        id: &str,
        address: &str,
        departure: Option<Departure>,
    ) -> Result<(), StoreError> {
        let statement = match departure {
            Some(Departure::CopiesStayHere) => Some(
                "UPDATE snapshots SET local = MAX(local, remote), remote = 0,
                        verified_local = COALESCE(verified_remote, verified_local),
                        verified_remote = NULL",
            ),
            Some(Departure::ToThisHost) => Some(
                "UPDATE snapshots SET remote = local, local = 0,
                    verified_remote = verified_local, verified_local = NULL",
            ),
            Some(Departure::CopiesAreLeft) => {
                Some("UPDATE snapshots SET remote = 0, verified_remote = NULL")
            }
            Some(Departure::AllIsLeft) => Some(
                "UPDATE snapshots SET remote = 0, local = 0,
                    verified_remote = NULL, verified_local = NULL",
            ),
            None => None,
        };
        let mut tx = self.write.begin_with(IMMEDIATE).await?;
        if let Some(statement) = statement {
            sqlx::query(statement).execute(&mut *tx).await?;
            sqlx::query(
                "DELETE FROM snapshots WHERE local = 0 AND remote = 0
                    AND instance_id NOT IN (SELECT instance_id FROM archives)",
            )
            .execute(&mut *tx)
            .await?;
        }
        crate::properties::set(&mut tx, Property::DestinationId, id).await?;
        crate::properties::set(&mut tx, Property::DestinationAddress, address).await?;
        crate::properties::remove(&mut tx, Property::SavedRevision).await?;
        Ok(tx.commit().await?)
    }
}
