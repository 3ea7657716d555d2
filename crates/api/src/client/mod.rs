//! A typed client of the API, over the Unix socket or HTTPS. The command line is built on it.

mod accounts;
mod error;
mod follow;
mod lines;
mod sse;
mod verbs;

use std::{net::Ipv4Addr, path::Path, time::Duration};

use reqwest::{Method, RequestBuilder, Response, header};
use serde::{Serialize, de::DeserializeOwned};
use startclaw_model::Secret;

pub use error::{Cause, ClientError};
pub use follow::Progress;

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a single response may take; the daemon itself times out after 30 seconds.
const ANSWER: Duration = Duration::from_secs(45);

const NO_QUERY: [(&str, &str); 0] = [];

/// A client. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<Secret>,
    /// The address that it connects to, for messages.
    place: String,
}

/// rustls needs one process-wide crypto provider; with two candidates it refuses to choose.
fn choose_tls() {
    // An error means that a provider is already installed, which is fine.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

impl Client {
    /// A client of the daemon that listens at the Unix socket `path`.
    pub fn socket(path: &Path) -> Result<Self, ClientError> {
        choose_tls();
        let http = reqwest::Client::builder()
            .unix_socket(path)
            .no_proxy()
            .connect_timeout(CONNECT)
            .build()
            .map_err(ClientError::setup)?;
        Ok(Self {
            http,
            base: "http://startclaw".to_owned(),
            token: None,
            place: path.display().to_string(),
        })
    }

    /// A client of the API at `url`, such as `https://api.example.com`. `authority` is an
    /// additional CA certificate in PEM to trust, as for local domains.
    ///
    /// # Errors
    /// If `url` is not `https://`: a token must not be sent unencrypted. `http://` is allowed for
    /// loopback addresses.
    pub fn https(
        url: &str,
        token: Option<Secret>,
        authority: Option<&[u8]>,
    ) -> Result<Self, ClientError> {
        choose_tls();
        let base = url.trim_end_matches('/');
        let parsed = reqwest::Url::parse(base)
            .map_err(|e| ClientError::new(Cause::Usage, format!("{base} is no address: {e}")))?;
        let local = matches!(parsed.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
        if parsed.scheme() != "https" && !(parsed.scheme() == "http" && local) {
            return Err(ClientError::new(Cause::Usage, format!("{base} is no https:// address")));
        }
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(name) = parsed.host_str().filter(|host| host.ends_with(".localhost")) {
            // Loopback, as browsers resolve it (RFC 6761); not every system's resolver does.
            builder = builder.resolve(name, (Ipv4Addr::LOCALHOST, 0).into()).no_proxy();
        }
        if let Some(pem) = authority {
            for certificate in
                reqwest::Certificate::from_pem_bundle(pem).map_err(ClientError::setup)?
            {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let http = builder.build().map_err(ClientError::setup)?;
        Ok(Self { http, base: base.to_owned(), token, place: base.to_owned() })
    }

    /// The address that it connects to, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    fn request<Q: Serialize>(
        &self,
        method: Method,
        path: &str,
        query: &Q,
    ) -> Result<RequestBuilder, ClientError> {
        let query = serde_urlencoded::to_string(query)
            .map_err(|e| ClientError::new(Cause::Usage, e.to_string()))?;
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{mark}{query}", self.base);
        let request = self.http.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        })
    }

    /// Sends a request whose response is not a stream.
    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.send(request.timeout(ANSWER)).await?;
        let bytes = response.bytes().await.map_err(|e| self.lost(e))?;
        serde_json::from_slice(&bytes).map_err(|e| {
            ClientError::new(
                Cause::Protocol,
                format!(
                    "{} sent a response that this version does not understand: {e}",
                    self.place
                ),
            )
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|e| self.lost(e))?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(error::of_response(response, &self.place).await)
        }
    }

    fn lost(&self, e: reqwest::Error) -> ClientError {
        error::unreachable(&self.place, e)
    }
}

/// A JSON body; reqwest's own method would need the type to be public in more places.
fn json<B: Serialize>(request: RequestBuilder, body: &B) -> Result<RequestBuilder, ClientError> {
    let bytes =
        serde_json::to_vec(body).map_err(|e| ClientError::new(Cause::Usage, e.to_string()))?;
    Ok(request.header(header::CONTENT_TYPE, "application/json").body(bytes))
}
