//! A database that version 889fdb7 wrote opens with all later migrations, and everything in it can
//! be read. fixtures/README.md says how it was made.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use startclaw_model::{
    AccountId, AccountState, Actor, DeletionPolicy, Desired, Email, EventKind, InstanceId, Limits,
    Name, Operation, OperationKind, OperationState, Owner, Presence, Profile, ProviderKind, Quota,
    Scope, SecretName, SnapshotId, StepState, Timestamp, Volumes,
};
use startclaw_store::{Idempotency, LinkKind, NewInstance, Store, Submission};

const NEVER: Timestamp = Timestamp::from_millis(4_000_000_000_000);

/// The times in the database, in milliseconds after its first.
fn at(n: i64) -> Timestamp {
    Timestamp::from_millis(1_780_000_000_000 + n)
}

/// A time at which nothing in it has expired.
fn now() -> Timestamp {
    at(1000)
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn id(text: &str) -> InstanceId {
    InstanceId(format!("instance-{text}"))
}

async fn opened() -> (Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/889fdb7.sqlite");
    let copy = dir.path().join("startclaw.db");
    std::fs::copy(file, &copy).unwrap();
    (Store::open(&copy).await.unwrap(), dir)
}

#[tokio::test]
async fn instances_with_all_that_is_wanted_of_them() {
    let (store, _dir) = opened().await;
    let all = store.instances().await.unwrap();
    let names: Vec<_> = all.iter().map(|i| (i.name.as_str(), i.slot.0)).collect();
    assert_eq!(names, [("alice", 0), ("carol", 2)]);
    let alice = &all[0];
    assert_eq!(alice.owner, Owner::parse("alice@example.com").unwrap());
    assert_eq!(alice.account, Some(AccountId("account-1".into())));
    let desired = &alice.desired;
    assert_eq!((desired.epoch, desired.secrets_revision), (3, 4));
    assert_eq!(
        (desired.presence, desired.deletion_policy),
        (Presence::Present, DeletionPolicy::Purge)
    );
    assert_eq!(desired.profile.provider.as_ref().unwrap().kind, ProviderKind::Custom);
    assert_eq!(
        desired.profile.limits,
        Limits { memory_soft_mib: 640, memory_hard_mib: 4096, cpus: 1.25, pids: 1000 }
    );
    let volumes = &desired.volumes;
    assert_eq!((volumes.current, volumes.last, volumes.filling), (3, 5, Some(5)));
    assert_eq!(volumes.replaced.unwrap().generation, 2);
    assert_eq!((alice.health.failures, alice.health.repaired), (2, true));
    assert_eq!(alice.health.last_log, ["the last line"]);
    assert_eq!(all[1].desired.volumes.current, 0);
    let (_, key) = store.instance_and_key(&alice.id).await.unwrap().unwrap();
    assert_eq!(key, "key of alice");
    let secrets = store.secrets(&alice.id).await.unwrap();
    let sealed: Vec<_> = secrets.iter().map(|s| (s.name.clone(), s.sealed.as_str())).collect();
    assert_eq!(
        sealed,
        [
            (SecretName::model_api_key(), "sealed for alice"),
            (SecretName::telegram_bot_token(), "sealed token")
        ]
    );
}

#[tokio::test]
async fn operations_and_the_keys_of_requests() {
    let (store, _dir) = opened().await;
    let open = store.open_operations(&id("alice")).await.unwrap();
    let [restore] = &open[..] else { panic!("{open:?}") };
    assert_eq!((restore.kind, restore.state), (OperationKind::Restore, OperationState::Running));
    assert_eq!(restore.source, Some(id("alice")));
    assert_eq!(restore.snapshot, Some(SnapshotId("0".repeat(32))));
    let states: Vec<_> = restore.steps.iter().map(|s| s.state).collect();
    assert_eq!(states, [StepState::Failed, StepState::Running]);
    let jobs = store.open_jobs().await.unwrap();
    assert!(jobs.iter().any(|o| o.kind == OperationKind::Drill), "{jobs:?}");
    let mut waiting = store.instances_with_open_operations().await.unwrap();
    waiting.sort();
    assert_eq!(waiting, [id("alice"), id("carol")]);
    let key = Idempotency { key: "key-bob".into(), request_hash: "hash".into() };
    let before = store.replayed(&Actor::socket(0), Some(&key)).await.unwrap().unwrap();
    assert_eq!((before.name, before.finished_at), (name("bob"), Some(at(5))));
    assert_eq!(store.operations(None, 100).await.unwrap().len(), 5);
}

#[tokio::test]
async fn accounts_and_how_they_are_entered() {
    let (store, _dir) = opened().await;
    let all = store.accounts().await.unwrap();
    let states: Vec<_> = all.iter().map(|a| (a.admin, a.state)).collect();
    assert_eq!(
        states,
        [
            (true, AccountState::Active),
            (false, AccountState::Suspended),
            (false, AccountState::PendingDeletion)
        ]
    );
    assert_eq!(all[0].quota, Some(Quota { instances: 3, memory_mib: 9, disk_mib: 10 }));
    let email = Email::parse("person1@example.com").unwrap();
    let (account, password) = store.account_and_password(&email).await.unwrap().unwrap();
    assert_eq!(password.as_deref(), Some("$argon2id$"));
    let used = store.usage(&account.id).await.unwrap();
    assert_eq!((used.instances, used.memory_mib, used.disk_mib), (1, 4096, 8));
    let session = store.account_session("account session hash", now()).await.unwrap().unwrap();
    assert_eq!((session.account, session.seen_at), (account.id.clone(), at(13)));
    let passkeys = store.passkeys(&account.id).await.unwrap();
    assert_eq!((passkeys[0].id.as_str(), passkeys[0].used_at), ("passkey", Some(at(16))));
    for kind in [LinkKind::Confirm, LinkKind::Password, LinkKind::Invite] {
        let links = store.links(kind, now()).await.unwrap();
        let [link] = &links[..] else { panic!("{links:?}") };
        assert_eq!((link.kind, link.expires_at), (kind, NEVER));
        assert!(store.link(&link.hash, now()).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn tokens_tickets_and_sessions() {
    let (store, _dir) = opened().await;
    assert_eq!(store.tokens().await.unwrap().len(), 2);
    let token = store.token_by_hash("token hash of alice", now()).await.unwrap().unwrap();
    assert_eq!(token.scopes.scopes, [Scope::Read, Scope::Write]);
    assert_eq!((token.scopes.instance, token.expires_at), (Some(name("alice")), Some(NEVER)));
    assert_eq!(token.last_used_at, Some(at(17)));
    let session = store.session_by_hash("session hash", now()).await.unwrap().unwrap();
    assert_eq!((session.instance, session.expires_at), (id("alice"), NEVER));
    assert_eq!(session.account_session.as_deref(), Some("account session hash"));
    let grant = store.take_login_token("ticket hash", &id("alice"), now()).await.unwrap();
    assert_eq!(grant.unwrap().identity, "alice@example.com");
}

#[tokio::test]
async fn backups_drills_events_and_alerts() {
    let (store, _dir) = opened().await;
    let snapshots = store.snapshots(&id("alice")).await.unwrap();
    let [snapshot] = &snapshots[..] else { panic!("{snapshots:?}") };
    assert_eq!((snapshot.files, snapshot.bytes, snapshot.added_bytes), (7, 8 << 20, 9));
    assert_eq!((snapshot.local, snapshot.remote, snapshot.taken_at), (true, false, at(6)));
    assert_eq!(snapshot.verified(), None, "only carol's backups were verified");
    assert_eq!(store.waiting_for_upload().await.unwrap(), [id("alice")]);
    let archive = store.archive(&name("bob")).await.unwrap().unwrap();
    assert_eq!((archive.id, archive.wrapped_key.as_str()), (id("bob"), "key of bob"));
    assert_eq!(archive.secrets[0].sealed, "sealed for bob");
    let drills = store.drills().await.unwrap();
    assert_eq!((&drills[0].instance, drills[0].at), (&id("carol"), at(19)));
    assert_eq!(drills[0].error.as_deref(), Some("it did not come up"));
    assert_eq!(store.verified_parts(&id("carol")).await.unwrap()[&3], at(20));
    let events = store.events(None, 10).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|e| (e.kind, e.name.clone())).collect();
    assert_eq!(kinds, [(EventKind::Changed, None), (EventKind::Requested, Some(name("alice")))]);
    assert_eq!(store.own_events(&name("alice"), 10).await.unwrap().len(), 1);
    let alerts = store.alerts().await.unwrap();
    let mut alerts: Vec<_> =
        alerts.iter().map(|t| (t.key.as_str(), t.resolved_at.is_some())).collect();
    alerts.sort_unstable();
    assert_eq!(alerts, [("backup/alice", false), ("disk", true)]);
}

#[tokio::test]
async fn it_is_written_to_as_a_new_one() {
    let (store, _dir) = opened().await;
    let alice = store.instance(&name("alice")).await.unwrap();
    assert!(store.set_health(&alice.id, &alice.health, alice.revision).await.unwrap());
    let restart =
        Operation::new(OperationKind::Restart, alice.id.clone(), alice.name, Actor::system());
    let change = |desired: &mut Desired| {
        desired.epoch += 1;
        Ok(())
    };
    store.change(&restart, change, &[], &[], None).await.unwrap();
    assert!(!store.set_health(&alice.id, &alice.health, alice.revision).await.unwrap());
    let made = Operation::new(OperationKind::Provision, id("dave"), name("dave"), Actor::socket(0));
    let desired = Desired {
        presence: Presence::Present,
        epoch: 1,
        secrets_revision: 1,
        profile: Profile {
            version: "2026.9.6".into(),
            provider: None,
            api_key: false,
            telegram: false,
            telegram_access: startclaw_model::TelegramAccess::Pairing,
            limits: Limits::default(),
        },
        volumes: Volumes::default(),
        deletion_policy: DeletionPolicy::None,
    };
    let new = NewInstance {
        id: id("dave"),
        name: name("dave"),
        owner: Owner::parse("dave@example.com").unwrap(),
        account: None,
        quota: None,
        desired,
        wrapped_key: String::new(),
        secrets: Vec::new(),
    };
    assert!(matches!(store.provision(new, &made, 10, None).await, Ok(Submission::Accepted(_))));
    assert_eq!(store.instance(&name("dave")).await.unwrap().slot.0, 1, "the slot that bob had");
}

/// A new master key is generated for a new database only: it holds nothing that needs a lost key.
#[tokio::test]
async fn a_database_is_new_until_it_stored_something_that_needs_the_master_key() {
    assert!(Store::in_memory().await.unwrap().is_new().await.unwrap());
    let (store, _dir) = opened().await;
    assert!(!store.is_new().await.unwrap());
}
