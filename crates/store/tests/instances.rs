//! Slots, repeated requests, and writes that are stored for the read revision only.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use startclaw_model::{
    Actor, DeletionPolicy, Desired, Health, InstanceId, Limits, Name, Operation, OperationKind,
    OperationState, Owner, Presence, Profile, Timestamp, Volumes,
};
use startclaw_store::{Idempotency, NewInstance, Store, StoreError, Submission};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn desired() -> Desired {
    Desired {
        presence: Presence::Present,
        epoch: 1,
        secrets_revision: 1,
        profile: Profile {
            version: "1".into(),
            provider: None,
            api_key: false,
            telegram: false,
            telegram_access: startclaw_model::TelegramAccess::Pairing,
            limits: Limits::default(),
        },
        volumes: Volumes::default(),
        deletion_policy: DeletionPolicy::None,
    }
}

async fn provision(
    store: &Store,
    text: &str,
    capacity: u32,
    actor: &Actor,
    key: Option<&Idempotency>,
) -> Result<Submission, StoreError> {
    let id = InstanceId(text.into());
    let made = Operation::new(OperationKind::Provision, id.clone(), name(text), actor.clone());
    let new = NewInstance {
        id,
        name: name(text),
        owner: Owner::parse("alice@example.com").unwrap(),
        account: None,
        quota: None,
        desired: desired(),
        wrapped_key: String::new(),
        secrets: Vec::new(),
    };
    store.provision(new, &made, capacity, key).await
}

async fn with(names: &[&str]) -> Store {
    let store = Store::in_memory().await.unwrap();
    for name in names {
        provision(&store, name, 10, &Actor::system(), None).await.unwrap();
    }
    store
}

async fn slots(store: &Store) -> Vec<(String, u32)> {
    let all = store.instances().await.unwrap();
    all.iter().map(|i| (i.name.to_string(), i.slot.0)).collect()
}

fn key(key: &str, hash: &str) -> Idempotency {
    Idempotency { key: key.into(), request_hash: hash.into() }
}

#[tokio::test]
async fn the_lowest_free_slot_is_used_again() {
    let store = with(&["a", "b", "c", "d"]).await;
    for gone in ["a", "c"] {
        store.forget(&InstanceId(gone.into()), &[]).await.unwrap();
    }
    for (next, slot) in [("e", 0), ("f", 2), ("g", 4)] {
        provision(&store, next, 10, &Actor::system(), None).await.unwrap();
        assert!(slots(&store).await.contains(&(next.into(), slot)), "{:?}", slots(&store).await);
    }
}

#[tokio::test]
async fn a_full_machine_takes_one_more_only_after_one_went() {
    let store = with(&["a", "b"]).await;
    let full = provision(&store, "c", 2, &Actor::system(), None).await;
    assert!(matches!(full, Err(StoreError::Full)), "{full:?}");
    assert_eq!(store.operations(None, 10).await.unwrap().len(), 2, "nothing was stored");
    store.forget(&InstanceId("a".into()), &[]).await.unwrap();
    provision(&store, "c", 2, &Actor::system(), None).await.unwrap();
    assert_eq!(slots(&store).await, [("b".into(), 1), ("c".into(), 0)]);
}

#[tokio::test]
async fn a_request_with_a_key_is_stored_once() {
    let store = with(&[]).await;
    let (who, first) = (Actor::socket(0), key("k", "h"));
    let Submission::Accepted(made) = provision(&store, "a", 10, &who, Some(&first)).await.unwrap()
    else {
        panic!("it is the first")
    };
    let again = provision(&store, "a", 10, &who, Some(&first)).await.unwrap();
    assert!(matches!(again, Submission::Replayed(before) if before.id == made.id));
    let other = provision(&store, "b", 10, &who, Some(&key("k", "another"))).await;
    assert!(matches!(other, Err(StoreError::KeyReused)), "{other:?}");
    // The same key of another caller is a different request.
    let theirs = provision(&store, "b", 10, &Actor::socket(1), Some(&first)).await.unwrap();
    assert!(matches!(theirs, Submission::Accepted(_)));
    assert_eq!(store.operations(None, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_change_with_a_key_is_made_once_and_is_known_after_the_instance_is_gone() {
    let store = with(&["a"]).await;
    let (id, first) = (InstanceId("a".into()), key("k", "h"));
    let change = |desired: &mut Desired| {
        desired.epoch += 1;
        Ok(())
    };
    let asked = || Operation::new(OperationKind::Restart, id.clone(), name("a"), Actor::socket(0));
    let made = asked();
    store.change(&made, change, &[], &[], Some(&first)).await.unwrap();
    for _ in 0..2 {
        let again = store.change(&asked(), change, &[], &[], Some(&first)).await.unwrap();
        assert!(matches!(again, Submission::Replayed(before) if before.id == made.id));
    }
    assert_eq!(store.instance(&name("a")).await.unwrap().desired.epoch, 2);
    store.forget(&id, &[]).await.unwrap();
    let before = store.replayed(&Actor::socket(0), Some(&first)).await.unwrap();
    assert_eq!(before.unwrap().id, made.id);
}

/// Another version may serialize the same desired state differently: fields in another order, or
/// without new ones. That once prevented health from being stored.
#[tokio::test]
async fn health_is_stored_whatever_the_text_of_what_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("startclaw.db");
    let store = Store::open(&file).await.unwrap();
    provision(&store, "a", 10, &Actor::system(), None).await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
    let raw = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let spaced =
        r#"UPDATE instances SET desired = replace(desired, '"epoch":1,', ' "epoch" : 1 , ')"#;
    sqlx::query(spaced).execute(&raw).await.unwrap();
    raw.close().await;
    let seen = store.instance(&name("a")).await.unwrap();
    assert_eq!(seen.desired, desired());
    let health = Health { failures: 3, ..Health::default() };
    assert!(store.set_health(&seen.id, &health, seen.revision).await.unwrap());
    assert_eq!(store.instance(&name("a")).await.unwrap().health.failures, 3);
}

#[tokio::test]
async fn health_of_what_was_wanted_before_is_not_stored() {
    let store = with(&["a"]).await;
    let seen = store.instance(&name("a")).await.unwrap();
    // The desired state is the same, but it was requested again.
    let again = Operation::new(
        OperationKind::SetSecrets,
        seen.id.clone(),
        seen.name.clone(),
        Actor::system(),
    );
    store.change(&again, |_| Ok(()), &[], &[], None).await.unwrap();
    let health = Health { failures: 3, ..Health::default() };
    assert!(!store.set_health(&seen.id, &health, seen.revision).await.unwrap());
    let now = store.instance(&name("a")).await.unwrap();
    assert_eq!((now.health, now.revision), (Health::default(), seen.revision + 1));
    store.amend(&seen.id, |_| true).await.unwrap();
    assert_eq!(store.instance(&name("a")).await.unwrap().revision, seen.revision + 2);
    store.amend(&seen.id, |_| false).await.unwrap();
    assert_eq!(store.instance(&name("a")).await.unwrap().revision, seen.revision + 2);
}

#[tokio::test]
async fn an_operation_that_is_over_stays_as_it_ended() {
    let store = with(&["a"]).await;
    let mut made = store.operations(None, 1).await.unwrap().remove(0);
    made.state = OperationState::Succeeded;
    made.finished_at = Some(Timestamp::from_millis(1));
    assert!(store.save_operation(&made).await.unwrap());
    let mut late = made.clone();
    late.state = OperationState::Running;
    late.finished_at = None;
    assert!(!store.save_operation(&late).await.unwrap());
    assert_eq!(store.operation(&made.id).await.unwrap(), Some(made));
}
