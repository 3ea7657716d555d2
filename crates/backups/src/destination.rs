//! The destination of backups is known by an identity of its own: an unmounted folder, a new bucket
//! or a changed setting is not taken for the destination that holds the backups.

use startclaw_backup::{BackupError, BackupErrorKind, Report, Repository, Work};
use startclaw_engine::EngineError;
use startclaw_model::{Actor, CONTROL_PLANE, EventKind};
use startclaw_store::{Departure, Property};

use crate::{Backups, take::inside, unexpected_report};

/// The key of the alert that the destination is not the one that is known.
pub(crate) const ALERT: &str = "destination";
/// What to do about it.
const ADVICE: &str =
    "if it is right that the backups go there from now on: startclaw backups accept-destination";

impl Backups {
    /// The copies of an instance on this host, when the destination is a bucket.
    pub(crate) fn local_repository(&self, id: &str) -> Option<Repository> {
        self.inner.layout.local(self.engine.vault(), id)
    }

    /// The repository of an instance at the destination.
    ///
    /// # Errors
    /// [`BackupErrorKind::Foreign`] when the destination is not the one that is known; errors of the
    /// storage.
    pub(crate) async fn offsite_repository(&self, id: &str) -> Result<Repository, BackupError> {
        let destination_id = Some(self.destination_id().await?);
        Ok(Repository { destination_id, ..self.inner.layout.offsite(self.engine.vault(), id) })
    }

    /// The repository that a backup is written to first.
    ///
    /// # Errors
    /// Those of [`Self::offsite_repository`].
    pub(crate) async fn first_repository(&self, id: &str) -> Result<Repository, BackupError> {
        match self.local_repository(id) {
            Some(local) => Ok(local),
            None => self.offsite_repository(id).await,
        }
    }

    /// The identity of the destination. The first time it is read there, or given to it; later it is
    /// the one in the database, and workers verify that the destination has it.
    async fn destination_id(&self) -> Result<String, BackupError> {
        let _one = self.inner.identifying.lock().await;
        let store = self.engine.store();
        let before = store.property(Property::DestinationAddress).await.map_err(inside)?;
        let known_id = store.property(Property::DestinationId).await.map_err(inside)?;
        let moved = before.as_ref() != Some(&self.inner.layout.address());
        if let Some(id) = known_id.clone().filter(|_| !moved) {
            return Ok(id);
        }
        let first_time = known_id.is_none();
        let mut departure = None;
        let (id, has_repositories) = self.identify(None).await?;
        let known = store.has_remote_snapshots().await.map_err(inside)?;
        if let Some(known_id) = known_id.filter(|_| known) {
            // The first bucket: what was on this host only is uploaded to it.
            let own = self.inner.layout.own_address();
            let first = self.inner.layout.has_bucket() && before == Some(own);
            if !first || has_repositories || id.as_ref().is_some_and(|id| *id != known_id) {
                // A copy of the former destination has its identity, and needs not be asked again;
                // workers refuse others.
                if id.as_ref() == Some(&known_id) {
                    let address = self.inner.layout.address();
                    store.set_destination(&known_id, &address, None).await.map_err(inside)?;
                }
                return Ok(known_id);
            }
            departure = Some(Departure::CopiesStayHere);
        }
        let id = match id {
            Some(id) => id,
            // Older versions gave none.
            None if has_repositories || !known || !first_time => self.create_identity().await?,
            None => {
                let address = &self.inner.layout.address();
                let message = format!(
                    "{address} is empty, and is not the destination that holds the backups: is the folder mounted, is backup.destination right? {ADVICE}"
                );
                return Err(BackupError { kind: BackupErrorKind::Foreign, message });
            }
        };
        let address = self.inner.layout.address();
        store.set_destination(&id, &address, departure).await.map_err(inside)?;
        Ok(id)
    }

    /// The backups go to the destination in the settings from now on, whatever held them before.
    /// Returns its address.
    pub(crate) async fn accept_destination(&self, actor: &Actor) -> Result<String, EngineError> {
        let _one = self.inner.identifying.lock().await;
        let (found, has_repositories) = self.identify(None).await.map_err(refused)?;
        let store = self.engine.store();
        let known = store.property(Property::DestinationId).await?;
        let address_before = store.property(Property::DestinationAddress).await?;
        let id = match found {
            Some(id) => id,
            None => self.create_identity().await.map_err(refused)?,
        };
        // An older version knew no identity: what has repositories is what it wrote to.
        let another = known.map_or(!has_repositories, |known| known != id);
        let departure = another.then(|| self.departure(address_before.as_deref()));
        let address = self.inner.layout.address();
        store.set_destination(&id, &address, departure).await?;
        store.resolve(ALERT).await?;
        self.engine.alerts_changed();
        self.inner.bucket.answered();
        let what = format!("accepted {address} as the destination of backups");
        self.engine.record(EventKind::Changed, None, actor, &what).await;
        Ok(address)
    }

    /// What becomes of the copies at a former destination. The folder of this host is the destination
    /// when there is no other one, and else holds the copies beside those in a bucket.
    fn departure(&self, before: Option<&str>) -> Departure {
        let own = self.inner.layout.own_address();
        if before == Some(own.as_str()) && self.inner.layout.has_bucket() {
            Departure::CopiesStayHere
        } else if self.inner.layout.address() == own {
            Departure::ToThisHost
        } else if self.inner.layout.has_bucket() {
            Departure::CopiesAreLeft
        } else {
            Departure::AllIsLeft
        }
    }

    /// Fires the alert if an error means that the destination is another one; resolves it if a job
    /// succeeded there.
    pub(crate) async fn note_destination_error<T>(
        &self,
        outcome: &Result<T, BackupError>,
    ) -> Result<(), EngineError> {
        let news = match outcome {
            Ok(_) => self.engine.store().resolve(ALERT).await?,
            Err(e) if e.kind == BackupErrorKind::Foreign => {
                let told = e.message.contains(ADVICE);
                let detail =
                    if told { e.message.clone() } else { format!("{}. {ADVICE}", e.message) };
                self.engine.store().fire(ALERT, &detail).await?
            }
            Err(_) => false,
        };
        if news {
            self.engine.alerts_changed();
        }
        Ok(())
    }

    async fn create_identity(&self) -> Result<String, BackupError> {
        let fresh = format!("{:032x}", rand::random::<u128>());
        let (id, _) = self.identify(Some(fresh)).await?;
        id.ok_or_else(|| BackupError {
            kind: BackupErrorKind::Unavailable,
            message: format!("{} did not take its identity", self.inner.layout.address()),
        })
    }

    async fn identify(
        &self,
        create: Option<String>,
    ) -> Result<(Option<String>, bool), BackupError> {
        let place = self.inner.layout.offsite(self.engine.vault(), CONTROL_PLANE);
        match self.run(place, Work::Identify { create }).await? {
            Report::Identified { id, has_repositories } => Ok((id, has_repositories)),
            other => Err(unexpected_report(other)),
        }
    }
}

fn refused(e: BackupError) -> EngineError {
    EngineError::Conflict(e.message)
}
