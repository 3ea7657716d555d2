//! Checks an API key with its provider, or a bot token with Telegram, while the user fills in the
//! form. A key that cannot be checked never blocks the form.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;
use reqwest::{Client, RequestBuilder, Url, redirect};
use startclaw_model::{ModelProvider, ProviderKind, Secret};

/// How long a check may take.
const LIMIT: Duration = Duration::from_secs(6);

/// What checks may connect to.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// The base address of Telegram's Bot API; the official one when empty.
    pub telegram_api: String,
    /// Private networks, or one port in them, that instances may reach. A user who enters the
    /// address of a custom provider must not make this host connect where the instance itself could
    /// not.
    pub allow: Vec<(IpNet, Option<u16>)>,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyStatus {
    /// The key is accepted; with the name that it belongs to, if known.
    Valid(String),
    /// The key was rejected.
    Invalid(&'static str),
    /// It could not be checked.
    Unknown(&'static str),
}

pub(crate) struct Checker {
    reach: Reach,
}

impl Checker {
    pub const fn new(reach: Reach) -> Self {
        Self { reach }
    }

    /// Checks whether a provider accepts a key.
    pub async fn key(&self, provider: &ModelProvider, key: &Secret) -> KeyStatus {
        let Some(url) = address(provider) else {
            return KeyStatus::Unknown("Invalid address.");
        };
        let client = match self.client(&url, provider.kind == ProviderKind::Custom).await {
            Ok(client) => client,
            Err(Closed::Private) => return KeyStatus::Unknown(PRIVATE),
            Err(Closed::Unreached) => return KeyStatus::Unknown(UNREACHED),
        };
        let request = with_key(client.get(url), provider.kind, key);
        match request.send().await.map(|answer| answer.status().as_u16()) {
            Ok(200..300) => KeyStatus::Valid(String::new()),
            Ok(400 | 401 | 403) => {
                KeyStatus::Invalid("The provider rejected this key. Copy it again.")
            }
            _ => KeyStatus::Unknown(UNREACHED),
        }
    }

    /// Checks whether Telegram knows a bot token, and returns the bot's user name.
    pub async fn telegram(&self, token: &Secret) -> KeyStatus {
        let base = match self.reach.telegram_api.as_str() {
            "" => "https://api.telegram.org",
            own => own.trim_end_matches('/'),
        };
        let unknown =
            KeyStatus::Unknown("Telegram cannot be reached to check the token. You can continue.");
        let Ok(url) = Url::parse(&format!("{base}/bot{}/getMe", token.expose())) else {
            return KeyStatus::Invalid(
                "This is not a bot token. BotFather gives one like 123456789:AAE…",
            );
        };
        let Ok(client) = self.client(&url, false).await else { return unknown };
        let Ok(answer) = client.get(url).send().await else { return unknown };
        match answer.status().as_u16() {
            200 => {
                let body: serde_json::Value = answer.json().await.unwrap_or_default();
                let name = body["result"]["username"].as_str().unwrap_or_default();
                KeyStatus::Valid(name.chars().take(64).collect())
            }
            401 | 404 => KeyStatus::Invalid("Telegram does not know this token. Copy it again."),
            _ => unknown,
        }
    }

    /// A client for one address. The host name of a user's address is resolved first and the client
    /// pinned to the result, so that it can lead to this host or its neighbours neither now nor
    /// later (DNS rebinding).
    async fn client(&self, url: &Url, given: bool) -> Result<Client, Closed> {
        let mut builder = Client::builder()
            .timeout(LIMIT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent("StartClaw");
        if given {
            let host = url.host_str().ok_or(Closed::Unreached)?;
            let port = url.port_or_known_default().ok_or(Closed::Unreached)?;
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let found = tokio::time::timeout(LIMIT, tokio::net::lookup_host((bare, port))).await;
            let found: Vec<SocketAddr> = match found {
                Ok(Ok(found)) => found.collect(),
                _ => return Err(Closed::Unreached),
            };
            if !found.iter().all(|address| self.may_ask(*address)) {
                return Err(Closed::Private);
            }
            builder = builder.resolve_to_addrs(bare, &found);
        }
        builder.build().map_err(|_| Closed::Unreached)
    }

    fn may_ask(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let fits = |port: &Option<u16>| port.is_none_or(|port| port == address.port());
        let mut allowed = self.reach.allow.iter();
        is_public(ip) || allowed.any(|(net, port)| net.contains(&ip) && fits(port))
    }
}

/// An address of the provider that needs a valid key and costs nothing.
fn address(provider: &ModelProvider) -> Option<Url> {
    let (base, path) = match provider.kind {
        ProviderKind::Anthropic => ("https://api.anthropic.com", "/v1/models"),
        ProviderKind::Openai => ("https://api.openai.com", "/v1/models"),
        ProviderKind::Openrouter => ("https://openrouter.ai", "/api/v1/key"),
        ProviderKind::Google => ("https://generativelanguage.googleapis.com", "/v1beta/models"),
        ProviderKind::Custom => (provider.base_url.as_deref().unwrap_or_default(), "/models"),
    };
    Url::parse(&format!("{}{path}", base.trim_end_matches('/'))).ok()
}

/// Adds the key as the provider expects it: never in the URL, which servers log.
fn with_key(request: RequestBuilder, kind: ProviderKind, key: &Secret) -> RequestBuilder {
    match kind {
        ProviderKind::Anthropic => {
            request.header("x-api-key", key.expose()).header("anthropic-version", "2023-06-01")
        }
        ProviderKind::Google => request.header("x-goog-api-key", key.expose()),
        ProviderKind::Openai | ProviderKind::Openrouter | ProviderKind::Custom => {
            request.bearer_auth(key.expose())
        }
    }
}

/// Why an address is not asked.
#[derive(Debug, PartialEq, Eq)]
enum Closed {
    /// It is private, so instances cannot reach it either.
    Private,
    /// Its name does not resolve, or there is no route to it.
    Unreached,
}

const PRIVATE: &str = "Instances cannot reach private addresses such as this one, so it will not work. Use a public one.";
const UNREACHED: &str = "The provider cannot be reached to check the key. You can continue.";

/// Whether an address is a public one: not this host's, not a neighbour's, and not of a range
/// reserved for other uses.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (b == 18 || b == 19)))
        }
        // Global unicast, except for ranges that embed IPv4 addresses (6to4, Teredo) and the
        // documentation range.
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            a & 0xe000 == 0x2000 && a != 0x2002 && !(a == 0x2001 && (b < 0x200 || b == 0x0db8))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_makes_this_machine_ask_itself_or_its_neighbours() {
        for inside in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "::1",
            "fe80::1",
            "fd00::1",
            "2002:7f00:1::",
            "64:ff9b::a00:1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["1.1.1.1", "9.9.9.9", "2606:4700::1111"] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[tokio::test]
    async fn a_private_provider_is_asked_only_where_the_operator_allows_it() {
        let key = Secret::new("k");
        let provider = ModelProvider {
            kind: ProviderKind::Custom,
            model: Some("m".into()),
            base_url: Some("http://127.0.0.1:9/v1".into()),
        };
        let url = Url::parse("http://127.0.0.1:9/v1").unwrap();
        let closed = Checker::new(Reach::default());
        assert_eq!(closed.client(&url, true).await.unwrap_err(), Closed::Private);
        assert_eq!(closed.key(&provider, &key).await, KeyStatus::Unknown(PRIVATE));
        let allow = vec![("127.0.0.0/8".parse().unwrap(), Some(9))];
        let open = Checker::new(Reach { allow, ..Reach::default() });
        assert!(open.may_ask("127.0.0.1:9".parse().unwrap()));
        assert!(!open.may_ask("127.0.0.1:22".parse().unwrap()));
    }

    fn provider(kind: ProviderKind, base_url: Option<String>) -> ModelProvider {
        ModelProvider { kind, model: None, base_url }
    }

    #[test]
    fn each_provider_is_asked_as_it_says() {
        use ProviderKind::{Anthropic, Custom, Google, Openai, Openrouter};
        let google = "https://generativelanguage.googleapis.com/v1beta/models";
        for (kind, address, header, value) in [
            (Anthropic, "https://api.anthropic.com/v1/models", "x-api-key", "k"),
            (Openai, "https://api.openai.com/v1/models", "authorization", "Bearer k"),
            (Openrouter, "https://openrouter.ai/api/v1/key", "authorization", "Bearer k"),
            (Google, google, "x-goog-api-key", "k"),
            (Custom, "https://llm.example/v1/models", "authorization", "Bearer k"),
        ] {
            let base = (kind == Custom).then(|| "https://llm.example/v1/".to_owned());
            let url = super::address(&provider(kind, base)).unwrap();
            assert_eq!(url.as_str(), address);
            let request = with_key(Client::new().get(url), kind, &Secret::new("k"));
            assert_eq!(request.build().unwrap().headers()[header], value, "{kind:?}");
        }
    }

    #[tokio::test]
    async fn a_key_is_good_or_bad_only_when_the_provider_says_so() {
        use axum::{Router, extract::Path, http::StatusCode, routing::get};
        let status = async |Path(code): Path<u16>| StatusCode::from_u16(code).unwrap();
        let router = Router::new().route("/{code}/models", get(status));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let allow = vec![("127.0.0.0/8".parse().unwrap(), None)];
        let checker = Checker::new(Reach { allow, ..Reach::default() });
        let asked = async |code: u16| {
            let custom = provider(ProviderKind::Custom, Some(format!("http://{at}/{code}")));
            checker.key(&custom, &Secret::new("k")).await
        };
        assert_eq!(asked(200).await, KeyStatus::Valid(String::new()));
        assert!(matches!(asked(401).await, KeyStatus::Invalid(_)));
        for unsure in [302, 404, 429, 500] {
            assert!(matches!(asked(unsure).await, KeyStatus::Unknown(_)), "{unsure}");
        }
    }
}
