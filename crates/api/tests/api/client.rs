//! The client against the API on a real Unix socket.

use std::{path::Path, time::Duration};

use futures::StreamExt;
use startclaw_api::{
    Peer,
    client::{Cause, Client, Progress},
    wire::{CreateToken, DeprovisionQuery, LogsQuery, Provision, SentSecret, SetSecret},
};
use startclaw_model::{OperationState, Scope, Secret, SecretName};
use tokio::{net::UnixListener, task::JoinHandle};

use crate::test_platform::{TestPlatform, name};

fn serve(platform: &TestPlatform, path: &Path) -> JoinHandle<()> {
    let listener = UnixListener::bind(path).unwrap();
    let router = startclaw_api::router(
        platform.engine.clone(),
        platform.accounts.clone(),
        startclaw_api::Access::Socket,
        platform.settings.clone(),
    );
    let service = router.into_make_service_with_connect_info::<Peer>();
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() })
}

#[tokio::test]
async fn every_verb_works_over_the_socket() {
    let platform = TestPlatform::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    serve(&platform, &path);
    let client = Client::socket(&path).unwrap();
    let alice = name("alice");

    client.healthz().await.unwrap();
    let made = client.provision(&Provision::of(alice.clone())).await.unwrap();
    assert!(made.actor.as_str().starts_with("socket:uid="), "{}", made.actor);
    let news: Vec<_> = client.follow(made.id.clone(), Duration::from_secs(5)).collect().await;
    let last = news.into_iter().next_back().unwrap().unwrap();
    assert!(matches!(last, Progress::Now(o) if o.state == OperationState::Succeeded));

    assert_eq!(client.status(Some(&alice)).await.unwrap()[0].name, alice);
    assert_eq!(client.operations(None, Some(5)).await.unwrap().len(), 1);
    assert!(!client.events(Some(&alice), None).await.unwrap().is_empty());
    assert!(client.open(&alice).await.unwrap().url.0.expose().contains("ticket="));
    let secret = SecretName::parse("A").unwrap();
    let set = SetSecret {
        name: alice.clone(),
        secret: secret.clone(),
        value: SentSecret(Secret::new("x")),
    };
    client.set_secret(&set).await.unwrap();
    assert!(client.secrets(&alice).await.unwrap().iter().any(|s| s.name == secret));
    client.remove_secret(&alice, &secret).await.unwrap();
    client.restart(&alice).await.unwrap();
    let wanted =
        CreateToken { label: "x".into(), scopes: vec![Scope::Read], instance: None, days: None };
    let token = client.create_token(&wanted).await.unwrap();
    assert_eq!(client.tokens().await.unwrap().len(), 1);
    client.revoke_token(&token.token.id).await.unwrap();
    assert!(!client.doctor().await.unwrap().is_empty());
    let query = LogsQuery { name: alice.clone(), tail: Some(5), follow: false };
    let _: Vec<_> = client.logs(&query).await.unwrap().collect().await;
    client
        .deprovision(&DeprovisionQuery { name: alice.clone(), backup: true, purge: false })
        .await
        .unwrap();
}

#[tokio::test]
async fn refusals_carry_cause_and_field() {
    let platform = TestPlatform::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    serve(&platform, &path);
    let client = Client::socket(&path).unwrap();

    let missing = client.restart(&name("nobody")).await.unwrap_err();
    assert_eq!((missing.cause, missing.status()), (Cause::NotFound, Some(404)));
    let mut wanted = Provision::of(name("alice"));
    wanted.version = Some("../x".into());
    let wrong = client.provision(&wanted).await.unwrap_err();
    assert_eq!((wrong.cause, wrong.field()), (Cause::Usage, Some("version")));
    client.provision(&Provision::of(name("alice"))).await.unwrap();
    let taken = client.provision(&Provision::of(name("alice"))).await.unwrap_err();
    assert_eq!(taken.cause, Cause::Conflict);

    let nowhere = Client::socket(&folder.path().join("none.sock")).unwrap();
    assert_eq!(nowhere.healthz().await.unwrap_err().cause, Cause::Unreachable);
}

#[tokio::test]
async fn a_token_goes_over_tls_only() {
    let token = || Some(Secret::new("sclaw_x"));
    assert!(Client::https("http://api.example.com", token(), None).is_err());
    assert!(Client::https("nonsense", token(), None).is_err());
    assert!(Client::https("https://api.example.com/", token(), None).is_ok());
    assert!(Client::https("http://127.0.0.1:1", token(), None).is_ok());
}

#[tokio::test]
async fn following_goes_on_when_the_daemon_comes_back() {
    let platform = TestPlatform::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let made = {
        let server = serve(&platform, &path);
        let client = Client::socket(&path).unwrap();
        let made = client.provision(&Provision::of(name("alice"))).await.unwrap();
        server.abort();
        let _ = server.await;
        made
    };
    let client = Client::socket(&path).unwrap();
    let mut news = client.follow(made.id, Duration::from_secs(20)).boxed();
    assert!(matches!(news.next().await.unwrap().unwrap(), Progress::Lost(_)));
    std::fs::remove_file(&path).unwrap();
    serve(&platform, &path);
    let rest: Vec<_> = news.map(Result::unwrap).collect().await;
    assert!(rest.iter().all(|p| matches!(p, Progress::Now(_))), "a loss is reported once");
    assert!(matches!(rest.last(), Some(Progress::Now(o)) if o.state.is_over()));
}

#[tokio::test]
async fn patience_ends() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::socket(&folder.path().join("none.sock")).unwrap();
    let id = startclaw_model::OperationId::new();
    let news: Vec<_> = client.follow(id, Duration::from_millis(300)).collect().await;
    assert!(matches!(news[0], Ok(Progress::Lost(_))));
    assert_eq!(news.last().unwrap().as_ref().unwrap_err().cause, Cause::Unreachable);
}
