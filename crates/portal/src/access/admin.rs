//! A user with admin rights: all instances, all accounts, the host.

use std::time::Duration;

use axum::{extract::FromRequestParts, http::request::Parts};
use startclaw_accounts::{AccountInfo, FreshLink, Link};
use startclaw_engine::{Alert, InstanceStatus, MachineHistory, Sample};
use startclaw_model::{Account, AccountId, Email, Event, Operation, Quota, TimeZone};

use super::{CurrentUser, Names, Portal};
use crate::{answer::Rejection, error::RejectionKind, frame::Site};

/// A user with admin rights.
pub(crate) struct Admin {
    user: CurrentUser,
}

impl Admin {
    pub fn site(&self) -> Site {
        self.user.site()
    }

    pub fn refuse(&self, why: impl Into<RejectionKind>) -> Rejection {
        self.user.refuse(why)
    }

    /// Whether an account is the admin's own.
    pub fn is(&self, account: &Account) -> bool {
        account.id == self.user.account().id
    }

    /// All instances, by name.
    pub async fn instances(&self) -> Result<Vec<InstanceStatus>, Rejection> {
        self.user.engine().status_all().await.map_err(|e| self.refuse(e))
    }

    /// The usage of an instance over the last hours, oldest first.
    pub fn usage(&self, instance: &InstanceStatus) -> Vec<Sample> {
        self.user.engine().usage(instance)
    }

    /// The usage of the host over the last hours, and its resources.
    pub fn machine_usage(&self) -> MachineHistory {
        self.user.engine().machine_usage()
    }

    /// The newest operations first, at most `limit`, of all instances.
    pub async fn operations(&self, limit: u32) -> Result<Vec<Operation>, Rejection> {
        let newest = self.user.engine().operations(None, limit).await;
        newest.map_err(|e| self.refuse(e))
    }

    /// The newest events first, at most `limit`, of all instances.
    pub async fn events(&self, limit: u32) -> Result<Vec<Event>, Rejection> {
        self.user.engine().events(None, limit).await.map_err(|e| self.refuse(e))
    }

    /// The unresolved alerts.
    pub async fn alerts(&self) -> Result<Vec<Alert>, Rejection> {
        self.user.engine().alerts().await.map_err(|e| self.refuse(e))
    }

    /// The names of all who may have requested something.
    pub async fn names(&self) -> Result<Names, Rejection> {
        let tokens = self.user.engine().tokens().await.map_err(|e| self.refuse(e))?;
        Ok(Names::new(&self.accounts().await?, &tokens))
    }

    /// All accounts, by address.
    pub async fn accounts(&self) -> Result<Vec<AccountInfo>, Rejection> {
        self.user.accounts().all().await.map_err(|e| self.refuse(e))
    }

    pub async fn account(&self, id: String) -> Result<Account, Rejection> {
        let found = self.user.accounts().get(&AccountId(id)).await;
        found.map_err(|_| self.refuse(RejectionKind::Nothing))
    }

    /// An account with its usage and quota.
    pub async fn info(&self, account: Account) -> Result<AccountInfo, Rejection> {
        self.user.accounts().info(account).await.map_err(|e| self.refuse(e))
    }

    /// The time zone of days and times.
    pub fn time_zone(&self) -> &TimeZone {
        &self.user.settings().backup.time_zone
    }

    /// The quota of accounts that have none of their own.
    pub fn default_quota(&self) -> Quota {
        self.user.accounts().settings().quota
    }

    /// Sets the quota of an account, or resets it to the default.
    pub async fn set_quota(
        &self,
        account: &Account,
        quota: Option<Quota>,
    ) -> Result<(), Rejection> {
        let accounts = self.user.accounts();
        let set = accounts.set_quota(&self.user.actor(), account.clone(), quota).await;
        set.map_err(|e| self.refuse(e))
    }

    /// Suspends an account, or resumes it.
    pub async fn suspend(&self, account: &Account, suspend: bool) -> Result<(), Rejection> {
        let accounts = self.user.accounts();
        let done = accounts.suspend(&self.user.actor(), account.clone(), suspend).await;
        done.map_err(|e| self.refuse(e))
    }

    /// Grants or revokes admin rights.
    pub async fn set_admin(&self, account: &Account, admin: bool) -> Result<(), Rejection> {
        let accounts = self.user.accounts();
        let done = accounts.set_admin(&self.user.actor(), account.clone(), admin).await;
        done.map_err(|e| self.refuse(e))
    }

    /// Creates a link to set the password of an account.
    pub async fn password_link(&self, account: &Account) -> Result<FreshLink, Rejection> {
        let link = self.user.accounts().password_link(&self.user.actor(), account).await;
        link.map_err(|e| self.refuse(e))
    }

    /// The valid invitations.
    pub async fn invitations(&self) -> Result<Vec<Link>, Rejection> {
        self.user.accounts().invitations().await.map_err(|e| self.refuse(e))
    }

    /// Creates an invitation, for one address or for anyone with the link.
    pub async fn invite(
        &self,
        email: Option<Email>,
        life: Duration,
    ) -> Result<FreshLink, Rejection> {
        let link = self.user.accounts().invite(&self.user.actor(), email, life).await;
        link.map_err(|e| self.refuse(e))
    }

    pub async fn revoke_invitation(&self, id: &str) -> Result<(), Rejection> {
        let accounts = self.user.accounts();
        let revoked = accounts.revoke_invitation(&self.user.actor(), id).await;
        revoked.map_err(|e| self.refuse(e))
    }
}

impl FromRequestParts<Portal> for Admin {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Rejection> {
        let user = CurrentUser::from_request_parts(parts, portal).await?;
        if user.account().admin {
            Ok(Self { user })
        } else {
            Err(user.refuse(RejectionKind::NotAdmin))
        }
    }
}
