//! Account administration, as methods.

use reqwest::{Method, RequestBuilder};
use serde::Serialize;
use startclaw_model::{Email, Name};

use super::{Client, ClientError, NO_QUERY, json};
use crate::wire::{
    Account, AccountLink, Accounts, CreateAccount, EmailBody, EmailQuery, FreshAccount, Invitation,
    InvitationQuery, Invitations, Invite, Quota, SetAdmin, SetQuota, Transfer,
};

impl Client {
    /// All accounts, by address.
    pub async fn accounts(&self) -> Result<Vec<Account>, ClientError> {
        let found: Accounts = self.ask(self.request(Method::GET, "/accounts", &NO_QUERY)?).await?;
        Ok(found.accounts)
    }

    /// Creates an account.
    pub async fn create_account(
        &self,
        wanted: &CreateAccount,
    ) -> Result<FreshAccount, ClientError> {
        self.ask(self.posted("/accounts", wanted)?).await
    }

    /// Deletes an account and its instances.
    pub async fn delete_account(&self, email: &Email) -> Result<Account, ClientError> {
        let query = EmailQuery { email: email.clone() };
        self.ask(self.request(Method::DELETE, "/accounts", &query)?).await
    }

    /// Creates a link to set a password.
    pub async fn account_link(&self, email: &Email) -> Result<AccountLink, ClientError> {
        self.ask(self.posted("/accounts/link", &EmailBody { email: email.clone() })?).await
    }

    /// Suspends an account.
    pub async fn suspend_account(&self, email: &Email) -> Result<Account, ClientError> {
        self.ask(self.posted("/accounts/suspend", &EmailBody { email: email.clone() })?).await
    }

    /// Reactivates a suspended account.
    pub async fn resume_account(&self, email: &Email) -> Result<Account, ClientError> {
        self.ask(self.posted("/accounts/resume", &EmailBody { email: email.clone() })?).await
    }

    /// Grants or revokes admin rights.
    pub async fn set_admin(&self, email: &Email, admin: bool) -> Result<Account, ClientError> {
        self.ask(self.posted("/accounts/admin", &SetAdmin { email: email.clone(), admin })?).await
    }

    /// Sets the quota of an account, or resets it to the default.
    pub async fn set_quota(
        &self,
        email: &Email,
        quota: Option<Quota>,
    ) -> Result<Account, ClientError> {
        self.ask(self.posted("/accounts/quota", &SetQuota { email: email.clone(), quota })?).await
    }

    /// Transfers an instance to an account.
    pub async fn transfer(&self, email: &Email, name: &Name) -> Result<Account, ClientError> {
        let wanted = Transfer { email: email.clone(), name: name.clone() };
        self.ask(self.posted("/accounts/transfer", &wanted)?).await
    }

    /// The open invitations, newest first.
    pub async fn invitations(&self) -> Result<Vec<Invitation>, ClientError> {
        let request = self.request(Method::GET, "/invitations", &NO_QUERY)?;
        let found: Invitations = self.ask(request).await?;
        Ok(found.invitations)
    }

    /// Creates an invitation.
    pub async fn invite(&self, wanted: &Invite) -> Result<AccountLink, ClientError> {
        self.ask(self.posted("/invitations", wanted)?).await
    }

    /// Revokes an invitation.
    pub async fn revoke_invitation(&self, id: &str) -> Result<(), ClientError> {
        let query = InvitationQuery { id: id.to_owned() };
        let request = self.request(Method::DELETE, "/invitations", &query)?;
        self.send(request.timeout(super::ANSWER)).await.map(drop)
    }

    fn posted<B: Serialize>(&self, path: &str, body: &B) -> Result<RequestBuilder, ClientError> {
        json(self.request(Method::POST, path, &NO_QUERY)?, body)
    }
}
