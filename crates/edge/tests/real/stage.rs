//! The edge on one host: Caddy, the daemon's part, an upstream.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use axum::{Router, http::HeaderMap, routing::get};
use startclaw_edge::{EdgeSettings, client_address, render, router, with_api};
use startclaw_engine::{Engine, ProvisionRequest};
use startclaw_host::Endpoints;
use startclaw_model::{Actor, InstanceState, Name, Secret, Slot};
use startclaw_simulated::SimulatedHost;
use startclaw_testkit::{TestPlatform, patient_settings, request, until_blocking};
use tokio::runtime::Runtime;

use crate::{
    children::{Program, bound, listens},
    client::{Answer, Connection},
    upstream::Upstream,
};

/// The test environment. `base` is the first of its 20 ports.
pub struct Stage {
    daemon: Option<Daemon>,
    _caddy: Program,
    pub host: SimulatedHost,
    pub upstream: Upstream,
    pub webhook: Upstream,
    pub settings: EdgeSettings,
    pub dir: tempfile::TempDir,
}

impl Stage {
    pub fn new(base: u16) -> Self {
        Self::with(base, |_| ())
    }

    pub fn with(base: u16, change: impl FnOnce(&mut EdgeSettings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut settings = EdgeSettings {
            http_port: base,
            https_port: base + 1,
            bind: vec![Ipv4Addr::LOCALHOST.into()],
            listen: local(base + 2),
            ask_listen: local(base + 3),
            storage: dir.path().join("storage"),
            access_log: dir.path().join("access.log"),
            ..EdgeSettings::default()
        };
        change(&mut settings);
        let boot = Duration::from_millis(5);
        let host = SimulatedHost::listening(4, boot, move |slot| endpoints(base, slot));
        let upstream = Upstream::listen(base + 10);
        let webhook = Upstream::listen(base + 15);
        let caddyfile = dir.path().join("Caddyfile");
        std::fs::write(&caddyfile, render(&settings).unwrap()).unwrap();
        let caddy = Program::start(
            bound("caddy")
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(&caddyfile)
                .env("HOME", dir.path()),
            &dir.path().join("caddy.log"),
        );
        let mut stage =
            Self { daemon: None, _caddy: caddy, host, upstream, webhook, settings, dir };
        stage.start_daemon();
        listens(stage.settings.https_port);
        stage
    }

    /// Starts the daemon on the existing database.
    pub fn start_daemon(&mut self) {
        self.daemon = Some(Daemon::start(self.dir.path(), &self.host, &self.settings));
    }

    /// Stops the daemon at once and drops all its connections, like a kill.
    pub fn kill_daemon(&mut self) {
        self.daemon = None;
    }

    /// Runs `f` with the engine.
    pub fn engine<T>(&self, f: impl AsyncFnOnce(&Engine) -> T) -> T {
        let daemon = self.daemon.as_ref().unwrap();
        daemon.runtime.block_on(f(&daemon.engine))
    }

    /// Provisions an instance and waits until it is in this state.
    pub fn provision(&self, name: &str, state: InstanceState) {
        let request = ProvisionRequest {
            telegram_bot_token: Some(Secret::new("123456:ABC")),
            ..request(name)
        };
        self.engine(async |engine| engine.provision(&Actor::system(), request, None).await)
            .unwrap();
        self.becomes(name, state);
    }

    pub fn becomes(&self, name: &str, state: InstanceState) {
        until_blocking(&format!("{name} is {}", state.as_str()), || {
            self.engine(async |e| e.route(name).is_some_and(|r| r.state == state))
        });
    }

    /// A login token of a new sign-in link.
    pub fn login_token(&self, name: &str) -> String {
        let name = Name::parse(name).unwrap();
        let ticket = self
            .engine(async |e| e.create_login_token(&Actor::system(), &name, None).await)
            .unwrap();
        ticket.value.expose().to_owned()
    }

    /// The host name of an instance.
    pub fn host_of(&self, name: &str) -> String {
        format!("{name}.{}", self.settings.domain)
    }

    /// The origin of an instance, as browsers format it.
    pub fn origin(&self, name: &str) -> String {
        self.settings.instance_origin(&Name::parse(name).unwrap())
    }

    /// Submits a login token as the form on the sign-in page does.
    pub fn post_sign_in(&self, name: &str, ticket: &str, more: &str) -> Answer {
        let body = format!("ticket={ticket}");
        let request = format!(
            "POST /.startclaw/enter\nOrigin: {}\n{more}Content-Type: application/x-www-form-urlencoded\nContent-Length: {}\n\n{body}",
            self.origin(name),
            body.len(),
        );
        self.send(name, &request)
    }

    /// Signs in; returns the cookie as a browser sends it.
    pub fn sign_in(&self, name: &str) -> String {
        let answer = self.post_sign_in(name, &self.login_token(name), "");
        assert_eq!(answer.status, 303, "{answer:?}");
        answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    }

    /// Sends one request to an instance: `METHOD PATH`, header lines, an empty line, the body.
    pub fn send(&self, name: &str, request: &str) -> Answer {
        self.send_to(&self.host_of(name), request)
    }

    /// The same, to any host.
    pub fn send_to(&self, host: &str, request: &str) -> Answer {
        let mut connection = self.connect(host).unwrap();
        connection.write(&self.bytes(host, request));
        connection.answer()
    }

    pub fn connect(&self, host: &str) -> std::io::Result<Connection> {
        Connection::open(self.settings.https_port, host)
    }

    /// The bytes of a request.
    pub fn bytes(&self, host: &str, request: &str) -> Vec<u8> {
        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let mut lines = head.lines();
        let first = lines.next().unwrap();
        let mut text = format!("{first} HTTP/1.1\r\nHost: {host}:{}\r\n", self.settings.https_port);
        for line in lines.filter(|l| !l.is_empty()) {
            text.push_str(line);
            text.push_str("\r\n");
        }
        format!("{text}\r\n{body}").into_bytes()
    }
}

/// The daemon's part of the edge, on its own threads so that it can be killed alone.
struct Daemon {
    engine: Engine,
    runtime: Runtime,
}

impl Daemon {
    fn start(dir: &Path, host: &SimulatedHost, settings: &EdgeSettings) -> Self {
        let runtime = Runtime::new().unwrap();
        let mut platform = TestPlatform::at(dir, host.clone(), patient_settings());
        platform.settings.domain.clone_from(&settings.domain);
        platform.settings.port_suffix = settings.port_suffix();
        let engine = runtime.block_on(platform.start());
        let api = Router::new().route("/whoami", get(whoami));
        let front = Router::new().route("/", get(async || "front"));
        let edge = router(engine.clone(), front, settings.clone());
        let app = with_api(edge, api, settings);
        let listen = settings.listen;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(listen).await.unwrap();
            tokio::spawn(async move { axum::serve(listener, app).await });
        });
        Self { engine, runtime }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let runtime = std::mem::replace(
            &mut self.runtime,
            tokio::runtime::Builder::new_current_thread().build().unwrap(),
        );
        runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

/// Replaces the API: it returns the address that its rate limit would count.
async fn whoami(headers: HeaderMap) -> String {
    client_address(&headers).map_or_else(|| "nobody".to_owned(), |ip| ip.to_string())
}

/// The addresses of an instance: ports of the test's upstreams.
fn endpoints(base: u16, slot: Slot) -> Endpoints {
    let n = u16::try_from(slot.0).unwrap();
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Endpoints {
        gateway: local(base + 10 + n),
        webhook: local(base + 15 + n),
        proxy: IpAddr::V4(Ipv4Addr::new(10, 87, 0, 1)),
    }
}
