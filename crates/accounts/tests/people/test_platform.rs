//! A platform in memory, and its users.

use std::{net::IpAddr, time::Duration};

use startclaw_accounts::{
    AccountError, AccountSettings, Accounts, FreshLink, FreshSession, Origin, SignUp, SignedIn,
};
use startclaw_engine::{
    BackupSettings, Dependencies, Engine, EngineError, EngineSettings, InstanceSettings,
    ProvisionRequest, Timing,
};
use startclaw_model::{
    Account, Actor, Email, InstanceState, Name, Operation, Owner, Quota, Secret,
};
use startclaw_simulated::SimulatedHost;
use startclaw_store::Store;
use startclaw_vault::Vault;
use tokio_util::sync::CancellationToken;

/// How long any wait in a test may take.
const LIMIT: Duration = Duration::from_secs(30);
/// A valid password.
pub const PASSWORD: &str = "four words in a row";

/// What outlives the daemon: the host, the database, the master key.
pub struct TestPlatform {
    pub store: Store,
    pub host: SimulatedHost,
    pub settings: AccountSettings,
    pub instances: InstanceSettings,
    folder: tempfile::TempDir,
}

/// One run of a daemon.
pub struct TestDaemon {
    pub engine: Engine,
    pub accounts: Accounts,
    stop: CancellationToken,
}

impl TestPlatform {
    pub async fn new(sign_up: SignUp) -> Self {
        Self {
            store: Store::in_memory().await.unwrap(),
            host: SimulatedHost::new(20, Duration::from_millis(2)),
            settings: AccountSettings { sign_up, ..AccountSettings::default() },
            instances: InstanceSettings::default(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Starts a daemon.
    pub async fn start(&self) -> TestDaemon {
        let ms = Duration::from_millis;
        let settings = EngineSettings {
            domain: "claws.test".into(),
            port_suffix: String::new(),
            instances: self.instances.clone(),
            quota: self.settings.quota,
            backup: BackupSettings {
                nightly: false,
                folder: "/simulated".into(),
                ..BackupSettings::default()
            },
            timing: Timing {
                boot_poll: ms(1),
                quiesce_limit: ms(20),
                quiesce_again: ms(1),
                backup_again: ms(2),
                backoff_first: ms(2),
                backoff_limit: ms(20),
                host_retry_first: ms(1),
                ..Timing::default()
            },
        };
        let vault = Vault::load(&self.folder.path().join("master.key"), true).unwrap();
        let outside = Dependencies::simulated(self.host.clone());
        let engine = Engine::start(self.store.clone(), vault, outside, settings).await.unwrap();
        let (store, site) = (self.store.clone(), "https://claws.test");
        let accounts = Accounts::new(store, engine.clone(), self.settings.clone(), site).unwrap();
        TestDaemon { engine, accounts, stop: CancellationToken::new() }
    }
}

impl TestDaemon {
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
        let (value, password) = (value_of(&link), Secret::new(PASSWORD));
        self.accounts.set_password_by_link(&value, &password, &home()).await.unwrap()
    }

    pub async fn admin(&self, address: &str) -> Account {
        self.accounts.create(&admin(), email(address), true).await.unwrap().0
    }

    pub async fn invitation(&self, address: Option<&str>) -> String {
        let (whom, life) = (address.map(email), Duration::from_secs(3600));
        value_of(&self.accounts.invite(&admin(), whom, life).await.unwrap())
    }

    pub async fn sign_up(
        &self,
        address: &str,
        invitation: Option<&str>,
    ) -> Result<FreshSession, AccountError> {
        self.accounts.sign_up(address, &Secret::new(PASSWORD), invitation, &home()).await
    }

    pub async fn sign_in(
        &self,
        address: &str,
        password: &str,
        device: Option<&str>,
        from: &Origin,
    ) -> Result<FreshSession, AccountError> {
        self.accounts.sign_in(address, &Secret::new(password), device, from).await
    }

    pub async fn authenticate(&self, session: &FreshSession) -> Option<SignedIn> {
        self.accounts.authenticate(session.value.expose(), &home()).await.unwrap()
    }

    /// Signs in to an instance from a session of an account, and returns the cookie.
    pub async fn sign_in_to_instance(&self, session: &FreshSession, text: &str) -> Secret {
        let (who, name) = (self.authenticate(session).await.unwrap(), name(text));
        let from = Some(who.session.hash.clone());
        let ticket = self.engine.create_login_token(&who.actor(), &name, from).await.unwrap();
        let id = self.engine.status(&name).await.unwrap().id;
        self.engine.sign_in(&id, &name, ticket.value.expose()).await.unwrap().unwrap().0
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
            ..request(text, whose.email.as_str())
        };
        self.engine.provision(&Actor::account(&whose.id), request, None).await
    }

    pub async fn live(&self, whose: &Account, text: &str) {
        self.provision(whose, text).await.unwrap();
        until(&format!("{text} is live"), async || {
            let status = self.engine.status(&name(text)).await;
            status.is_ok_and(|s| s.state == InstanceState::Live)
        })
        .await;
    }
}

pub fn request(text: &str, owner: &str) -> ProvisionRequest {
    ProvisionRequest {
        name: name(text),
        owner: Owner::parse(owner).unwrap(),
        account: None,
        provider: None,
        api_key: None,
        telegram_bot_token: None,
        telegram_access: startclaw_model::TelegramAccess::Pairing,
        version: None,
        limits: None,
    }
}

/// A quota for this many instances with default memory.
pub fn room_for(instances: u32) -> Quota {
    let memory_mib = u64::from(instances) * Quota::default().memory_mib;
    Quota { instances, memory_mib, ..Quota::default() }
}

pub fn admin() -> Actor {
    Actor::socket(0)
}

pub fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

pub fn home() -> Origin {
    from("192.0.2.1")
}

pub fn from(address: &str) -> Origin {
    Origin { address: address.parse::<IpAddr>().unwrap(), device: "a browser".into() }
}

/// The token of a link.
pub fn value_of(link: &FreshLink) -> String {
    link.url.expose().rsplit('/').next().unwrap().to_owned()
}

/// Waits until a condition holds.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("in time: {what}"));
}
