//! Sessions of accounts.

use std::time::Duration;

use startclaw_engine::{Holder, digest, random};
use startclaw_model::{
    Account, AccountId, AccountState, Actor, Name, Principal, Secret, Timestamp, is_visible,
};
use startclaw_store::AccountSession;

use crate::{AccountError, Accounts, Origin};

/// How long a session lasts.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// Resolution of the last-seen time.
const SEEN_EVERY: Duration = Duration::from_secs(300);
/// Maximum length of the stored user agent, in characters.
const DEVICE: usize = 200;

/// A signed-in user.
#[derive(Debug, Clone)]
pub struct SignedIn {
    pub account: Account,
    pub session: AccountSession,
}

impl SignedIn {
    /// The actor, for the audit log.
    pub fn actor(&self) -> Actor {
        Actor::account(&self.account.id)
    }

    /// The principal, for access checks.
    pub fn principal(&self) -> Principal {
        Principal::of_account(&self.account)
    }

    /// The holder, for streams.
    pub fn holder(&self) -> Holder {
        Holder::Session(self.account.id.clone(), self.session.hash.clone())
    }

    /// Whether the user may see the instance `name` of `owner`: their own, or any for an admin.
    pub fn can_access(&self, name: &Name, owner: Option<&AccountId>) -> bool {
        self.principal().can_access(name, owner)
    }
}

#[derive(Debug, Clone)]
pub struct FreshSession {
    /// The value of the session cookie.
    pub value: Secret,
    /// The value that marks this device at the next sign-in.
    pub device: Secret,
    pub account: Account,
}

impl Accounts {
    /// Opens a session. Its value is always new, so a planted cookie is worthless.
    ///
    /// # Errors
    /// [`AccountError::Refused`] if the account was suspended or deleted meanwhile.
    pub(crate) async fn open_session(
        &self,
        mut account: Account,
        origin: &Origin,
    ) -> Result<FreshSession, AccountError> {
        let (value, now) = (random(), Timestamp::now());
        account.signed_in_at = Some(now);
        let opened = self
            .store()
            .add_account_session(&AccountSession {
                hash: digest(&value),
                id: random()[..12].replace(['-', '_'], "x"),
                account: account.id.clone(),
                device: origin.device.chars().filter(|c| is_visible(*c)).take(DEVICE).collect(),
                address: origin.address.to_string(),
                created_at: now,
                seen_at: now,
                expires_at: now.plus(SESSION_LIFETIME),
            })
            .await?;
        if !opened {
            return Err(AccountError::Refused);
        }
        let device = self.device_mark(&account);
        Ok(FreshSession { value: Secret::new(value), device, account })
    }

    /// The session of a cookie; `None` if the account is suspended or its deletion is pending.
    ///
    /// # Errors
    /// Internal errors only.
    pub async fn authenticate(
        &self,
        cookie: &str,
        origin: &Origin,
    ) -> Result<Option<SignedIn>, AccountError> {
        let now = Timestamp::now();
        let hash = digest(cookie);
        let Some(session) = self.store().account_session(&hash, now).await? else {
            return Ok(None);
        };
        let Some(account) = self.store().account(&session.account).await? else { return Ok(None) };
        if account.state != AccountState::Active {
            return Ok(None);
        }
        if now.since(session.seen_at) >= SEEN_EVERY {
            self.store().touch_account_session(&hash, &origin.address.to_string(), now).await?;
        }
        Ok(Some(SignedIn { account, session }))
    }

    /// Ends the session and the instance sessions opened from it.
    ///
    /// # Errors
    /// Internal errors only.
    pub async fn sign_out(&self, who: &SignedIn) -> Result<(), AccountError> {
        self.end(&who.account.id, Some(&who.session.id), None).await.map(drop)
    }

    /// The sessions of an account.
    ///
    /// # Errors
    /// Internal errors only.
    pub async fn sessions(&self, id: &AccountId) -> Result<Vec<AccountSession>, AccountError> {
        Ok(self.store().account_sessions(id, Timestamp::now()).await?)
    }

    /// Ends one session of the account.
    ///
    /// # Errors
    /// [`AccountError::Missing`] if the account has no such session.
    pub async fn end_session(&self, who: &SignedIn, id: &str) -> Result<(), AccountError> {
        match self.end(&who.account.id, Some(id), None).await? {
            0 => Err(AccountError::Missing("session")),
            _ => Ok(()),
        }
    }

    /// Ends all other sessions of the account.
    ///
    /// # Errors
    /// Internal errors only.
    pub async fn end_other_sessions(&self, who: &SignedIn) -> Result<u64, AccountError> {
        self.end(&who.account.id, None, Some(&who.session.hash)).await
    }

    pub(crate) async fn end(
        &self,
        id: &AccountId,
        only: Option<&str>,
        but: Option<&str>,
    ) -> Result<u64, AccountError> {
        let (accounts, id) = (self.clone(), id.clone());
        let (only, but) = (only.map(str::to_owned), but.map(str::to_owned));
        self.owned(async move {
            let (only, but) = (only.as_deref(), but.as_deref());
            Ok(accounts.store().end_account_sessions(&id, only, but).await?)
        })
        .await
    }

    /// Completes a change that may revoke access even if the caller is dropped, and then enforces
    /// it.
    pub(crate) async fn owned<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, AccountError>> + Send + 'static,
    ) -> Result<T, AccountError> {
        let engine = self.inner.engine.clone();
        let work = async move {
            let done = change.await?;
            engine.enforce_access().await;
            Ok(done)
        };
        self.inner.engine.detached(work).await
    }
}
