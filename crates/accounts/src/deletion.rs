//! Deletes an account: sign-in ends at once, its instances are deprovisioned with a final
//! backup each, and when the last is gone, the account is deleted. The request is stored first, so
//! a daemon that crashes continues.

use std::time::Duration;

use startclaw_engine::EngineError;
use startclaw_model::{Account, AccountId, AccountState, Actor, DeletionPolicy, Presence};
use tokio_util::sync::CancellationToken;

use crate::{AccountError, Accounts};

/// Interval at which pending deletions are read.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

impl Accounts {
    /// Deletes an account, requested by its owner or an admin.
    ///
    /// # Errors
    /// [`AccountError::LastAdmin`].
    pub async fn delete(&self, actor: &Actor, account: Account) -> Result<(), AccountError> {
        self.change(actor, &account.id, |account| account.state = AccountState::PendingDeletion)
            .await?;
        self.note_by(actor, &format!("deletes the account: {}", account.email)).await;
        self.inner.deletion_requested.notify_one();
        Ok(())
    }

    /// Deletes accounts with a pending deletion until it is stopped.
    pub async fn delete_pending_accounts(self, stop: CancellationToken) {
        loop {
            self.delete_pending_once().await;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.inner.deletion_requested.notified() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
        }
    }

    async fn delete_pending_once(&self) {
        let all = match self.store().accounts().await {
            Ok(all) => all,
            Err(e) => {
                tracing::error!(error = ?e, "cannot list accounts to delete; retrying");
                return;
            }
        };
        for account in all.into_iter().filter(|a| a.state == AccountState::PendingDeletion) {
            match self.delete_account(&account.id).await {
                Ok(false) => {}
                Ok(true) => tracing::info!(account = %account.id, "an account was deleted"),
                // Continue with the others.
                Err(e) => {
                    tracing::error!(account = %account.id, error = ?e, "cannot delete an account yet; retrying");
                }
            }
        }
    }

    async fn delete_account(&self, id: &AccountId) -> Result<bool, AccountError> {
        self.remove_instances(id).await?;
        Ok(self.store().remove_account(id).await?)
    }

    async fn remove_instances(&self, id: &AccountId) -> Result<(), AccountError> {
        let engine = &self.inner.engine;
        // From the database: an instance may have been transferred a moment ago.
        for instance in self.store().instances().await? {
            let theirs = instance.account.as_ref() == Some(id);
            if !theirs || instance.desired.presence == Presence::Absent {
                continue;
            }
            let actor = Actor::account(id);
            match engine.deprovision(&actor, &instance, DeletionPolicy::FinalBackup, None).await {
                Ok(_) | Err(EngineError::NoInstance(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}
