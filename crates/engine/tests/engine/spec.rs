//! The spec of an existing container never changes without need: another digest replaces the
//! container of every tenant at the next start.

use startclaw_model::{
    Actor, DeletionPolicy, Desired, InstanceId, InstanceState, Limits, ModelProvider, Operation,
    OperationKind, Owner, Presence, Profile, ProviderKind, Replaced, TelegramAccess, Timestamp,
    Volumes,
};
use startclaw_store::NewInstance;
use startclaw_testkit::*;

const NAMES: [&str; 3] = ["alice", "bob", "carol"];

const PLAIN: &str = "5c71ffd2e2e7eb7fbed30059570c9d577a3db87cf28f2bd738e409e6364a260b";
const FULL: &str = "76b4381e16f0d20ec30adda8f1b561ec4d83877113bfdcf6b0afae0becf18daf";
const CONNECTED: &str = "7992cf12e6ebb668da087de98ea2efe6d39eca74a53b1b573786daa233281fc3";

fn plain() -> Desired {
    Desired {
        presence: Presence::Present,
        epoch: 1,
        secrets_revision: 1,
        profile: Profile {
            version: "2026.9.6".into(),
            provider: None,
            api_key: false,
            telegram: false,
            telegram_access: TelegramAccess::Pairing,
            limits: Limits::default(),
        },
        volumes: Volumes::default(),
        deletion_policy: DeletionPolicy::None,
    }
}

fn full() -> Desired {
    Desired {
        presence: Presence::Present,
        epoch: 12,
        secrets_revision: 34,
        profile: Profile {
            version: "2026.9.6".into(),
            provider: Some(ModelProvider {
                kind: ProviderKind::Custom,
                model: Some("echo-1".into()),
                base_url: Some("https://llm.example.com/v1".into()),
            }),
            api_key: true,
            telegram: false,
            telegram_access: TelegramAccess::Pairing,
            limits: Limits { memory_soft_mib: 640, memory_hard_mib: 4096, cpus: 1.25, pids: 1000 },
        },
        volumes: Volumes {
            unused: false,
            current: 3,
            last: 5,
            filling: None,
            earlier: None,
            replaced: Some(Replaced {
                generation: 2,
                until: Timestamp::from_millis(4_000_000_000_000),
                on_probation: false,
            }),
        },
        deletion_policy: DeletionPolicy::None,
    }
}

fn connected() -> Desired {
    let mut desired = plain();
    desired.secrets_revision = 2;
    desired.volumes.current = 1;
    desired.volumes.last = 1;
    desired.profile.version = "2026.10.1-beta.2".into();
    desired.profile.provider =
        Some(ModelProvider { kind: ProviderKind::Anthropic, model: None, base_url: None });
    desired.profile.api_key = true;
    desired.profile.telegram = true;
    // A whole number of CPUs.
    desired.profile.limits.cpus = 2.0;
    desired
}

/// The specs of the containers that the engine creates for these, in the slots from 0.
async fn specs(all: [Desired; 3]) -> Vec<String> {
    let mut platform = TestPlatform::new();
    platform.settings.domain = "example.com".into();
    let store = platform.database().await;
    let vault = platform.vault();
    let mut ids = Vec::new();
    for (n, mut desired) in all.into_iter().enumerate() {
        // The simulated host has no volume yet.
        desired.volumes.unused = true;
        let id = InstanceId(format!("0198f0a0-1111-7222-8333-44445555666{n}"));
        let name = name(NAMES[n]);
        let operation =
            Operation::new(OperationKind::Provision, id.clone(), name.clone(), Actor::system());
        let new = NewInstance {
            id: id.clone(),
            name,
            owner: Owner::parse("alice@example.com").unwrap(),
            account: None,
            quota: None,
            desired,
            wrapped_key: vault.new_data_key(&id).unwrap(),
            secrets: Vec::new(),
        };
        store.provision(new, &operation, 10, None).await.unwrap();
        ids.push(id);
    }
    store.close().await;
    let engine = platform.start().await;
    for name in NAMES {
        becomes(&engine, name, InstanceState::Live).await;
    }
    let mut world = platform.host.state();
    ids.iter().map(|id| world.instance(id).container.clone().unwrap().digest).collect()
}

/// The digests are those of version 0.1.0 (889fdb7) for the same instances. If our part of
/// OpenClaw's configuration is changed on purpose, they change too, and every container is replaced
/// once.
#[tokio::test]
async fn the_spec_of_an_existing_container_never_changes() {
    assert_eq!(specs([plain(), full(), connected()]).await, [PLAIN, FULL, CONNECTED]);
}
