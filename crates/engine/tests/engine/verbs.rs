//! The verbs of the engine, and their effects.

use startclaw_engine::{EngineError, Idempotency, ProvisionRequest};
use startclaw_host::objects::Step;
use startclaw_model::{
    Actor, DeletionPolicy, InstanceState, ModelProvider, OperationKind, OperationState,
    ProviderKind, Secret, SecretName,
};
use startclaw_simulated::{Behaviour, Fault, Faults};
use startclaw_testkit::*;

#[tokio::test]
async fn a_provision_makes_volume_config_and_container_in_this_order_and_ends_live() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let done = provisioned(&engine, "alice").await;
    let steps: Vec<_> = done.steps.iter().map(|s| s.name.as_str()).collect();
    let at = |step| steps.iter().position(|s| *s == step).unwrap_or_else(|| panic!("{steps:?}"));
    assert!(at("volume") < at("config") && at("config") < at("container"));
    assert!(at("container") < at("start") && at("start") < at("live"));
    let status = engine.status(&name("alice")).await.unwrap();
    assert_eq!(status.state, InstanceState::Live);
    assert_eq!(status.url, "https://alice.claws.test");
    assert!(engine.route("alice").is_some() && engine.route("bob").is_none());
}

#[tokio::test]
async fn a_restart_replaces_the_container_once_and_keeps_the_data() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let done = provisioned(&engine, "alice").await;
    let before = platform.host.state().instance(&done.instance).clone();
    let asked = engine.restart(&Actor::system(), &name("alice"), None).await.unwrap();
    assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);
    let after = platform.host.state().instance(&done.instance).clone();
    assert_eq!(after.starts, before.starts + 1);
    assert_ne!(after.container.unwrap().digest, before.container.unwrap().digest);
    assert!(!after.volumes.is_empty());
}

#[tokio::test]
async fn a_deprovision_leaves_nothing_and_the_name_is_free_at_once() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let first = provisioned(&engine, "alice").await;
    let asked = engine
        .deprovision(&Actor::system(), &name("alice"), DeletionPolicy::FinalBackup, None)
        .await
        .unwrap();
    assert_eq!(over(&engine, &asked).await.state, OperationState::Succeeded);
    assert!(platform.host.state().instance(&first.instance).is_gone());
    assert!(matches!(engine.status(&name("alice")).await, Err(EngineError::NoInstance(_))));
    let second = provisioned(&engine, "alice").await;
    assert_ne!(first.instance, second.instance);
}

#[tokio::test]
async fn a_deprovision_during_a_provision_wins_and_the_provision_says_so() {
    let platform = TestPlatform::new();
    platform.host.state().next_behaviour = Behaviour::Hangs;
    let engine = platform.start().await;
    let provision = engine.provision(&Actor::system(), request("alice"), None).await.unwrap();
    becomes(&engine, "alice", InstanceState::Starting).await;
    // It is not over before it is asked for again.
    platform.host.set_faults(Faults::by(|_, step| match step {
        Some(Step::RemoveVolume) => Fault::FailBefore,
        _ => Fault::None,
    }));
    let remove = engine
        .deprovision(&Actor::system(), &name("alice"), DeletionPolicy::FinalBackup, None)
        .await
        .unwrap();
    let again = engine
        .deprovision(&Actor::system(), &name("alice"), DeletionPolicy::FinalBackup, None)
        .await
        .unwrap();
    assert_eq!(remove.id, again.id);
    platform.host.set_faults(Faults::none());
    assert_eq!(over(&engine, &remove).await.state, OperationState::Succeeded);
    assert_eq!(over(&engine, &provision).await.state, OperationState::Failed);
    assert!(platform.host.state().ids().is_empty());
}

#[tokio::test]
async fn a_name_is_taken_once_and_bad_input_makes_nothing() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    let taken = engine.provision(&Actor::system(), request("alice"), None).await;
    assert!(matches!(taken, Err(EngineError::NameTaken(_))));
    platform.host.state().missing_images.insert("startclaw/openclaw:1.0.0".into());
    let custom = ModelProvider { kind: ProviderKind::Custom, model: None, base_url: None };
    for (bad, field) in [
        (ProvisionRequest { provider: Some(custom), ..request("bob") }, "provider.base_url"),
        (ProvisionRequest { api_key: Some(Secret::new("k")), ..request("bob") }, "api_key"),
        (
            ProvisionRequest { telegram_bot_token: Some(Secret::new("nope")), ..request("bob") },
            "telegram_bot_token",
        ),
        (ProvisionRequest { version: Some("../x".into()), ..request("bob") }, "version"),
        (ProvisionRequest { version: Some("1.0.0".into()), ..request("bob") }, "version"),
    ] {
        match engine.provision(&Actor::system(), bad, None).await {
            Err(EngineError::Invalid { field: said, .. }) => assert_eq!(said, field),
            other => panic!("{field}: {other:?}"),
        }
    }
    assert_eq!(platform.host.state().ids().len(), 1);
    assert_eq!(engine.status_all().await.unwrap().len(), 1);
}

#[tokio::test]
async fn without_its_image_a_provision_fails_with_the_reason() {
    let platform = TestPlatform::new();
    let image = format!("startclaw/openclaw:{}", startclaw_openclaw::VERSION);
    platform.host.state().missing_images.insert(image);
    let engine = platform.start().await;
    let asked = engine.provision(&Actor::system(), request("alice"), None).await.unwrap();
    let done = over(&engine, &asked).await;
    assert_eq!(done.state, OperationState::Failed);
    assert!(done.error.unwrap().contains("there is no image"));
    platform.host.state().missing_images.clear();
    becomes(&engine, "alice", InstanceState::Live).await;
}

#[tokio::test]
async fn the_same_request_with_the_same_key_is_one_operation() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let key = |hash: &str| Some(Idempotency { key: "k1".into(), request_hash: hash.into() });
    let actor = Actor::system();
    let first = engine.provision(&actor, request("alice"), key("h1")).await.unwrap();
    let second = engine.provision(&actor, request("alice"), key("h1")).await.unwrap();
    assert_eq!(first.id, second.id);
    let other = engine.provision(&actor, request("bob"), key("h2")).await;
    assert!(matches!(other, Err(EngineError::KeyReused)));
    over(&engine, &first).await;
    assert_eq!(platform.host.state().ids().len(), 1);
}

#[tokio::test]
async fn a_removal_that_is_repeated_with_its_key_is_the_same_one() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    let key = || Some(Idempotency { key: "k".into(), request_hash: "h".into() });
    let first = engine
        .deprovision(&Actor::system(), &name("alice"), DeletionPolicy::FinalBackup, key())
        .await
        .unwrap();
    over(&engine, &first).await;
    let again = engine
        .deprovision(&Actor::system(), &name("alice"), DeletionPolicy::FinalBackup, key())
        .await
        .unwrap();
    assert_eq!(again.id, first.id);
    let without = engine
        .deprovision(&Actor::system(), &name("alice"), DeletionPolicy::FinalBackup, None)
        .await;
    assert!(matches!(without, Err(EngineError::NoInstance(_))));
}

#[tokio::test]
async fn a_token_of_an_instance_does_not_open_the_next_one_of_that_name() {
    use startclaw_model::{Scope, Scopes};
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    provisioned(&engine, "alice").await;
    let scopes = Scopes::new(vec![Scope::Write], Some(name("alice"))).unwrap();
    let token = engine.create_token(&Actor::system(), "alice's", scopes, None).await.unwrap();
    let gone = engine
        .deprovision(&Actor::system(), &name("alice"), DeletionPolicy::FinalBackup, None)
        .await
        .unwrap();
    over(&engine, &gone).await;
    provisioned(&engine, "alice").await;
    assert!(engine.authenticate(token.value.expose()).await.unwrap().is_none());
}

#[tokio::test]
async fn changed_secrets_reach_a_fresh_container_and_rest_sealed() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let done = provisioned(&engine, "alice").await;
    let token = Secret::new("123456:canary-AAE");
    let set = engine
        .set_secret(&Actor::system(), &name("alice"), SecretName::telegram_bot_token(), token, None)
        .await
        .unwrap();
    assert_eq!(set.kind, OperationKind::SetSecrets);
    assert_eq!(over(&engine, &set).await.state, OperationState::Succeeded);
    let thing = platform.host.state().instance(&done.instance).clone();
    assert_eq!(thing.secrets, Some(2));
    assert_eq!(thing.starts, 2);
    let config = String::from_utf8(thing.config().unwrap().to_vec()).unwrap();
    assert!(config.contains("telegram") && !config.contains("canary"));
    let stored = platform.stored_bytes();
    assert!(!stored.windows(6).any(|w| w == b"canary"));
    let names: Vec<_> = engine.secrets(&name("alice")).await.unwrap();
    assert!(names.iter().any(|s| s.name == SecretName::telegram_bot_token()));
    let unknown = SecretName::parse("NOPE").unwrap();
    let gone = engine.remove_secret(&Actor::system(), &name("alice"), &unknown, None).await;
    assert!(matches!(gone, Err(EngineError::NoSecret(_))));
}

#[tokio::test]
async fn a_ticket_works_once_in_its_own_instance_and_a_session_can_be_ended() {
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let alice = provisioned(&engine, "alice").await.instance;
    let bob = provisioned(&engine, "bob").await.instance;
    let token = engine.create_login_token(&Actor::system(), &name("alice"), None).await.unwrap();
    let token = token.value.expose();
    assert!(engine.sign_in(&bob, &name("bob"), token).await.unwrap().is_none());
    let (cookie, _) = engine.sign_in(&alice, &name("alice"), token).await.unwrap().unwrap();
    assert!(engine.sign_in(&alice, &name("alice"), token).await.unwrap().is_none());
    assert!(engine.session(&alice, cookie.expose()).await.unwrap().is_some());
    assert!(engine.session(&bob, cookie.expose()).await.unwrap().is_none());
    assert!(engine.session(&alice, "guess").await.unwrap().is_none());
    engine.sign_out(cookie.expose()).await.unwrap();
    assert!(engine.session(&alice, cookie.expose()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_token_is_good_until_it_is_revoked() {
    use startclaw_model::{Scope, Scopes};
    let platform = TestPlatform::new();
    let engine = platform.start().await;
    let scopes = Scopes::new(vec![Scope::Read], None).unwrap();
    let token = engine.create_token(&Actor::system(), "site", scopes, None).await.unwrap();
    let found = engine.authenticate(token.value.expose()).await.unwrap().unwrap();
    assert_eq!(found.id, token.stored.id);
    assert!(engine.authenticate("sclaw_guess").await.unwrap().is_none());
    engine.revoke_token(&Actor::system(), &found.id).await.unwrap();
    assert!(engine.authenticate(token.value.expose()).await.unwrap().is_none());
}

#[tokio::test]
async fn no_instance_gets_more_cpus_than_the_host_has() {
    let machine = TestPlatform::new();
    let engine = machine.start().await;
    let with = |text: &str, cpus| ProvisionRequest {
        limits: Some(startclaw_model::Limits { cpus, ..Default::default() }),
        ..request(text)
    };
    let who = Actor::system();
    // Not measured.
    engine.provision(&who, with("alice", 99.0), None).await.unwrap();
    machine.host.state().machine.cpus = 2;
    match engine.provision(&who, with("bob", 2.5), None).await {
        Err(EngineError::Invalid { field, message }) => {
            assert_eq!(field, "limits.cpus");
            assert!(message.contains("must not exceed 2"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    engine.provision(&who, with("bob", 2.0), None).await.unwrap();
}
