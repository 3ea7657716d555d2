//! One run of a daemon, and its users.

use std::{sync::Arc, time::Duration};

use startclaw_accounts::{AccountError, Accounts, FreshLink, FreshSession, Origin, SignedIn};
use startclaw_engine::{Engine, EngineError, ProvisionRequest};
use startclaw_model::{Account, Actor, InstanceState, Operation, Secret};
use startclaw_store::Store;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{admin, becomes, email, home, name, request_for};

/// A valid password.
pub const PASSWORD: &str = "four words in a row";

/// One run of a daemon.
pub struct TestDaemon {
    /// Its connections to the database.
    pub store: Store,
    /// Its engine.
    pub engine: Engine,
    /// Its accounts.
    pub accounts: Accounts,
    stop: CancellationToken,
    _folder: Option<Arc<TempDir>>,
}

impl TestDaemon {
    pub(crate) fn new(
        store: Store,
        engine: Engine,
        accounts: Accounts,
        folder: Option<Arc<TempDir>>,
    ) -> Self {
        Self { store, engine, accounts, stop: CancellationToken::new(), _folder: folder }
    }

    /// Starts the loop that deletes pending accounts.
    pub fn delete_pending_accounts(&self) {
        tokio::spawn(self.accounts.clone().delete_pending_accounts(self.stop.clone()));
    }

    /// Stops the daemon.
    pub async fn end(self) {
        self.stop.cancel();
        self.engine.shutdown().await;
    }

    /// A user with an account, a password and a session.
    pub async fn person(&self, address: &str) -> FreshSession {
        let (_, link) = self.accounts.create(&admin(), email(address), false).await.unwrap();
        self.set_password(&link).await
    }

    /// Sets [`PASSWORD`] by a link, which signs in.
    pub async fn set_password(&self, link: &FreshLink) -> FreshSession {
        let (value, password) = (value_of(link), Secret::new(PASSWORD));
        self.accounts.set_password_by_link(&value, &password, &home()).await.unwrap()
    }

    /// The account of an admin, without a password.
    pub async fn admin(&self, address: &str) -> Account {
        self.accounts.create(&admin(), email(address), true).await.unwrap().0
    }

    /// The token of an invitation, for anyone without an address.
    pub async fn invitation(&self, address: Option<&str>) -> String {
        let (whom, life) = (address.map(email), Duration::from_secs(3600));
        value_of(&self.accounts.invite(&admin(), whom, life).await.unwrap())
    }

    /// Signs up with [`PASSWORD`].
    pub async fn sign_up(
        &self,
        address: &str,
        invitation: Option<&str>,
    ) -> Result<FreshSession, AccountError> {
        self.accounts.sign_up(address, &Secret::new(PASSWORD), invitation, &home()).await
    }

    /// Signs in.
    pub async fn sign_in(
        &self,
        address: &str,
        password: &str,
        device: Option<&str>,
        from: &Origin,
    ) -> Result<FreshSession, AccountError> {
        self.accounts.sign_in(address, &Secret::new(password), device, from).await
    }

    /// Who a session belongs to; `None` if it ended.
    pub async fn authenticate(&self, session: &FreshSession) -> Option<SignedIn> {
        self.accounts.authenticate(session.value.expose(), &home()).await.unwrap()
    }

    /// Signs in to an instance from a session of an account, and returns the cookie.
    pub async fn sign_in_to_instance(&self, session: &FreshSession, text: &str) -> Secret {
        let (who, name) = (self.authenticate(session).await.unwrap(), name(text));
        let from = Some(who.session.hash.clone());
        let token = self.engine.create_login_token(&who.actor(), &name, from).await.unwrap();
        let id = self.engine.status(&name).await.unwrap().id;
        self.engine.sign_in(&id, &name, token.value.expose()).await.unwrap().unwrap().0
    }

    /// Whether a cookie is valid for an instance.
    pub async fn is_inside(&self, cookie: &Secret, text: &str) -> bool {
        let id = self.engine.status(&name(text)).await.unwrap().id;
        self.engine.session(&id, cookie.expose()).await.unwrap().is_some()
    }

    /// Requests an instance, as the account itself.
    pub async fn provision(&self, whose: &Account, text: &str) -> Result<Operation, EngineError> {
        let request = ProvisionRequest {
            account: Some(whose.id.clone()),
            ..request_for(text, whose.email.as_str())
        };
        self.engine.provision(&Actor::account(&whose.id), request, None).await
    }

    /// Requests an instance, as the account itself, and waits until it is live.
    pub async fn live(&self, whose: &Account, text: &str) {
        self.provision(whose, text).await.unwrap();
        becomes(&self.engine, text, InstanceState::Live).await;
    }
}

/// The token of a link.
pub fn value_of(link: &FreshLink) -> String {
    link.url.expose().rsplit('/').next().unwrap().to_owned()
}
