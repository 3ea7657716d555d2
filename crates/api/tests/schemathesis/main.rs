//! The API against its own OpenAPI document, by schemathesis in all its phases: with a token of
//! each scope, with one of a single instance, and without one. No answer is a server error, and
//! none is outside the document.
//!
//! `script/test` runs it (`-- --ignored`), because it needs schemathesis, which
//! `script/bootstrap --test` installs. Everything stays on the loopback interface.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[path = "../api/test_platform.rs"]
#[allow(dead_code, reason = "made for the other tests")]
mod test_platform;

use std::{
    net::Ipv4Addr,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::header,
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use startclaw_engine::Engine;
use startclaw_model::{Actor, Scope, Scopes};
use startclaw_simulated::SimulatedHost;
use tokio::{net::TcpListener, process::Command, sync::Mutex};

use test_platform::{TestPlatform, name, post};

/// Where `script/bootstrap --test` puts it.
const PROGRAM: &str = "/usr/local/lib/startclaw/schemathesis/bin/schemathesis";
/// What it sends and checks.
const CONFIGURATION: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis/schemathesis.toml");
/// The credentials that it sends.
const AUTHORIZATION: &str = "Bearer of-schemathesis";
/// A run takes about 20 s, and several times that on a busy machine; this ends one that hangs.
const TIME_LIMIT: Duration = Duration::from_secs(300);
/// More than one run provisions: with 507 for the rest, little else would be tested.
const PLACES: u32 = 5_000;
/// The instances that are there, however often a run removes them. `alice` is the one that the
/// examples of the document name.
const INSTANCES: [&str; 2] = ["alice", "bob"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "uses real parts: script/test"]
async fn anonymous_requests_conform() {
    conforms(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "uses real parts: script/test"]
async fn requests_with_a_read_token_conform() {
    conforms(Some((Scope::Read, None))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "uses real parts: script/test"]
async fn requests_with_a_write_token_conform() {
    conforms(Some((Scope::Write, None))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "uses real parts: script/test"]
async fn requests_with_an_admin_token_conform() {
    conforms(Some((Scope::Admin, None))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "uses real parts: script/test"]
async fn requests_with_a_token_of_one_instance_conform() {
    conforms(Some((Scope::Write, Some("alice")))).await;
}

/// Runs schemathesis against a platform of its own, with a token of this scope and instance or
/// without one, and fails with what it reports.
async fn conforms(token: Option<(Scope, Option<&str>)>) {
    let mut platform = TestPlatform::on(SimulatedHost::new(PLACES, Duration::from_millis(5))).await;
    // Of a recorder that nothing is recorded with: how the answer looks is what is tested.
    platform.settings.metrics = Some(PrometheusBuilder::new().build_recorder().handle());
    let mut router = platform.bearer();
    if let Some((scope, instance)) = token {
        let scopes = Scopes::new(vec![scope], instance.map(name)).unwrap();
        let caller = Caller { engine: platform.engine.clone(), scopes, token: Mutex::default() };
        router = router.layer(from_fn_with_state(Arc::new(caller), with_token));
    }
    let router = startclaw_edge::drained(router.layer(from_fn(from_elsewhere)));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let document = format!("http://{}/openapi.json", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let replaced = tokio::spawn(replace_instances(platform.socket()));

    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["--config-file", CONFIGURATION, "run", "--no-color"]);
    if token.is_some() {
        command.args(["--header", &format!("Authorization: {AUTHORIZATION}")]);
    }
    let run = command
        .arg(document)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        // Also when the time is over or this test fails.
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(TIME_LIMIT, run)
        .await
        .unwrap_or_else(|_| panic!("schemathesis took more than {TIME_LIMIT:?}"))
        .unwrap_or_else(|e| panic!("cannot run {PROGRAM}: {e}; run script/bootstrap --test"));
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!replaced.is_finished(), "the instances were not replaced: see above");
    assert!(output.status.success(), "an answer is outside the document: see above");
}

/// Who schemathesis is to the API.
struct Caller {
    engine: Engine,
    scopes: Scopes,
    token: Mutex<String>,
}

impl Caller {
    /// A token that is good, also after it revoked its own or removed the one instance that it
    /// was for: with 401 for all the rest, little else would be tested.
    async fn token(&self) -> String {
        let mut token = self.token.lock().await;
        if self.engine.authenticate(&token).await.unwrap().is_none() {
            let scopes = self.scopes.clone();
            let fresh = self.engine.create_token(&Actor::socket(0), "test", scopes, None).await;
            // There is none for an instance that is being removed.
            if let Ok(fresh) = fresh {
                fresh.value.expose().clone_into(&mut token);
            }
        }
        token.clone()
    }
}

/// Puts the caller's token in the place of the one that schemathesis was given. Others, which it
/// makes up, stay.
async fn with_token(
    State(caller): State<Arc<Caller>>,
    mut request: Request,
    next: Next,
) -> Response {
    if request.headers().get(header::AUTHORIZATION).is_some_and(|sent| sent == AUTHORIZATION) {
        let real = format!("Bearer {}", caller.token().await).parse().unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, real);
    }
    next.run(request).await
}

/// Gives each request another address, as Caddy tells it: the tokens that schemathesis makes up
/// would soon have the one address of this test answered with 429.
async fn from_elsewhere(mut request: Request, next: Next) -> Response {
    static LAST: AtomicU32 = AtomicU32::new(0x0a00_0000);
    let address = Ipv4Addr::from_bits(LAST.fetch_add(1, Ordering::Relaxed)).to_string();
    request.headers_mut().insert("x-forwarded-for", address.parse().unwrap());
    next.run(request).await
}

/// Provisions again what a run removes.
async fn replace_instances(socket: Router) {
    loop {
        for name in INSTANCES {
            let body = format!(
                r#"{{"name":"{name}","provider":{{"kind":"openai"}},"api_key":"sk-1","telegram_bot_token":"1:a"}}"#
            );
            let answer = post(&socket, "/provision", &body).await;
            assert!(matches!(answer.status.as_u16(), 202 | 409), "{}", answer.text);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
