//! Access to a platform from outside: through Caddy, over TLS, like a browser.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::Platform;

impl Platform {
    pub(super) fn try_client(&self) -> Option<reqwest::Client> {
        self.client_builder()?.timeout(Duration::from_secs(30)).build().ok()
    }

    fn client_builder(&self) -> Option<reqwest::ClientBuilder> {
        let root = std::fs::read(self.path("caddy/pki/authorities/local/root.crt")).ok()?;
        let root = reqwest::Certificate::from_pem(&root).ok()?;
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, self.https_port));
        let names = ["alice", "bob", "carol", "api", "nobody"];
        let mut builder = reqwest::Client::builder()
            .tls_certs_only([root])
            .redirect(reqwest::redirect::Policy::none())
            .resolve(&self.domain(), here);
        for name in names {
            builder = builder.resolve(&format!("{name}.{}", self.domain()), here);
        }
        Some(builder)
    }

    /// A client that verifies certificates and does not follow redirects.
    pub fn client(&self) -> reqwest::Client {
        self.try_client().expect("Caddy has made its authority")
    }

    /// A client like [`Self::client`] for upgraded, long-lived connections.
    pub fn upgrading_client(&self) -> reqwest::Client {
        let builder = self.client_builder().expect("Caddy has made its authority");
        builder.http1_only().build().expect("a client")
    }

    /// The status of an instance's first page; `None` without a response.
    pub async fn page(&self, name: &str, cookie: &str) -> Option<u16> {
        let request = self.client().get(self.origin(name)).header("cookie", cookie);
        Some(request.send().await.ok()?.status().as_u16())
    }

    /// A session cookie of an instance, obtained like a browser does.
    pub async fn sign_in(&self, name: &str) -> String {
        let link = self.json(&["open", name, "--json"]).await;
        let url = link["url"].as_str().expect("a link");
        let ticket = url.split("ticket=").nth(1).expect("a ticket in the link");
        let answer = self
            .client()
            .post(format!("{}/.startclaw/enter", self.origin(name)))
            .header("origin", self.origin(name))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("ticket={ticket}"))
            .send()
            .await
            .expect("the address answers");
        assert_eq!(answer.status(), 303, "the login token is valid");
        let cookie = answer.headers()["set-cookie"].to_str().expect("a plain cookie");
        cookie.split(';').next().expect("a cookie").to_owned()
    }
}
