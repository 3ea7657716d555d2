//! A platform in memory with its portal, and browsers.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use http_body_util::BodyExt;
use startclaw_accounts::{AccountSettings, Accounts, SignUp};
use startclaw_engine::{
    BackupSettings, Dependencies, Engine, EngineSettings, InstanceSettings, ProvisionRequest,
    Timing,
};
use startclaw_model::{Actor, Email, InstanceState, Name, Owner, Quota};
use startclaw_portal::{Reach, Settings};
use startclaw_simulated::SimulatedHost;
use startclaw_store::Store;
use startclaw_vault::Vault;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub const SITE: &str = "https://claws.example:8443";
pub const PASSWORD: &str = "four words in a row";
const LIMIT: Duration = Duration::from_secs(20);

/// A platform that boots instances in a few milliseconds; sign-up is open.
pub struct TestPlatform {
    pub engine: Engine,
    pub accounts: Accounts,
    pub host: SimulatedHost,
    pages: Router,
    _folder: tempfile::TempDir,
}

impl TestPlatform {
    pub async fn new() -> Self {
        Self::with(SignUp::Open).await
    }

    pub async fn with(sign_up: SignUp) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("startclaw.db")).await.unwrap();
        let vault = Vault::load(&folder.path().join("master.key"), true).unwrap();
        let ms = Duration::from_millis;
        let backup =
            BackupSettings { nightly: false, folder: "/simulated".into(), ..Default::default() };
        let quota = Quota { instances: 2, memory_mib: 4096, disk_mib: 1024 };
        let settings = EngineSettings {
            domain: "claws.example".into(),
            port_suffix: ":8443".into(),
            instances: InstanceSettings { boots: 16, ..InstanceSettings::default() },
            quota,
            backup: backup.clone(),
            timing: Timing {
                boot_poll: ms(1),
                backup_again: ms(5),
                quiesce_again: ms(1),
                ..Timing::default()
            },
        };
        let host = SimulatedHost::new(2000, ms(2));
        let engine =
            Engine::start(store.clone(), vault, Dependencies::simulated(host.clone()), settings)
                .await
                .unwrap();
        let wanted = AccountSettings { sign_up, quota, ..AccountSettings::default() };
        let accounts = Accounts::new(store, engine.clone(), wanted, SITE).unwrap();
        tokio::spawn(accounts.clone().delete_pending_accounts(CancellationToken::new()));
        let pages = startclaw_portal::router(
            engine.clone(),
            accounts.clone(),
            Settings {
                domain: "claws.example".into(),
                site: SITE.into(),
                backup,
                reach: Reach::default(),
                stop: CancellationToken::new(),
            },
        );
        Self { engine, accounts, host, pages, _folder: folder }
    }

    /// A browser without cookies.
    pub fn browser(&self) -> Browser<'_> {
        Browser { platform: self, jar: Mutex::default() }
    }

    /// A browser of a new account.
    pub async fn person(&self, email: &str) -> Browser<'_> {
        let browser = self.browser();
        let form = [("email", email), ("password", PASSWORD)];
        let made = browser.post("/sign-up", &form).await;
        assert_eq!(made.location(), "/new", "{made:?}");
        browser
    }

    /// A browser of an admin.
    pub async fn admin(&self) -> Browser<'_> {
        let browser = self.person("root@example.com").await;
        let account = self.account("root@example.com").await;
        self.accounts.set_admin(&Actor::system(), account, true).await.unwrap();
        browser
    }

    /// An instance created on the command line, for an owner without an account.
    pub async fn provision(&self, name: &str, owner: &str) {
        let request = ProvisionRequest {
            name: Name::parse(name).unwrap(),
            owner: Owner::parse(owner).unwrap(),
            account: None,
            provider: None,
            api_key: None,
            telegram_bot_token: None,
            telegram_access: startclaw_model::TelegramAccess::Pairing,
            version: None,
            limits: None,
        };
        self.engine.provision(&Actor::socket(0), request, None).await.unwrap();
    }

    pub async fn account(&self, email: &str) -> startclaw_model::Account {
        self.accounts.find(&Email::parse(email).unwrap()).await.unwrap()
    }

    /// Waits until an instance is live.
    pub async fn live(&self, name: &str) {
        let name = Name::parse(name).unwrap();
        until("it is live", async || {
            self.engine.status(&name).await.is_ok_and(|s| s.state == InstanceState::Live)
        })
        .await;
    }
}

/// Waits until a condition holds.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// The response of a page.
#[derive(Debug)]
pub struct Page {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Page {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    pub fn location(&self) -> &str {
        self.header("location")
    }

    #[track_caller]
    pub fn has(&self, text: &str) {
        assert!(self.text.contains(text), "no {text:?} in {}: {}", self.status, self.text);
    }
}

/// A browser, with its cookies.
pub struct Browser<'a> {
    platform: &'a TestPlatform,
    jar: Mutex<BTreeMap<String, String>>,
}

impl Browser<'_> {
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub fn set_cookie(&self, name: &str, value: &str) {
        let mut jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
        jar.insert(name.to_owned(), value.to_owned());
    }

    pub async fn get(&self, path: &str) -> Page {
        self.send(Method::GET, path, &[("accept", "text/html")], Body::empty()).await
    }

    /// Posts a form, as a page of the portal does.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Page {
        self.post_with(path, form, &[("origin", SITE), ("sec-fetch-site", "same-origin")]).await
    }

    pub async fn post_with(
        &self,
        path: &str,
        form: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Page {
        let body: Vec<String> = form.iter().map(|(k, v)| format!("{k}={}", encode(v))).collect();
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        self.send(Method::POST, path, &all, Body::from(body.join("&"))).await
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Page {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "claws.example:8443")
            .header("x-forwarded-for", "203.0.113.7")
            .header(header::USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let cookies: Vec<String> = {
            let jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
            jar.iter().map(|(k, v)| format!("{k}={v}")).collect()
        };
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        let request = request.body(body).unwrap();
        let answer = self.platform.pages.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        for set in parts.headers.get_all(header::SET_COOKIE) {
            let text = set.to_str().unwrap();
            let (name, rest) = text.split_once('=').unwrap();
            let mut jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
            if text.contains("Max-Age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), rest.split(';').next().unwrap().to_owned());
            }
        }
        let read = tokio::time::timeout(LIMIT, body.collect()).await.expect("it ends");
        let bytes = read.unwrap().to_bytes();
        Page {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") }
        })
        .collect()
}
