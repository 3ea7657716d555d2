//! Deleting an account: it can be signed in to no more, its instances are deprovisioned with a last
//! backup each, and when the last is gone, the account goes. What is wanted is stored first, so a
//! daemon that dies over it goes on with it.

use std::time::Duration;

use startclaw_engine::EngineError;
use startclaw_model::{Account, AccountId, AccountState, Actor, Farewell, InstanceState};
use tokio_util::sync::CancellationToken;

use crate::{AccountError, Accounts};

/// Between two looks at who leaves.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Accounts {
    /// Deletes an account.
    ///
    /// # Errors
    /// [`AccountError::LastAdmin`].
    pub async fn delete(&self, mut account: Account) -> Result<(), AccountError> {
        self.spare_last_admin(&account).await?;
        account.state = AccountState::Leaving;
        self.store().save_account(&account).await?;
        self.end(&account.id, None, None).await?;
        self.note(&account, "deletes the account").await;
        self.inner.leaving.notify_one();
        Ok(())
    }

    /// Sees those off who leave, until it is told to stop.
    pub async fn see_off(self, stop: CancellationToken) {
        loop {
            if let Err(e) = self.see_off_once().await {
                tracing::error!(error = ?e, "an account that leaves is still there; trying again");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.inner.leaving.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn see_off_once(&self) -> Result<(), AccountError> {
        let all = self.store().accounts().await?;
        for account in all.into_iter().filter(|a| a.state == AccountState::Leaving) {
            self.remove_instances(&account.id).await?;
            if self.store().remove_account(&account.id).await? {
                tracing::info!(account = %account.id, "an account was deleted");
            }
        }
        Ok(())
    }

    async fn remove_instances(&self, id: &AccountId) -> Result<(), AccountError> {
        let engine = &self.inner.engine;
        for instance in engine.status_all().await? {
            let theirs = instance.account.as_ref() == Some(id);
            if !theirs || instance.state == InstanceState::Removing {
                continue;
            }
            let actor = Actor::account(id);
            match engine.deprovision(&actor, &instance.name, Farewell::Backup, None).await {
                Ok(_) | Err(EngineError::NoInstance(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}
