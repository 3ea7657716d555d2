//! A user of the portal, as a program: forms and links, without a browser.

use reqwest::{Client, Response, header};

use crate::Platform;

/// A valid password.
pub const PASSWORD: &str = "four words in a row";

/// A signed-in user.
pub struct Person {
    client: Client,
    site: String,
    /// Their e-mail address.
    pub email: String,
    /// Their session cookie.
    pub cookie: String,
}

impl Person {
    /// Signs up.
    pub async fn sign_up(platform: &Platform, email: &str) -> Self {
        let nobody = Self::nobody(platform);
        let made = nobody.post("/sign-up", &[("email", email), ("password", PASSWORD)]).await;
        assert_eq!(made.status(), 303, "{}", made.text().await.unwrap_or_default());
        let cookie = session_of(&made).expect("a session");
        Self { email: email.to_owned(), cookie, ..nobody }
    }

    /// Creates an admin account, as an operator does, and sets its password.
    pub async fn admin(platform: &Platform, email: &str) -> Self {
        Self::created(platform, &["accounts", "create", email, "--admin", "--json"], email).await
    }

    /// Creates an account, as an operator does, and sets its password.
    pub async fn user(platform: &Platform, email: &str) -> Self {
        Self::created(platform, &["accounts", "create", email, "--json"], email).await
    }

    async fn created(platform: &Platform, command: &[&str], email: &str) -> Self {
        let made = platform.json(command).await;
        let link = made["link"]["url"].as_str().expect("a link");
        let path = link.strip_prefix(&platform.site()).expect("a link to the pages");
        let nobody = Self::nobody(platform);
        let set = nobody.post(path, &[("password", PASSWORD)]).await;
        let cookie = session_of(&set).expect("a session");
        Self { email: email.to_owned(), cookie, ..nobody }
    }

    /// A client that is not signed in.
    pub fn nobody(platform: &Platform) -> Self {
        Self {
            client: platform.client(),
            site: platform.site(),
            email: String::new(),
            cookie: String::new(),
        }
    }

    /// Gets a page.
    pub async fn get(&self, path: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.site));
        request.header("cookie", &self.cookie).send().await.expect("the page answers")
    }

    /// The addresses of links and forms on a page, which do not change over time.
    pub async fn addresses(&self, path: &str) -> Vec<String> {
        let page = self.get(path).await.text().await.expect("a text");
        let found = page.split(['"', '\'']).filter(|part| part.starts_with('/'));
        found.map(str::to_owned).collect()
    }

    /// Sends a form, as a page of the portal does.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Response {
        let headers = [("origin", self.site.as_str()), ("sec-fetch-site", "same-origin")];
        self.post_with(path, form, &headers).await
    }

    /// Sends a form with other headers.
    pub async fn post_with(
        &self,
        path: &str,
        form: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Response {
        let mut request = self
            .client
            .post(format!("{}{path}", self.site))
            .header("cookie", &self.cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(encode(form));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.expect("the page answers")
    }

    /// Creates an instance on the portal. Returns the operation's id.
    pub async fn make(&self, name: &str) -> String {
        let made = self.post("/new", &[("name", name), ("provider", "none")]).await;
        let status = made.status();
        let to = location(&made);
        assert_eq!(status, 303, "{}", made.text().await.unwrap_or_default());
        to.trim_start_matches("/operations/").to_owned()
    }
}

/// The address that a response redirects to.
pub fn location(answer: &Response) -> String {
    let to = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
    to.unwrap_or_default().to_owned()
}

/// The session cookie that a response sets.
pub fn session_of(answer: &Response) -> Option<String> {
    let set = answer.headers().get_all(header::SET_COOKIE).iter().filter_map(|c| c.to_str().ok());
    let mut sessions = set.filter(|cookie| cookie.starts_with("__Host-startclaw="));
    let cookie = sessions.next()?.split(';').next()?;
    (cookie != "__Host-startclaw=").then(|| cookie.to_owned())
}

fn encode(form: &[(&str, &str)]) -> String {
    let spell = |text: &str| {
        text.bytes()
            .map(|b| {
                if b.is_ascii_alphanumeric() {
                    char::from(b).to_string()
                } else {
                    format!("%{b:02X}")
                }
            })
            .collect::<String>()
    };
    let pairs = form.iter().map(|(key, value)| format!("{}={}", spell(key), spell(value)));
    pairs.collect::<Vec<_>>().join("&")
}
