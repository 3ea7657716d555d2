//! Administration of accounts.

use startclaw_model::{
    Account, AccountId, AccountState, Actor, Email, EventKind, Name, Quota, Timestamp,
};
use startclaw_store::Usage;

use crate::{AccountError, Accounts, FreshLink};

/// An account with its usage and quota.
#[derive(Debug, Clone)]
pub struct AccountInfo {
    pub account: Account,
    pub usage: Usage,
    pub quota: Quota,
}

impl Accounts {
    /// Creates an account without a password, and a link for its owner to set one.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] for an address that has an account.
    pub async fn create(
        &self,
        actor: &Actor,
        email: Email,
        admin: bool,
    ) -> Result<(Account, FreshLink), AccountError> {
        refuse_reserved(&email)?;
        let account = Account {
            id: AccountId::new(),
            email,
            admin,
            state: AccountState::Active,
            // Confirmed by whoever creates the account.
            confirmed_at: Some(Timestamp::now()),
            quota: None,
            created_at: Timestamp::now(),
            signed_in_at: None,
        };
        self.store().add_account(&account, None, None).await?;
        self.note_by(actor, &format!("made the account {}", account.email)).await;
        let link = self.password_link(actor, &account).await?;
        Ok((account, link))
    }

    /// Finds the account of an address.
    ///
    /// # Errors
    /// [`AccountError::Missing`].
    pub async fn find(&self, email: &Email) -> Result<Account, AccountError> {
        let found = self.store().account_and_password(email).await?;
        found.map(|(account, _)| account).ok_or(AccountError::Missing("account"))
    }

    /// Gets an account by id.
    ///
    /// # Errors
    /// [`AccountError::Missing`].
    pub async fn get(&self, id: &AccountId) -> Result<Account, AccountError> {
        self.store().account(id).await?.ok_or(AccountError::Missing("account"))
    }

    /// Adds usage and quota to an account.
    ///
    /// # Errors
    /// Internal errors only.
    pub async fn info(&self, account: Account) -> Result<AccountInfo, AccountError> {
        let usage = self.store().usage(&account.id).await?;
        Ok(self.with_usage(account, usage))
    }

    /// All accounts, by address.
    ///
    /// # Errors
    /// Internal errors only.
    pub async fn all(&self) -> Result<Vec<AccountInfo>, AccountError> {
        let mut usages = self.store().usages().await?;
        let all = self.store().accounts().await?.into_iter().map(|account| {
            let usage = usages.remove(&account.id).unwrap_or_default();
            self.with_usage(account, usage)
        });
        Ok(all.collect())
    }

    fn with_usage(&self, account: Account, usage: Usage) -> AccountInfo {
        let quota = account.quota.unwrap_or(self.settings().quota);
        AccountInfo { account, usage, quota }
    }

    /// Suspends an account, or resumes it. Its instances keep running.
    ///
    /// # Errors
    /// [`AccountError::LastAdmin`]; [`AccountError::Missing`] if its deletion is pending.
    pub async fn suspend(
        &self,
        actor: &Actor,
        account: Account,
        suspend: bool,
    ) -> Result<(), AccountError> {
        let wanted = if suspend { AccountState::Suspended } else { AccountState::Active };
        let change = move |account: &mut Account| {
            if account.state != AccountState::PendingDeletion {
                account.state = wanted;
            }
        };
        if self.change(actor, &account.id, change).await?.state != wanted {
            return Err(AccountError::Missing("account"));
        }
        let what = if suspend { "suspended" } else { "resumed" };
        self.note_by(actor, &format!("{what}: {}", account.email)).await;
        Ok(())
    }

    /// Grants or revokes admin rights.
    ///
    /// # Errors
    /// [`AccountError::LastAdmin`].
    pub async fn set_admin(
        &self,
        actor: &Actor,
        account: Account,
        admin: bool,
    ) -> Result<(), AccountError> {
        self.change(actor, &account.id, move |account| account.admin = admin).await?;
        let what = if admin { "granted admin rights" } else { "revoked admin rights" };
        self.note_by(actor, &format!("{what}: {}", account.email)).await;
        Ok(())
    }

    /// Sets the quota of an account, or resets it to the default.
    ///
    /// # Errors
    /// Internal errors only.
    pub async fn set_quota(
        &self,
        actor: &Actor,
        account: Account,
        quota: Option<Quota>,
    ) -> Result<(), AccountError> {
        self.change(actor, &account.id, move |account| account.quota = quota).await?;
        self.note_by(actor, &format!("changed the quota of {}", account.email)).await;
        Ok(())
    }

    /// Transfers an instance to an account, which then sees it in the portal.
    ///
    /// # Errors
    /// Errors of the engine; [`AccountError::Missing`] if the account's deletion is pending.
    pub async fn transfer(
        &self,
        actor: &Actor,
        name: &Name,
        account: &Account,
    ) -> Result<(), AccountError> {
        if !self.inner.engine.transfer(name, &account.id).await? {
            return Err(AccountError::Missing("account"));
        }
        self.note_by(actor, &format!("transferred {name} to {}", account.email)).await;
        Ok(())
    }

    /// Changes an account, revokes the access it lost, and returns the changed account. An operator
    /// at the socket needs no admin account, so may remove the last one.
    pub(crate) async fn change(
        &self,
        actor: &Actor,
        id: &AccountId,
        change: impl FnOnce(&mut Account) + Send + 'static,
    ) -> Result<Account, AccountError> {
        let (accounts, id, operator) = (self.clone(), id.clone(), actor.is_operator());
        self.owned(async move {
            let changed = accounts.store().change_account(&id, operator, change).await?;
            changed.ok_or(AccountError::Missing("account"))
        })
        .await
    }

    /// Records an event about an account by its owner.
    pub(crate) async fn note(&self, account: &Account, what: &str) {
        let detail = format!("{what}: {}", account.email);
        self.note_by(&Actor::account(&account.id), &detail).await;
    }

    pub(crate) async fn note_by(&self, actor: &Actor, detail: &str) {
        self.inner.engine.note(EventKind::Changed, actor, detail).await;
    }
}

/// Rejects an address that is reserved for the platform itself: OpenClaw gets the address of an
/// instance's owner as identity.
pub(crate) fn refuse_reserved(email: &Email) -> Result<(), AccountError> {
    if startclaw_engine::is_reserved(email.as_str()) {
        return Err(AccountError::invalid("email", "this address is reserved"));
    }
    Ok(())
}
