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
    /// Deletes an account: its owner's wish, or an admin's.
    ///
    /// # Errors
    /// [`AccountError::LastAdmin`].
    pub async fn delete(&self, actor: &Actor, account: Account) -> Result<(), AccountError> {
        self.change(actor, &account.id, |account| account.state = AccountState::Leaving).await?;
        self.note_by(actor, &format!("deletes the account: {}", account.email)).await;
        self.inner.leaving.notify_one();
        Ok(())
    }

    /// Sees those off who leave, until it is told to stop.
    pub async fn see_off(self, stop: CancellationToken) {
        loop {
            self.see_off_once().await;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.inner.leaving.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn see_off_once(&self) {
        let all = match self.store().accounts().await {
            Ok(all) => all,
            Err(e) => {
                tracing::error!(error = ?e, "it is not known who leaves; trying again");
                return;
            }
        };
        for account in all.into_iter().filter(|a| a.state == AccountState::Leaving) {
            match self.see_one_off(&account.id).await {
                Ok(false) => {}
                Ok(true) => tracing::info!(account = %account.id, "an account was deleted"),
                // The others need not wait for this one.
                Err(e) => {
                    tracing::error!(account = %account.id, error = ?e, "an account that leaves is still there; trying again");
                }
            }
        }
    }

    async fn see_one_off(&self, id: &AccountId) -> Result<bool, AccountError> {
        self.remove_instances(id).await?;
        Ok(self.store().remove_account(id).await?)
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
