//! A signed-in user: their instances, and a new one. Their account is in `account.rs`.

use axum::{
    extract::FromRequestParts,
    http::{Method, request::Parts},
};
use startclaw_accounts::{Accounts, Origin, SignedIn};
use startclaw_engine::{
    AccessGuard, Engine, EngineError, InstanceStatus, ProvisionRequest, Subject,
};
use startclaw_model::{Account, Actor, ModelProvider, Name, Operation, Secret, TelegramAccess};

use super::{MaybeUser, Portal};
use crate::{
    Settings,
    answer::{Rejection, go},
    check::KeyStatus,
    error::RejectionKind,
    frame::Site,
};

/// A signed-in user.
#[derive(Clone)]
pub(crate) struct CurrentUser {
    pub(super) portal: Portal,
    pub(super) signed_in: SignedIn,
    pub(super) origin: Origin,
}

/// What a user chooses of a new instance.
pub(crate) struct NewInstance {
    pub name: Name,
    pub provider: Option<ModelProvider>,
    pub api_key: Option<Secret>,
    pub telegram_bot_token: Option<Secret>,
    pub telegram_access: TelegramAccess,
}

impl CurrentUser {
    pub(super) fn new(portal: Portal, signed_in: SignedIn, origin: Origin) -> Self {
        Self { portal, signed_in, origin }
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.portal.0.engine
    }

    pub(super) fn accounts(&self) -> &Accounts {
        &self.portal.0.accounts
    }

    pub fn portal(&self) -> &Portal {
        &self.portal
    }

    pub fn settings(&self) -> &Settings {
        self.portal.settings()
    }

    pub fn site(&self) -> Site {
        self.portal.site(Some(self))
    }

    pub fn refuse(&self, why: impl Into<RejectionKind>) -> Rejection {
        self.portal.refuse(why, Some(self))
    }

    /// The account and its session.
    pub fn signed_in(&self) -> &SignedIn {
        &self.signed_in
    }

    pub fn account(&self) -> &Account {
        &self.signed_in.account
    }

    /// The actor, for the audit log.
    pub fn actor(&self) -> Actor {
        self.signed_in.actor()
    }

    /// The user's own instances, by name.
    pub async fn instances(&self) -> Result<Vec<InstanceStatus>, Rejection> {
        let all = self.engine().status_all().await.map_err(|e| self.refuse(e))?;
        let own = &self.account().id;
        Ok(all.into_iter().filter(|i| i.account.as_ref() == Some(own)).collect())
    }

    /// Whether the user must confirm the address before they may create an instance.
    pub fn must_confirm(&self) -> bool {
        self.account().confirmed_at.is_none() && self.portal.has_mail()
    }

    /// Requests a new instance of this user.
    pub async fn provision(&self, new: NewInstance) -> Result<Operation, EngineError> {
        if self.must_confirm() {
            return Err(EngineError::Conflict("confirm your address first".to_owned()));
        }
        let account = self.account();
        let request = ProvisionRequest {
            name: new.name,
            owner: account.email.owner(),
            account: Some(account.id.clone()),
            provider: new.provider,
            api_key: new.api_key,
            telegram_bot_token: new.telegram_bot_token,
            telegram_access: new.telegram_access,
            version: None,
            limits: None,
        };
        self.engine().provision(&self.actor(), request, None).await
    }

    /// Whether an instance has this name.
    pub fn is_taken(&self, name: &Name) -> bool {
        self.engine().route(name.as_str()).is_some()
    }

    /// Checks whether a provider accepts a key.
    pub async fn check_key(&self, provider: &ModelProvider, key: &Secret) -> KeyStatus {
        self.portal.0.check.key(provider, key).await
    }

    /// Checks whether Telegram knows a bot token.
    pub async fn check_bot(&self, token: &Secret) -> KeyStatus {
        self.portal.0.check.telegram(token).await
    }

    /// A permit for a stream, which ends when the user loses access.
    pub(super) async fn open_stream(&self, subject: Subject) -> Result<AccessGuard, Rejection> {
        let holder = self.signed_in.holder();
        self.engine().open_stream(holder, subject).await.map_err(|e| self.refuse(e))
    }
}

impl FromRequestParts<Portal> for CurrentUser {
    type Rejection = Rejection;

    /// Without a session: redirects to the sign-in page, and from there to the requested page.
    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Rejection> {
        let visitor = MaybeUser::from_request_parts(parts, portal).await?;
        visitor.into_user().ok_or_else(|| {
            let wanted = parts.uri.path();
            let reads = parts.method == Method::GET && wanted != "/instances";
            let to = if reads { format!("/sign-in?next={wanted}") } else { "/sign-in".to_owned() };
            Rejection(Box::new(go(&to)))
        })
    }
}
