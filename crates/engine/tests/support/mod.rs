//! An engine on a simulated host, fast enough for thousands of restarts.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use startclaw_engine::{
    BackupSettings, Dependencies, Engine, EngineSettings, InstanceSettings, ProvisionRequest,
    Recovery, SimulatedRepositories, Timing,
};
use startclaw_model::{Actor, InstanceState, Name, Operation, OperationState, Owner};
use startclaw_simulated::SimulatedHost;
use startclaw_store::Store;
use startclaw_vault::Vault;

/// The timeout of any wait in a test.
pub const LIMIT: Duration = Duration::from_secs(20);

pub fn timing() -> Timing {
    let ms = Duration::from_millis;
    Timing {
        boot_poll: ms(1),
        boot_limit: ms(300),
        boot_cpu: ms(100),
        boot_share: ms(50),
        probe_every: ms(5),
        silence_limit: ms(40),
        backoff_first: ms(2),
        backoff_limit: ms(20),
        failing_after: 3,
        failures_reset_after: ms(100),
        host_retry_first: ms(1),
        sweep_every: ms(10),
        firewall_every: ms(500),
        usage_every: ms(20),
        history: Duration::from_secs(3600),
        quiesce_limit: ms(20),
        quiesce_again: ms(1),
        pause_limit: ms(200),
        backup_again: ms(2),
    }
}

pub fn settings() -> EngineSettings {
    EngineSettings {
        domain: "example.com".into(),
        port_suffix: String::new(),
        instances: InstanceSettings { boots: 64, ..InstanceSettings::default() },
        quota: startclaw_model::Quota::default(),
        backup: BackupSettings {
            nightly: false,
            folder: "/simulated".into(),
            ..BackupSettings::default()
        },
        timing: timing(),
    }
}

/// What outlives the daemon: the host, the database file, the master key.
pub struct Machine {
    pub host: SimulatedHost,
    pub repositories: SimulatedRepositories,
    pub settings: EngineSettings,
    dir: tempfile::TempDir,
}

impl Machine {
    pub fn new() -> Self {
        Self {
            host: SimulatedHost::new(10_000, Duration::from_millis(2)),
            repositories: SimulatedRepositories::default(),
            settings: settings(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Starts a daemon.
    pub async fn start(&self) -> Engine {
        self.start_with(self.settings.clone()).await
    }

    pub async fn start_with(&self, settings: EngineSettings) -> Engine {
        let store = Store::open(&self.dir.path().join("startclaw.db")).await.unwrap();
        let vault = Vault::load(&self.dir.path().join("master.key"), true).unwrap();
        let outside = Dependencies {
            repositories: Arc::new(self.repositories.clone()),
            ..Dependencies::simulated(self.host.clone())
        };
        Engine::start(store, vault, outside, settings).await.unwrap()
    }

    /// Another machine, with the same master key and this database, but nothing else of this one.
    pub async fn lost(self) -> Self {
        let next = Self { repositories: self.repositories.clone(), ..Self::new() };
        let store = self.database().await;
        store.write_copy(&next.dir.path().join("startclaw.db")).await.unwrap();
        let key = "master.key";
        std::fs::copy(self.dir.path().join(key), next.dir.path().join(key)).unwrap();
        next
    }

    /// The recovery of the platform on this host.
    pub fn recovery(&self, settings: &EngineSettings) -> Recovery {
        let vault = Vault::load(&self.dir.path().join("master.key"), false).unwrap();
        Recovery::new(vault, Arc::new(self.repositories.clone()), &settings.backup).unwrap()
    }

    /// The vault, with the master key of this host.
    pub fn vault(&self) -> Vault {
        Vault::load(&self.dir.path().join("master.key"), true).unwrap()
    }

    /// The database, while no daemon uses it.
    pub async fn database(&self) -> Store {
        Store::open(&self.dir.path().join("startclaw.db")).await.unwrap()
    }

    /// Everything in the database's files, as bytes.
    pub fn stored_bytes(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.dir.path()).unwrap();
        files.flat_map(|f| std::fs::read(f.unwrap().path()).unwrap()).collect()
    }
}

pub fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub fn request(text: &str) -> ProvisionRequest {
    ProvisionRequest {
        name: name(text),
        owner: Owner::parse("alice@example.com").unwrap(),
        account: None,
        provider: None,
        api_key: None,
        telegram_bot_token: None,
        telegram_access: startclaw_model::TelegramAccess::Pairing,
        version: None,
        limits: None,
    }
}

/// Waits until an operation is over.
pub async fn over(engine: &Engine, operation: &Operation) -> Operation {
    let wait = async {
        let mut states = std::pin::pin!(engine.watch(&operation.id).await.unwrap());
        let mut last = None;
        while let Some(state) = states.next().await {
            last = Some(state);
        }
        last.unwrap()
    };
    tokio::time::timeout(LIMIT, wait).await.expect("the operation is over in time")
}

pub async fn provisioned(engine: &Engine, text: &str) -> Operation {
    let asked = engine.provision(&Actor::system(), request(text), None).await.unwrap();
    let done = over(engine, &asked).await;
    assert_eq!(done.state, OperationState::Succeeded, "{done:?}");
    done
}

/// Waits until an instance is in this state.
pub async fn becomes(engine: &Engine, text: &str, state: InstanceState) {
    until(&format!("{text} is {}", state.as_str()), async || {
        engine.status(&name(text)).await.is_ok_and(|s| s.state == state)
    })
    .await;
}

/// Waits until `holds` returns true.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("in time: {what}"));
}
