//! Sign-up.

use startclaw_engine::digest;
use startclaw_model::{Account, AccountId, AccountState, Email, Secret, Timestamp};
use startclaw_store::LinkKind;

use crate::{AccountError, Accounts, FreshSession, Origin, SignUp, password};

impl Accounts {
    /// Creates an account and signs in. An invitation for one address confirms it; else only mail
    /// does, and until then instances created for the address are not linked to the account.
    ///
    /// # Errors
    /// [`AccountError::Closed`], [`AccountError::DeadLink`], [`AccountError::Invalid`],
    /// [`AccountError::Slow`].
    pub async fn sign_up(
        &self,
        email: &str,
        password: &Secret,
        invite: Option<&str>,
        origin: &Origin,
    ) -> Result<FreshSession, AccountError> {
        let email =
            Email::parse(email).map_err(|e| AccountError::invalid("email", e.to_string()))?;
        crate::manage::refuse_reserved(&email)?;
        password::check(password)?;
        let invitation = match invite {
            Some(token) => Some(self.invitation(token).await?.ok_or(AccountError::DeadLink)?),
            None if self.settings().sign_up == SignUp::Open => None,
            None => return Err(AccountError::Closed),
        };
        let invited_as = invitation.as_ref().and_then(|i| i.email.clone());
        if invited_as.as_ref().is_some_and(|only| *only != email) {
            return Err(AccountError::invalid("email", "the invitation is for another address"));
        }
        self.count_request(origin)?;
        let hash = self.inner.hasher.hash(password).await?;
        let account = Account {
            id: AccountId::new(),
            email,
            admin: false,
            state: AccountState::Active,
            confirmed_at: invited_as.is_some().then(Timestamp::now),
            quota: None,
            created_at: Timestamp::now(),
            signed_in_at: None,
        };
        let invitation = invitation.as_ref().map(|link| link.hash.as_str());
        self.store().add_account(&account, Some(&hash), invitation).await?;
        self.note(&account, "made an account").await;
        if account.confirmed_at.is_none() {
            self.send_confirmation(&account).await?;
        }
        self.open_session(account, origin).await
    }

    /// The invitation of a token, if it is valid.
    ///
    /// # Errors
    /// Internal errors only.
    pub async fn invitation(
        &self,
        token: &str,
    ) -> Result<Option<startclaw_store::Link>, AccountError> {
        if self.settings().sign_up == SignUp::Closed {
            return Ok(None);
        }
        let link = self.store().link(&digest(token), Timestamp::now()).await?;
        Ok(link.filter(|link| link.kind == LinkKind::Invite))
    }
}
