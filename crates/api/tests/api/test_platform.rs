//! A platform in memory, and requests to it.

use std::time::Duration;

use axum::{
    Extension, Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::Value;
use startclaw_accounts::{Accounts, SignUp};
use startclaw_api::{Access, Peer, Settings};
use startclaw_engine::Engine;
use startclaw_model::{Actor, OperationId, OperationState, Scope, Scopes};
use startclaw_simulated::SimulatedHost;
pub use startclaw_testkit::name;
use startclaw_testkit::{TestDaemon, over};
use tower::ServiceExt;

/// A platform with 20 slots that boots instances in a few milliseconds.
pub struct TestPlatform {
    pub engine: Engine,
    pub accounts: Accounts,
    pub settings: Settings,
    _daemon: TestDaemon,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// Checks that it is a problem document of this status, and returns it.
    #[track_caller]
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        let json = self.json();
        assert_eq!(json["status"], status);
        assert!(json["type"].as_str().unwrap().starts_with("urn:startclaw:problem:"));
        assert!(!json["title"].as_str().unwrap().is_empty());
        assert!(!json["detail"].as_str().unwrap().is_empty());
        let id = format!("urn:uuid:{}", self.header("x-request-id"));
        assert_eq!(json["instance"], id);
        json
    }
}

impl TestPlatform {
    pub async fn new() -> Self {
        Self::with_boot(Duration::from_millis(5)).await
    }

    /// A platform whose instances boot for this long.
    pub async fn with_boot(boot: Duration) -> Self {
        Self::on(SimulatedHost::new(20, boot)).await
    }

    /// A platform on this host.
    pub async fn on(host: SimulatedHost) -> Self {
        let mut platform =
            startclaw_testkit::TestPlatform::patient().on(host).sign_up(SignUp::Invite);
        platform.settings.port_suffix = ":8443".into();
        let daemon = platform.daemon().await;
        let (engine, accounts) = (daemon.engine.clone(), daemon.accounts.clone());
        Self { engine, accounts, settings: Settings::default(), _daemon: daemon }
    }

    /// The router as served at the Unix socket.
    pub fn socket(&self) -> Router {
        self.router(Access::Socket).layer(Extension(ConnectInfo(Peer { uid: Some(0) })))
    }

    /// The router as served behind Caddy.
    pub fn bearer(&self) -> Router {
        self.router(Access::Bearer)
    }

    fn router(&self, access: Access) -> Router {
        let (engine, accounts) = (self.engine.clone(), self.accounts.clone());
        startclaw_api::router(engine, accounts, access, self.settings.clone())
    }

    pub async fn token(&self, scopes: &[Scope], instance: Option<&str>) -> String {
        let instance = instance.map(name);
        let scopes = Scopes::new(scopes.to_vec(), instance).unwrap();
        let actor = Actor::socket(0);
        let fresh = self.engine.create_token(&actor, "test", scopes, None).await.unwrap();
        fresh.value.expose().to_owned()
    }

    /// Provisions `names` and waits until they are live.
    pub async fn live(&self, names: &[&str]) {
        let socket = self.socket();
        for name in names {
            let body = format!(r#"{{"name":"{name}"}}"#);
            let answer = post(&socket, "/provision", &body).await;
            assert_eq!(answer.status, 202, "{}", answer.text);
            self.done(answer.json()["id"].as_str().unwrap()).await;
        }
    }

    /// Waits until an operation is finished, and checks that it succeeded.
    pub async fn done(&self, id: &str) {
        let operation = self.engine.operation(&OperationId(id.to_owned())).await.unwrap();
        let done = over(&self.engine, &operation).await;
        assert_eq!(done.state, OperationState::Succeeded, "{done:?}");
    }
}

/// Sends a request and reads the whole response.
pub async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, text }
}

pub async fn get(router: &Router, uri: &str) -> Answer {
    send(router, Request::get(uri).body(Body::empty()).unwrap()).await
}

pub async fn delete(router: &Router, uri: &str) -> Answer {
    send(router, Request::delete(uri).body(Body::empty()).unwrap()).await
}

pub async fn post(router: &Router, uri: &str, body: &str) -> Answer {
    with_body(router, Method::POST, uri, body).await
}

pub async fn with_body(router: &Router, method: Method, uri: &str, body: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()))
        .unwrap();
    send(router, request).await
}
