//! Sign-in by password, with rate limits on guesses.
//!
//! Failures are counted per network and per account. For an account they are counted for all
//! unknown devices together, so that many hosts do not guess faster than one. A device that signed
//! in before has a mark and its own counter, so that attackers cannot lock the owner out.

use std::time::Instant;

use startclaw_engine::digest;
use startclaw_model::{Account, AccountState, Email, Secret};

use crate::{AccountError, Accounts, FreshSession, Origin, network_of, password};

impl Accounts {
    /// Signs in by password. `device` is the mark from an earlier sign-in.
    ///
    /// # Errors
    /// [`AccountError::Refused`] whether address or password is wrong; [`AccountError::Slow`] after
    /// too many failures.
    pub async fn sign_in(
        &self,
        email: &str,
        password: &Secret,
        device: Option<&str>,
        origin: &Origin,
    ) -> Result<FreshSession, AccountError> {
        let Ok(email) = Email::parse(email) else { return Err(AccountError::Refused) };
        let found = self.store().account_and_password(&email).await?;
        let known = found
            .as_ref()
            .zip(device)
            .is_some_and(|((account, _), device)| self.device_mark(account).expose() == device);
        let guesses = if known { &self.inner.by_device } else { &self.inner.by_strangers };
        let (network, now) = (network_of(origin.address), Instant::now());
        let waits = [
            guesses.pause(&email.to_string(), now),
            self.inner.by_network.pause(&network, now).filter(|_| !known),
        ];
        if let Some(wait) = waits.into_iter().flatten().max() {
            return Err(AccountError::slow(wait));
        }
        // Counted as a failure in advance, so that concurrent guesses do not exceed the limit.
        guesses.failed(email.to_string(), now);
        self.inner.by_network.failed(network, now);
        let stored = found.as_ref().and_then(|(_, hash)| hash.as_deref());
        let right = self.inner.hasher.is(password, stored).await;
        if !matches!(right, Ok(false)) {
            guesses.forgive(&email.to_string());
            self.inner.by_network.forgive(&network);
        }
        let Some((account, _)) = found.filter(|_| matches!(right, Ok(true))) else {
            return Err(right.err().unwrap_or(AccountError::Refused));
        };
        let account = admit(account)?;
        self.open_session(account, origin).await
    }

    /// Verifies the user's password again before an irreversible action.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] if it is wrong; [`AccountError::Slow`] after too many failures.
    pub async fn confirm_password(
        &self,
        account: &Account,
        password: &Secret,
    ) -> Result<(), AccountError> {
        let (key, now) = (account.email.to_string(), Instant::now());
        if let Some(wait) = self.inner.by_device.pause(&key, now) {
            return Err(AccountError::slow(wait));
        }
        let found = self.store().account_and_password(&account.email).await?;
        self.inner.by_device.failed(key.clone(), now);
        let stored = found.as_ref().and_then(|(_, hash)| hash.as_deref());
        let right = self.inner.hasher.is(password, stored).await;
        if !matches!(right, Ok(false)) {
            self.inner.by_device.forgive(&key);
        }
        if right? {
            return Ok(());
        }
        Err(AccountError::invalid("password", "this is not your password"))
    }

    /// Replaces a password and ends all sessions except the current one.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] for an unacceptable password.
    pub async fn set_password(
        &self,
        account: &Account,
        new: &Secret,
        from: Option<&str>,
    ) -> Result<(), AccountError> {
        password::check(new)?;
        let hash = self.inner.hasher.hash(new).await?;
        self.store_password(account, hash, None, from).await
    }

    pub(crate) async fn store_password(
        &self,
        account: &Account,
        hash: String,
        link: Option<String>,
        from: Option<&str>,
    ) -> Result<(), AccountError> {
        let (accounts, id, from) = (self.clone(), account.id.clone(), from.map(str::to_owned));
        self.owned(async move {
            let store = accounts.store();
            Ok(store.set_password(&id, &hash, link.as_deref(), from.as_deref()).await?)
        })
        .await
    }

    /// The mark of a device that signed in to this account: derived from the account, and grants no
    /// access.
    pub(crate) fn device_mark(&self, account: &Account) -> Secret {
        Secret::new(digest(&self.inner.engine.hmac(&format!("device/{}", account.id))))
    }
}

/// Checks that an account may sign in.
pub(crate) fn admit(account: Account) -> Result<Account, AccountError> {
    match account.state {
        AccountState::Active => Ok(account),
        AccountState::Suspended => Err(AccountError::Suspended),
        AccountState::PendingDeletion => Err(AccountError::Refused),
    }
}
