//! One-time links: confirm an address, set a password, invite a user. They are sent by mail, or
//! handed over by an admin.

use std::time::{Duration, Instant};

use startclaw_engine::{digest, random};
use startclaw_model::{Account, AccountState, Actor, Email, Secret, Timestamp};
use startclaw_store::{Link, LinkKind};

use crate::{
    AccountError, Accounts, FreshSession, Origin,
    sign_in::admit,
    sign_up::{ASKED_FOR, was_asked_for},
};

/// Lifetime of a password link that is sent by mail, and of one that an admin hands over.
const MAILED_LIFE: Duration = Duration::from_secs(3600);
const HANDED_LIFE: Duration = Duration::from_secs(3 * 24 * 3600);
/// Lifetime of a link to sign up.
const SIGN_UP_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Lifetime of a confirmation link.
const CONFIRM_LIFE: Duration = Duration::from_secs(3 * 24 * 3600);

/// A new link; its URL is not stored and shown only once.
#[derive(Debug, Clone)]
pub struct FreshLink {
    /// The URL.
    pub url: Secret,
    /// When it expires.
    pub expires_at: Timestamp,
}

impl Accounts {
    /// Creates an invitation, for one address or for anyone with the link.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] when the address has an account: its invitation could not be used.
    pub async fn invite(
        &self,
        actor: &Actor,
        email: Option<Email>,
        life: Duration,
    ) -> Result<FreshLink, AccountError> {
        if let Some(email) = &email
            && self.store().account_and_password(email).await?.is_some()
        {
            return Err(AccountError::invalid(
                "email",
                format!(
                    "{email} has an account already; create a link to set its password instead: \
                     startclaw accounts link {email}"
                ),
            ));
        }
        let whom = email.as_ref().map_or("anyone with the link", Email::as_str);
        let what = format!("created an invitation for {whom}");
        let link = self.make_link(LinkKind::Invite, None, email, actor, life).await?;
        self.note_by(actor, &what).await;
        Ok(link)
    }

    /// The valid invitations, without links to sign up that were sent by mail.
    ///
    /// # Errors
    /// Internal errors only.
    pub async fn invitations(&self) -> Result<Vec<Link>, AccountError> {
        let mut found = self.store().links(LinkKind::Invite, Timestamp::now()).await?;
        found.retain(|link| !was_asked_for(link));
        Ok(found)
    }

    /// Revokes an invitation.
    ///
    /// # Errors
    /// [`AccountError::Missing`].
    pub async fn revoke_invitation(&self, actor: &Actor, id: &str) -> Result<(), AccountError> {
        if !self.store().remove_link(LinkKind::Invite, id).await? {
            return Err(AccountError::Missing("invitation"));
        }
        self.note_by(actor, &format!("revoked the invitation {id}")).await;
        Ok(())
    }

    /// Creates a link to set the account's password, for an admin to hand over.
    ///
    /// # Errors
    /// Internal errors only.
    pub async fn password_link(
        &self,
        actor: &Actor,
        account: &Account,
    ) -> Result<FreshLink, AccountError> {
        let owner = Some(account);
        let link = self.make_link(LinkKind::Password, owner, None, actor, HANDED_LIFE).await?;
        let what = format!("made a link to set the password of {}", account.email);
        self.note_by(actor, &what).await;
        Ok(link)
    }

    /// Sends a link to set a password to an address, if it has an account. Response and response
    /// time are the same either way, because the mail is sent in the background.
    ///
    /// # Errors
    /// [`AccountError::Slow`] and [`AccountError::Invalid`]; neither reveals whether an account
    /// exists.
    pub async fn ask_password_link(
        &self,
        email: &str,
        origin: &Origin,
    ) -> Result<(), AccountError> {
        let email =
            Email::parse(email).map_err(|e| AccountError::invalid("email", e.to_string()))?;
        self.count_request(origin)?;
        self.send_requested(email, Self::send_password_link);
        Ok(())
    }

    /// Sends a mail that anybody can request for any address. The caller does not learn whether
    /// there is one, and neither does a limit show in the response.
    pub(crate) fn send_requested<F>(
        &self,
        email: Email,
        send: impl FnOnce(Self, Email) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<(), AccountError>> + Send,
    {
        let accounts = self.clone();
        tokio::spawn(async move {
            let (key, now) = (email.to_string(), Instant::now());
            let inner = &accounts.inner;
            let Ok(_sending) = inner.sending.try_acquire() else {
                tracing::warn!("too many mails are requested at once; one is not sent");
                return;
            };
            if inner.mailed.pause(&key, now).is_some() {
                tracing::warn!("too many mails were requested for one address; one is not sent");
                return;
            }
            inner.mailed.failed(key, now);
            if let Err(e) = send(accounts.clone(), email).await {
                tracing::error!(error = ?e, "cannot send a requested mail");
            }
        });
    }

    async fn send_password_link(self, email: Email) -> Result<(), AccountError> {
        let email = &email;
        let Some(mailer) = &self.inner.mailer else { return Ok(()) };
        let Some((account, _)) = self.store().account_and_password(email).await? else {
            return Ok(());
        };
        if account.state != AccountState::Active {
            return Ok(());
        }
        let (kind, actor) = (LinkKind::Password, Actor::account(&account.id));
        let link = self.make_link(kind, Some(&account), None, &actor, MAILED_LIFE).await?;
        let text = format!(
            "A new password was requested for {email} at {site}.\n\n\
             Set it here, within an hour:\n{url}\n\n\
             If you did not request it, ignore this mail: your password does not change.\n",
            site = self.inner.site,
            url = link.url.expose()
        );
        mailer.send(email, "Set a new password", text).await
    }

    /// Sends a link to sign up; or, to the address of an account, how to sign in.
    pub(crate) async fn send_sign_up_link(self, email: Email) -> Result<(), AccountError> {
        let email = &email;
        let Some(mailer) = &self.inner.mailer else { return Ok(()) };
        let site = &self.inner.site;
        let (subject, text) = match self.store().account_and_password(email).await? {
            Some((account, _)) if account.state == AccountState::PendingDeletion => return Ok(()),
            Some(_) => (
                "You have an account already",
                format!(
                    "A new account for {email} was requested at {site}.\n\n\
                     You have one already. Sign in:\n{site}/sign-in\n\n\
                     Set a new password, if you have forgotten yours:\n{site}/reset\n\n\
                     If you did not request it, ignore this mail: nothing was changed.\n"
                ),
            ),
            None => {
                let (kind, whom, actor) = (LinkKind::Invite, Some(email.clone()), ASKED_FOR);
                let link = self.make_link(kind, None, whom, &actor, SIGN_UP_LIFE).await?;
                (
                    "Create your account",
                    format!(
                        "Welcome to {site}.\n\nCreate your account here, within a day:\n{url}\n\n\
                         If you did not sign up there, ignore this mail.\n",
                        url = link.url.expose()
                    ),
                )
            }
        };
        mailer.send(email, subject, text).await
    }

    /// Sends the link that confirms an address.
    ///
    /// # Errors
    /// [`AccountError::Inside`] if the link cannot be stored or rendered; delivery happens later.
    pub async fn send_confirmation(&self, account: &Account) -> Result<(), AccountError> {
        let Some(mailer) = self.inner.mailer.clone() else { return Ok(()) };
        let actor = Actor::account(&account.id);
        let link =
            self.make_link(LinkKind::Confirm, Some(account), None, &actor, CONFIRM_LIFE).await?;
        let text = format!(
            "Welcome to {site}.\n\nConfirm that {email} is your address, within three days:\n{url}\n\n\
             If you did not sign up there, ignore this mail.\n",
            site = self.inner.site,
            email = account.email,
            url = link.url.expose()
        );
        let email = account.email.clone();
        // Sign-up does not wait for a slow mail server.
        tokio::spawn(async move {
            if let Err(e) = mailer.send(&email, "Confirm your address", text).await {
                tracing::error!(error = ?e, "cannot send a confirmation");
            }
        });
        Ok(())
    }

    /// Sends the confirmation again, rate-limited.
    ///
    /// # Errors
    /// [`AccountError::Slow`].
    pub async fn resend_confirmation(
        &self,
        account: &Account,
        origin: &Origin,
    ) -> Result<(), AccountError> {
        self.count_request(origin)?;
        self.send_confirmation(account).await
    }

    /// Whether a link of this kind is valid; does not use it.
    ///
    /// # Errors
    /// Internal errors only.
    pub async fn is_good(&self, token: &str, kind: LinkKind) -> Result<bool, AccountError> {
        let link = self.store().link(&digest(token), Timestamp::now()).await?;
        Ok(link.is_some_and(|link| link.kind == kind))
    }

    /// Confirms the address that a link was sent to.
    ///
    /// # Errors
    /// [`AccountError::DeadLink`].
    pub async fn confirm(&self, token: &str) -> Result<(), AccountError> {
        let (hash, account) = self.owner_of(token, LinkKind::Confirm).await?;
        self.store().confirm_by_link(&account.id, &hash).await?;
        self.note(&account, "confirmed the address").await;
        Ok(())
    }

    /// Sets a password by a link, and signs in. The link was read in the address's mail or handed
    /// over by an admin, so the address counts as confirmed.
    ///
    /// # Errors
    /// [`AccountError::DeadLink`], [`AccountError::Suspended`]; [`AccountError::Invalid`] for an
    /// invalid password, and [`AccountError::Busy`], which both leave the link usable.
    pub async fn set_password_by_link(
        &self,
        token: &str,
        password: &Secret,
        origin: &Origin,
    ) -> Result<FreshSession, AccountError> {
        crate::password::check(password)?;
        let (link, account) = self.owner_of(token, LinkKind::Password).await?;
        let account = admit(account)?;
        let hash = self.inner.hasher.hash(password).await?;
        self.store_password(&account, hash, Some(link), None).await?;
        let account = self.get(&account.id).await?;
        self.note(&account, "set a password by a link").await;
        self.open_session(account, origin).await
    }

    /// The digest and the account of a valid link; does not use it.
    async fn owner_of(
        &self,
        token: &str,
        kind: LinkKind,
    ) -> Result<(String, Account), AccountError> {
        let hash = digest(token);
        let link = self.store().link(&hash, Timestamp::now()).await?;
        let id = link.filter(|link| link.kind == kind).and_then(|link| link.account);
        let account = self.store().account(&id.ok_or(AccountError::DeadLink)?).await?;
        let stays = account.filter(|account| account.state != AccountState::PendingDeletion);
        Ok((hash, stays.ok_or(AccountError::DeadLink)?))
    }

    async fn make_link(
        &self,
        kind: LinkKind,
        account: Option<&Account>,
        email: Option<Email>,
        actor: &(dyn std::fmt::Display + Sync),
        life: Duration,
    ) -> Result<FreshLink, AccountError> {
        let (value, now) = (random(), Timestamp::now());
        let link = Link {
            hash: digest(&value),
            id: random()[..12].replace(['-', '_'], "x"),
            kind,
            account: account.map(|a| a.id.clone()),
            email,
            created_by: actor.to_string(),
            created_at: now,
            expires_at: now.plus(life),
        };
        self.store().add_link(&link).await?;
        let path = match kind {
            LinkKind::Confirm => "confirm",
            LinkKind::Password => "reset",
            LinkKind::Invite => "invite",
        };
        let url = Secret::new(format!("{}/{path}/{value}", self.inner.site));
        Ok(FreshLink { url, expires_at: link.expires_at })
    }
}
