//! Who is signed in, on which devices.

use std::time::Duration;

use startclaw_engine::{Holder, digest, random};
use startclaw_model::{
    Account, AccountId, AccountState, Actor, Name, Principal, Secret, Timestamp, is_visible,
};
use startclaw_store::AccountSession;

use crate::{AccountError, Accounts, Origin};

/// How long a session lasts.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// How exactly it is noted when a session was seen.
const SEEN_EVERY: Duration = Duration::from_secs(300);
/// What a browser says of itself is kept up to so many characters.
const DEVICE: usize = 200;

/// A signed-in user.
#[derive(Debug, Clone)]
pub struct SignedIn {
    pub account: Account,
    /// With which session.
    pub session: AccountSession,
}

impl SignedIn {
    /// Who it is, for the audit trail.
    pub fn actor(&self) -> Actor {
        Actor::account(&self.account.id)
    }

    /// Who it is, for the policy of who may access what.
    pub fn principal(&self) -> Principal {
        Principal::of_account(&self.account)
    }

    /// Who it is, for streams.
    pub fn holder(&self) -> Holder {
        Holder::Session(self.account.id.clone(), self.session.hash.clone())
    }

    /// Whether this person may see the instance `name` of `owner`: their own, or any for an admin.
    pub fn can_access(&self, name: &Name, owner: Option<&AccountId>) -> bool {
        self.principal().can_access(name, owner)
    }
}

/// A session that was just opened.
#[derive(Debug, Clone)]
pub struct FreshSession {
    /// What the cookie holds.
    pub value: Secret,
    /// What the device is known by at the next sign-in.
    pub device: Secret,
    /// Whose it is.
    pub account: Account,
}

impl Accounts {
    /// Opens a session. A new value each time: one that was planted before is worth nothing.
    ///
    /// # Errors
    /// [`AccountError::Refused`] when the account was closed to its owner meanwhile.
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

    /// Who has this cookie. Nobody whose account is suspended or leaves.
    ///
    /// # Errors
    /// Only for what failed inside.
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

    /// Ends the session, and with it those in instances that were entered from it.
    ///
    /// # Errors
    /// Only for what failed inside.
    pub async fn sign_out(&self, who: &SignedIn) -> Result<(), AccountError> {
        self.end(&who.account.id, Some(&who.session.id), None).await.map(drop)
    }

    /// The devices on which somebody is signed in.
    ///
    /// # Errors
    /// Only for what failed inside.
    pub async fn sessions(&self, id: &AccountId) -> Result<Vec<AccountSession>, AccountError> {
        Ok(self.store().account_sessions(id, Timestamp::now()).await?)
    }

    /// Ends one session of somebody.
    ///
    /// # Errors
    /// [`AccountError::Missing`] when they have none that is called so.
    pub async fn end_session(&self, who: &SignedIn, id: &str) -> Result<(), AccountError> {
        match self.end(&who.account.id, Some(id), None).await? {
            0 => Err(AccountError::Missing("session")),
            _ => Ok(()),
        }
    }

    /// Ends all other sessions of somebody.
    ///
    /// # Errors
    /// Only for what failed inside.
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

    /// Runs a change that may take access away to its end, also when the caller is dropped, and
    /// then enforces it.
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
