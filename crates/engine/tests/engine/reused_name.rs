//! A verb acts on the instance that access was checked for, and not on one that got its name since.

use startclaw_engine::{EngineError, LogRequest, RestoreRequest};
use startclaw_model::{
    Actor, DeletionPolicy, InstanceRef, InstanceState, OperationState, Secret, SecretName,
    SnapshotChoice,
};
use startclaw_store::StoreError;
use startclaw_testkit::*;

fn unknown<T>(answer: Result<T, EngineError>) -> bool {
    matches!(answer, Err(EngineError::NoInstance(_)))
}

#[tokio::test]
async fn no_verb_hits_the_next_instance_of_a_name() {
    let machine = TestPlatform::new();
    let engine = machine.start().await;
    let who = Actor::system();
    provisioned(&engine, "alice").await;
    // What a handler has once it checked access.
    let checked = engine.status(&name("alice")).await.unwrap();
    let policy = DeletionPolicy::None;
    let gone = engine.deprovision(&who, &checked, policy, None).await.unwrap();
    assert_eq!(over(&engine, &gone).await.state, OperationState::Succeeded);
    let next = provisioned(&engine, "alice").await;
    assert_ne!(next.instance, checked.id);
    let backup = engine.backup(&who, &name("alice")).await.unwrap();
    assert_eq!(over(&engine, &backup).await.state, OperationState::Succeeded);
    let before = engine.operations(Some(&name("alice")), 50).await.unwrap().len();

    let (secret, value) = (SecretName::parse("MY_KEY").unwrap(), Secret::new("value"));
    assert!(unknown(engine.restart(&who, &checked, None).await));
    assert!(unknown(engine.set_secret(&who, &checked, secret.clone(), value, None).await));
    assert!(unknown(engine.remove_secret(&who, &checked, &secret, None).await));
    assert!(unknown(engine.secrets(&checked).await));
    assert!(unknown(engine.backup(&who, &checked).await));
    assert!(unknown(engine.backups(&checked).await));
    assert!(unknown(engine.drill(&who, Some((&checked).into())).await));
    assert!(unknown(engine.undo_restore(&who, &checked, None).await));
    let restore = RestoreRequest {
        name: name("alice"),
        instance: Some(checked.id.clone()),
        snapshot: SnapshotChoice::Latest,
        as_name: None,
    };
    assert!(unknown(engine.restore(&who, restore, None).await));
    assert!(unknown(engine.create_login_token(&who, &checked, None).await));
    assert!(unknown(engine.status(&checked).await));
    assert!(unknown(engine.logs(&checked, LogRequest { tail: 1, follow: false }).await));
    assert!(unknown(engine.telegram(&checked).await));
    assert!(unknown(engine.approve_telegram(&who, &checked, 7).await));
    assert!(unknown(engine.close_telegram(&who, &checked).await));
    assert!(engine.usage(&checked).is_empty());
    assert!(unknown(engine.deprovision(&who, &checked, policy, None).await));

    // It sees its own history, and the next one was not touched.
    let own = engine.own_operations(&checked, 50).await.unwrap();
    assert!(!own.is_empty() && own.iter().all(|o| o.instance == checked.id));
    assert!(unknown_operation(engine.own_operation(&checked, &next.id).await));
    assert_eq!(engine.operations(Some(&name("alice")), 50).await.unwrap().len(), before);
    assert_eq!(engine.status(&name("alice")).await.unwrap().state, InstanceState::Live);
}

fn unknown_operation<T>(answer: Result<T, EngineError>) -> bool {
    matches!(answer, Err(EngineError::NoOperation(_)))
}

#[tokio::test]
async fn a_token_names_its_instance_and_is_not_made_for_a_name_that_nothing_has() {
    let machine = TestPlatform::new();
    let engine = machine.start().await;
    let done = provisioned(&engine, "alice").await;
    let scopes = |of: &str| {
        let read = vec![startclaw_model::Scope::Read];
        startclaw_model::Scopes::new(read, Some(name(of))).unwrap()
    };
    let who = Actor::system();
    let token = engine.create_token(&who, "its own", scopes("alice"), None).await.unwrap();
    assert_eq!(token.stored.instance.as_ref(), Some(&done.instance));
    let found = engine.authenticate(token.value.expose()).await.unwrap().unwrap();
    assert_eq!(found.instance, Some(done.instance));
    assert!(unknown(engine.create_token(&who, "for the next one", scopes("bob"), None).await));
    engine.shutdown().await;

    // In the transaction itself, when the instance is removed after it was looked up.
    let store = machine.database().await;
    let new = startclaw_store::NewToken {
        id: "bobs".into(),
        hash: "hash".into(),
        label: "for the next one".into(),
        scopes: scopes("bob"),
        expires_at: None,
    };
    assert!(matches!(store.add_token(&new).await, Err(StoreError::NoInstance)));
    let alice = store.instance(&name("alice")).await.unwrap();
    let other = startclaw_model::InstanceId("other".into());
    let meant = InstanceRef { id: Some(&other), ..InstanceRef::from(&alice) };
    assert!(matches!(store.instance(meant).await, Err(StoreError::NoInstance)));
}
