//! A platform in memory and a temporary folder.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use startclaw_accounts::{AccountSettings, Accounts, SignUp};
use startclaw_backups::{BackupService, BackupSettings, Recovery, SimulatedRepositories};
use startclaw_engine::{Dependencies, Engine, EngineSettings};
use startclaw_simulated::SimulatedHost;
use startclaw_store::Store;
use startclaw_vault::Vault;
use tempfile::TempDir;

use crate::{TestDaemon, backup_settings, patient_settings, settings};

/// What outlives a daemon: the host, the backups, the database file, the master key.
pub struct TestPlatform {
    /// The host.
    pub host: SimulatedHost,
    /// The backups, in memory.
    pub repositories: SimulatedRepositories,
    /// The engine's settings. [`TestPlatform::daemon`] takes the quota from `accounts`.
    pub settings: EngineSettings,
    /// The settings of backups.
    pub backups: BackupSettings,
    /// The settings of accounts.
    pub accounts: AccountSettings,
    folder: PathBuf,
    /// Removed with the platform and its daemons.
    temporary: Option<Arc<TempDir>>,
}

impl TestPlatform {
    /// A platform that notices failures within milliseconds.
    pub fn new() -> Self {
        let host = SimulatedHost::new(10_000, Duration::from_millis(2));
        // In memory where there is such a folder: no test is about the disk.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let folder = dir.path().to_owned();
        Self { temporary: Some(Arc::new(dir)), ..Self::at(&folder, host, settings()) }
    }

    /// A platform that waits for instances as long as a real one.
    pub fn patient() -> Self {
        Self { settings: patient_settings(), ..Self::new() }
    }

    /// A platform on this host, with its files in this folder.
    pub fn at(folder: &Path, host: SimulatedHost, settings: EngineSettings) -> Self {
        Self {
            host,
            repositories: SimulatedRepositories::default(),
            settings,
            backups: backup_settings(),
            accounts: AccountSettings { sign_up: SignUp::Closed, ..AccountSettings::default() },
            folder: folder.to_owned(),
            temporary: None,
        }
    }

    /// The same platform on this host.
    pub fn on(self, host: SimulatedHost) -> Self {
        Self { host, ..self }
    }

    /// The same platform, with its backups at this destination.
    pub fn with_destination(mut self, destination: &str) -> Self {
        self.backups.destination = destination.into();
        self
    }

    /// The same platform, on which these people can sign up; otherwise nobody can.
    pub fn sign_up(mut self, who: SignUp) -> Self {
        self.accounts.sign_up = who;
        self
    }

    /// Starts a daemon without accounts.
    pub async fn start(&self) -> Engine {
        self.start_with(self.settings.clone()).await
    }

    /// The same, with other settings.
    pub async fn start_with(&self, settings: EngineSettings) -> Engine {
        self.engine(self.database().await, settings).await
    }

    async fn engine(&self, store: Store, settings: EngineSettings) -> Engine {
        let repositories = Arc::new(self.repositories.clone());
        let service = BackupService::new(self.backups.clone(), repositories).unwrap();
        let dependencies = Dependencies {
            job_service: Arc::new(service),
            ..Dependencies::simulated(self.host.clone())
        };
        Engine::start(store, self.vault(), dependencies, settings).await.unwrap()
    }

    /// Starts a daemon.
    pub async fn daemon(&self) -> TestDaemon {
        let store = self.database().await;
        let settings = EngineSettings { quota: self.accounts.quota, ..self.settings.clone() };
        let engine = self.engine(store.clone(), settings).await;
        let accounts =
            Accounts::new(store.clone(), engine.clone(), self.accounts.clone(), &self.site())
                .unwrap();
        TestDaemon::new(store, engine, accounts, self.temporary.clone())
    }

    /// The portal's address.
    pub fn site(&self) -> String {
        format!("https://{}{}", self.settings.domain, self.settings.port_suffix)
    }

    /// Another platform with the same master key, this database and the backups, but nothing else
    /// of this one.
    pub async fn lost(self) -> Self {
        let next = Self {
            repositories: self.repositories.clone(),
            backups: self.backups.clone(),
            ..Self::new()
        };
        self.database().await.write_copy(&next.file("startclaw.db")).await.unwrap();
        std::fs::copy(self.file("master.key"), next.file("master.key")).unwrap();
        next
    }

    /// The recovery of the platform on this host.
    pub fn recovery(&self) -> Recovery {
        let vault = Vault::load(&self.file("master.key"), false).unwrap();
        Recovery::new(vault, Arc::new(self.repositories.clone()), &self.backups).unwrap()
    }

    /// The vault, with the master key of this host.
    pub fn vault(&self) -> Vault {
        Vault::load(&self.file("master.key"), true).unwrap()
    }

    /// The database.
    pub async fn database(&self) -> Store {
        Store::open(&self.file("startclaw.db")).await.unwrap()
    }

    /// Puts a copy of this database in place, before the first daemon starts.
    pub fn put_database(&self, file: &str) {
        std::fs::copy(file, self.file("startclaw.db")).unwrap();
    }

    /// Everything in the database's files, as bytes.
    pub fn stored_bytes(&self) -> Vec<u8> {
        let files = std::fs::read_dir(&self.folder).unwrap();
        files.flat_map(|f| std::fs::read(f.unwrap().path()).unwrap()).collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Default for TestPlatform {
    fn default() -> Self {
        Self::new()
    }
}
