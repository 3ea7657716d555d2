//! Clients that connect like the platform's users.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::Context;
use reqwest::{Certificate, Client};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// The interval between two checks of a starting instance; the same for all candidates.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// The timeout of one check: an instance that is not ready may leave it unanswered.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// A longer start has failed.
const START_LIMIT: Duration = Duration::from_secs(120);

/// The path that reports the start of an instance.
pub const STARTUP: &str = "/startupz";

/// A client for one host name on this host that trusts only this authority. One connection is kept
/// alive.
pub fn https(host: &str, authority: &Path) -> anyhow::Result<Client> {
    let root = std::fs::read(authority).context("Caddy has not made its authority")?;
    Ok(Client::builder()
        .tls_certs_only([Certificate::from_pem(&root)?])
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(10))
        .pool_max_idle_per_host(1)
        .resolve(host, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .build()?)
}

/// A client for plain HTTP on this host.
pub fn http() -> anyhow::Result<Client> {
    Ok(Client::builder().timeout(Duration::from_secs(10)).build()?)
}

/// A client for a Unix socket.
pub fn socket(path: &Path) -> anyhow::Result<Client> {
    Ok(Client::builder().unix_socket(path).timeout(Duration::from_secs(60)).build()?)
}

/// Waits until the instance at `url` reports that it has started; returns the time since `begun`.
pub async fn started(
    client: &Client,
    url: &str,
    cookie: Option<&str>,
    begun: Instant,
) -> anyhow::Result<Duration> {
    let mut last = String::from("nothing");
    while begun.elapsed() < START_LIMIT {
        let mut request = client.get(url).timeout(LOOK_LIMIT);
        if let Some(cookie) = cookie {
            request = request.header("cookie", cookie);
        }
        // Until it listens, there is no response.
        if let Ok(answer) = request.send().await {
            let status = answer.status();
            // Parsed as JSON, because OpenClaw answers unknown paths with its page and 200.
            let body: Value = answer.json().await.unwrap_or_default();
            if status == 200 && body["status"] == "started" {
                return Ok(begun.elapsed());
            }
            last = format!("{status} {body}");
        }
        sleep(POLL_INTERVAL).await;
    }
    anyhow::bail!("{url} did not start in {START_LIMIT:?}; last response: {last}")
}

/// A session cookie of an instance, obtained like a browser does: through a one-time link.
pub async fn sign_in(client: &Client, origin: &str, link: &str) -> anyhow::Result<String> {
    let (_, ticket) = link.split_once("ticket=").context("a link without a login token")?;
    let answer = client
        .post(format!("{origin}/.startclaw/enter"))
        .header("origin", origin)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("ticket={ticket}"))
        .send()
        .await?;
    anyhow::ensure!(answer.status() == 303, "the login token was rejected: {}", answer.status());
    let cookie = answer.headers().get("set-cookie").context("no cookie")?.to_str()?;
    Ok(cookie.split(';').next().unwrap_or_default().to_owned())
}

/// A free port of the loopback interface.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
