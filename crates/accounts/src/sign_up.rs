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
    /// [`AccountError::Closed`], [`AccountError::ByMail`], [`AccountError::DeadLink`],
    /// [`AccountError::Invalid`], [`AccountError::Slow`]. That an address is taken is said to
    /// holders of an invitation; and where no mail is sent, because nothing else can be said.
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
            None if self.signs_up_by_mail() => return Err(AccountError::ByMail),
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

    /// Whether users without an invitation sign up by a link that is sent to their address.
    pub fn signs_up_by_mail(&self) -> bool {
        self.settings().sign_up == SignUp::Open && self.has_mail()
    }

    /// Sends a link with which to sign up to an address; or, if that has an account, how to sign
    /// in. Response and response time are the same either way, because the mail is sent in the
    /// background: only the owner of the address learns whether it has an account.
    ///
    /// # Errors
    /// [`AccountError::Closed`], [`AccountError::Slow`] and [`AccountError::Invalid`]; none reveals
    /// whether an account exists.
    pub async fn ask_sign_up_link(&self, email: &str, origin: &Origin) -> Result<(), AccountError> {
        let email =
            Email::parse(email).map_err(|e| AccountError::invalid("email", e.to_string()))?;
        crate::manage::refuse_reserved(&email)?;
        if !self.signs_up_by_mail() {
            return Err(AccountError::Closed);
        }
        self.count_request(origin)?;
        self.send_requested(email, Self::send_sign_up_link);
        Ok(())
    }

    /// The invitation of a token, if it is valid.
    ///
    /// # Errors
    /// Internal errors only.
    pub async fn invitation(
        &self,
        token: &str,
    ) -> Result<Option<startclaw_store::Link>, AccountError> {
        let sign_up = self.settings().sign_up;
        if sign_up == SignUp::Closed {
            return Ok(None);
        }
        let link = self.store().link(&digest(token), Timestamp::now()).await?;
        // One that was asked for by mail ends with open sign-up.
        let valid = |link: &startclaw_store::Link| {
            link.kind == LinkKind::Invite && (sign_up == SignUp::Open || !was_asked_for(link))
        };
        Ok(link.filter(valid))
    }
}

/// The creator of a link to sign up that was asked for by mail.
pub(crate) const ASKED_FOR: &str = "sign-up";

/// Whether a link to sign up was asked for by mail, and is no admin's invitation.
pub fn was_asked_for(link: &startclaw_store::Link) -> bool {
    link.created_by == ASKED_FOR
}
