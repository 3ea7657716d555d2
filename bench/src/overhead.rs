//! The overhead of the authorize request: StartClaw's own Caddy, against a second one with the same
//! configuration without it, in front of the same instance.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use end_to_end::{Platform, caddy::Caddy};
use reqwest::Client;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{client, machine, platform, samples::Samples};

const NAME: &str = "asked";

/// The size of the measurement.
pub struct Sizes {
    rounds: usize,
    requests: usize,
}

impl Sizes {
    pub const FULL: Self = Self { rounds: 20, requests: 250 };
    pub const QUICK: Self = Self { rounds: 4, requests: 100 };
}

/// The results.
pub struct Overhead {
    pub with: Samples,
    pub without: Samples,
    /// Milliseconds added to the median of each round, ascending.
    pub added: Vec<f64>,
    pub rounds: usize,
    pub busy: f64,
}

pub async fn measure(sizes: Sizes) -> anyhow::Result<Overhead> {
    let platform = platform::start().await;
    // Plenty of CPU: the instance's own time is the same for both, and its limit would affect both
    // irregularly.
    let wanted = json!({ "name": NAME, "limits": { "cpus": 2.0 } });
    let (status, operation) = platform.api("POST", "/provision", Some(wanted)).await;
    anyhow::ensure!(status == 202, "the provision was refused: {operation}");
    let done = platform.over(&operation).await;
    anyhow::ensure!(done["state"] == "succeeded", "the provision failed: {done}");

    let host = format!("{NAME}.{}", platform.domain());
    let origin = platform.origin(NAME);
    let asking = client::https(&host, &platform::authority(&platform))?;
    let (status, link) = platform.api("POST", "/open", Some(json!({ "name": NAME }))).await;
    let link = link["url"].as_str().with_context(|| format!("no link: {status}"))?.to_owned();
    let cookie = client::sign_in(&asking, &origin, &link).await?;

    let plain = Plain::start(&platform).await?;
    let trusting = plain.client(&host).await?;
    let with = Road { client: asking, url: format!("{origin}/healthz"), cookie: cookie.clone() };
    let url = format!("https://{host}:{}/healthz", plain.port);
    let without = Road { client: trusting, url, cookie };

    let mut found = Overhead {
        with: Samples::default(),
        without: Samples::default(),
        added: Vec::new(),
        rounds: sizes.rounds,
        busy: 0.0,
    };
    for road in [&with, &without] {
        road.travel(sizes.requests).await?;
    }
    found.busy = machine::quiet().await?;
    for round in 0..sizes.rounds {
        // Alternate which one is first.
        let (a, b) = if round % 2 == 0 {
            let a = with.travel(sizes.requests).await?;
            (a, without.travel(sizes.requests).await?)
        } else {
            let b = without.travel(sizes.requests).await?;
            (with.travel(sizes.requests).await?, b)
        };
        let median = |times: &[Duration]| {
            let mut samples = Samples::default();
            times.iter().for_each(|t| samples.push(*t));
            samples.median().as_secs_f64() * 1000.0
        };
        found.added.push(median(&a) - median(&b));
        a.into_iter().for_each(|t| found.with.push(t));
        b.into_iter().for_each(|t| found.without.push(t));
    }
    found.added.sort_by(f64::total_cmp);
    Ok(found)
}

/// A way to reach the instance.
struct Road {
    client: Client,
    url: String,
    cookie: String,
}

impl Road {
    /// Sends requests sequentially on one connection.
    async fn travel(&self, requests: usize) -> anyhow::Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(requests);
        for _ in 0..requests {
            let begun = Instant::now();
            let answer = self.client.get(&self.url).header("cookie", &self.cookie).send().await?;
            let status = answer.status();
            let body = answer.text().await?;
            times.push(begun.elapsed());
            anyhow::ensure!(status == 200, "{}: {status} {body}", self.url);
        }
        Ok(times)
    }
}

/// The second Caddy.
struct Plain {
    port: u16,
    authority: PathBuf,
    _caddy: Caddy,
}

impl Plain {
    async fn start(platform: &Platform) -> anyhow::Result<Self> {
        let (_, status) = platform.api("GET", &format!("/status?name={NAME}"), None).await;
        let upstream = status["instances"][0]["port"].as_u64().context("no port in the status")?;
        let original = std::fs::read_to_string(platform.path("Caddyfile"))?;
        let port = client::free_port()?;
        let places = Places {
            https_port: port,
            http_port: client::free_port()?,
            ask_port: client::free_port()?,
            upstream: format!("127.0.0.1:{upstream}"),
        };
        let file = platform.path("Caddyfile.plain");
        let home = platform.path("plain");
        std::fs::create_dir_all(&home)?;
        let content = unasked(&original, &places)?
            .replace(&platform.path("caddy").display().to_string(), &home.display().to_string())
            .replace("access.log", "access-plain.log");
        std::fs::write(&file, content)?;
        let caddy = Caddy::start(&file, &home, &platform.path("caddy-plain.log"));
        let authority = home.join("pki/authorities/local/root.crt");
        Ok(Self { port, authority, _caddy: caddy })
    }

    /// A client for it, once it responds.
    async fn client(&self, host: &str) -> anyhow::Result<Client> {
        let begun = Instant::now();
        loop {
            let url = format!("https://{host}:{}/healthz", self.port);
            if let Ok(client) = client::https(host, &self.authority)
                && client.get(url).send().await.is_ok_and(|a| a.status() == 200)
            {
                return Ok(client);
            }
            anyhow::ensure!(begun.elapsed() < Duration::from_secs(30), "Caddy does not start");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

struct Places {
    https_port: u16,
    http_port: u16,
    ask_port: u16,
    upstream: String,
}

/// StartClaw's Caddyfile without the authorize request: its response is hard-coded.
fn unasked(original: &str, places: &Places) -> anyhow::Result<String> {
    let ask = original
        .split_once("ask http://127.0.0.1:")
        .and_then(|(_, rest)| rest.split_once("/ask"))
        .map(|(port, _)| format!("127.0.0.1:{port}"))
        .context("the Caddyfile has no ask endpoint for certificates")?;
    let mut out = String::new();
    let mut depth = 0_usize;
    let mut removed = false;
    for line in original.replace(&ask, &format!("127.0.0.1:{}", places.ask_port)).lines() {
        let text = line.trim();
        if depth > 0 || text.starts_with("forward_auth ") {
            removed = true;
            if text.ends_with('{') {
                depth += 1;
            }
            if text == "}" {
                depth -= 1;
            }
            continue;
        }
        let line = match text.split_whitespace().next() {
            Some("https_port") => format!("https_port {}", places.https_port),
            Some("http_port") => format!("http_port {}", places.http_port),
            _ => line
                .replace("{http.request.header.X-Startclaw-Upstream}", &places.upstream)
                .replace("{http.request.header.X-Startclaw-Client}", "192.0.2.1"),
        };
        out.push_str(&line);
        out.push('\n');
    }
    anyhow::ensure!(removed, "the Caddyfile has no authorize request to remove");
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_question_is_left_out() {
        let original = "{\n\thttps_port 1\n\task http://127.0.0.1:9/ask\n}\nhandle {\n\tforward_auth x {\n\t\ttransport http {\n\t\t}\n\t}\n\treverse_proxy {http.request.header.X-Startclaw-Upstream} {\n\t}\n}\n";
        let places =
            Places { https_port: 2, http_port: 3, ask_port: 4, upstream: "127.0.0.1:5".into() };
        let wanted = "{\nhttps_port 2\n\task http://127.0.0.1:4/ask\n}\nhandle {\n\treverse_proxy 127.0.0.1:5 {\n\t}\n}\n";
        assert_eq!(unasked(original, &places).unwrap(), wanted);
        assert!(unasked("ask http://127.0.0.1:9/ask", &places).is_err());
    }
}
