//! A platform in memory with its portal, and browsers.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use http_body_util::BodyExt;
use startclaw_accounts::{Accounts, SignUp};
use startclaw_engine::Engine;
use startclaw_model::{Account, Actor, InstanceState, Quota};
use startclaw_portal::{Reach, Settings};
use startclaw_simulated::SimulatedHost;
use startclaw_testkit::{LIMIT, TestDaemon, admin, becomes, email, request_for};
pub use startclaw_testkit::{PASSWORD, until};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub const SITE: &str = "https://claws.example:8443";

/// A platform that boots instances in a few milliseconds; sign-up is open.
pub struct TestPlatform {
    pub engine: Engine,
    pub accounts: Accounts,
    pub host: SimulatedHost,
    pages: Router,
    _daemon: TestDaemon,
}

impl TestPlatform {
    pub async fn new() -> Self {
        Self::with(SignUp::Open).await
    }

    pub async fn with(sign_up: SignUp) -> Self {
        let mut platform = startclaw_testkit::TestPlatform::patient().sign_up(sign_up);
        platform.settings.domain = "claws.example".into();
        platform.settings.port_suffix = ":8443".into();
        platform.accounts.quota = Quota { instances: 2, memory_mib: 4096, disk_mib: 1024 };
        let daemon = platform.daemon().await;
        daemon.delete_pending_accounts();
        let (engine, accounts) = (daemon.engine.clone(), daemon.accounts.clone());
        let settings = Settings {
            domain: platform.settings.domain,
            site: SITE.into(),
            backup: platform.backups,
            reach: Reach::default(),
            stop: CancellationToken::new(),
        };
        let pages = startclaw_portal::router(engine.clone(), accounts.clone(), settings);
        Self { engine, accounts, host: platform.host, pages, _daemon: daemon }
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
        let request = request_for(name, owner);
        self.engine.provision(&admin(), request, None).await.unwrap();
    }

    pub async fn account(&self, address: &str) -> Account {
        self.accounts.find(&email(address)).await.unwrap()
    }

    /// Waits until an instance is live.
    pub async fn live(&self, name: &str) {
        becomes(&self.engine, name, InstanceState::Live).await;
    }
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
