//! The backups of removed instances: which there are, and their deletion on request.

use std::{collections::HashMap, time::Duration};

use startclaw_model::{Actor, Email, EventKind, Name, Owner, Timestamp};
use startclaw_store::Archive;

use crate::{Engine, EngineError, JobContext};

/// A removed instance that has backups and can be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedInstance {
    /// Its name; a removed instance may share it with others.
    pub name: Name,
    /// Its owner.
    pub owner: Owner,
    /// When it was removed.
    pub removed_at: Timestamp,
    /// How many backups there are.
    pub backups: u32,
}

/// The removed instances whose backups are deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemovedOf {
    /// All that had this name.
    Name(Name),
    /// All of the account with this address, which may be deleted.
    Account(Email),
}

impl From<&Name> for RemovedOf {
    fn from(name: &Name) -> Self {
        Self::Name(name.clone())
    }
}

impl From<&Email> for RemovedOf {
    fn from(email: &Email) -> Self {
        Self::Account(email.clone())
    }
}

/// The result of a deletion of backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgedBackups {
    /// How many were deleted by this request.
    pub deleted: u32,
    /// How many are still to be deleted.
    pub pending: u32,
}

/// How long a request waits for the deletion of backups: less than the limit of a response.
const PURGE_WAIT: Duration = Duration::from_secs(8);

impl Engine {
    /// The deprovisioned instances that can be restored, by name; if set, those of one account.
    pub async fn removed(
        &self,
        account: Option<&Email>,
    ) -> Result<Vec<RemovedInstance>, EngineError> {
        let archives = match account {
            Some(email) => self.archives_of(&email.into()).await?,
            None => self.store().archives().await?,
        };
        let mut removed = Vec::new();
        for archive in archives.into_iter().filter(|archive| !archive.purge) {
            let backups = self.count_backups(std::slice::from_ref(&archive)).await?;
            let Archive { name, owner, removed_at, .. } = archive;
            removed.push(RemovedInstance { name, owner, removed_at, backups });
        }
        Ok(removed)
    }

    /// Deletes all backups of these removed instances, which then cannot be restored. Waits a while
    /// for it; what is left is deleted later. A repeated request waits again.
    ///
    /// # Errors
    /// When no removed instance had the name. An account may have none.
    pub async fn purge_backups_of_removed(
        &self,
        actor: &Actor,
        of: impl Into<RemovedOf>,
    ) -> Result<PurgedBackups, EngineError> {
        let of = of.into();
        let (engine, actor, wanted) = (self.clone(), actor.clone(), of.clone());
        let work = self.detached(async move {
            let archives = engine.archives_of(&wanted).await?;
            if let (RemovedOf::Name(name), true) = (&wanted, archives.is_empty()) {
                return Err(engine.nothing_removed(name).await);
            }
            let before = engine.count_backups(&archives).await?;
            for archive in archives.iter().filter(|archive| !archive.purge) {
                engine.store().begin_erasing(&archive.id).await?;
                let about = Some((&archive.id, &archive.name));
                let what = "requested the deletion of its backups";
                engine.record(EventKind::Changed, about, &actor, what).await;
            }
            engine.inner.job_service.purge_archives(&JobContext::new(&engine)).await?;
            let pending = engine.count_backups(&engine.archives_of(&wanted).await?).await?;
            Ok(PurgedBackups { deleted: before.saturating_sub(pending), pending })
        });
        match tokio::time::timeout(PURGE_WAIT, work).await {
            Ok(done) => done,
            // It continues.
            Err(_) => {
                let pending = self.count_backups(&self.archives_of(&of).await?).await?;
                Ok(PurgedBackups { deleted: 0, pending })
            }
        }
    }

    /// The error when no removed instance had the name.
    async fn nothing_removed(&self, name: &Name) -> EngineError {
        match self.store().instance(name).await {
            Ok(_) => EngineError::Conflict(format!(
                "{name} exists, and backups of an existing instance are deleted only with it"
            )),
            Err(e) => EngineError::of(name, e),
        }
    }

    async fn archives_of(&self, of: &RemovedOf) -> Result<Vec<Archive>, EngineError> {
        let mut archives = self.store().archives().await?;
        match of {
            RemovedOf::Name(name) => archives.retain(|archive| archive.name == *name),
            RemovedOf::Account(email) => {
                let accounts = self.store().accounts().await?;
                let emails: HashMap<_, _> =
                    accounts.iter().map(|account| (&account.id, &account.email)).collect();
                archives.retain(|archive| {
                    let known = archive.account.as_ref().and_then(|id| emails.get(id));
                    // An account that was deleted is known by the owner only.
                    known.map_or_else(
                        || archive.owner.as_str().eq_ignore_ascii_case(email.as_str()),
                        |known| *known == email,
                    )
                });
            }
        }
        Ok(archives)
    }

    /// The number of snapshots of these removed instances.
    async fn count_backups(&self, archives: &[Archive]) -> Result<u32, EngineError> {
        let mut count = 0;
        for archive in archives {
            count += self.store().snapshots(&archive.id).await?.len();
        }
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }
}
