//! Fetches certificates in advance: a new instance's while it boots, so that neither its first
//! visitor nor Telegram finds an address without one.

use std::{collections::HashMap, time::Duration};

use futures::StreamExt;
use startclaw_edge::EdgeSettings;
use startclaw_engine::Engine;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often new names are checked. A boot takes six seconds.
const POLL_INTERVAL: Duration = Duration::from_secs(3);
/// How many are fetched at a time: one name whose DNS record is missing must not delay the others.
const PARALLEL: usize = 8;
/// The first wait after a failure; it doubles. Let's Encrypt allows five failures an hour.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// The longest wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The state of a host's certificate.
enum Certificate {
    Served,
    Failed { next: Instant, wait: Duration },
}

/// Fetches the certificates of the platform's own names and of every instance, until `stop`.
pub async fn run(engine: Engine, settings: EdgeSettings, stop: CancellationToken) {
    let mut known: HashMap<String, Certificate> = HashMap::new();
    let mut ticks = tokio::time::interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let hosts = hosts(&engine, &settings.domain).await;
        known.retain(|host, _| hosts.contains(host));
        let is_due = |host: &String| match known.get(host) {
            None => true,
            Some(Certificate::Served) => false,
            Some(Certificate::Failed { next, .. }) => *next <= Instant::now(),
        };
        let due: Vec<_> = hosts.into_iter().filter(is_due).collect();
        let due: Vec<_> = due.into_iter().map(|host| (known.remove(&host), host)).collect();
        let mut fetched = futures::stream::iter(due)
            .map(|(before, host)| {
                let settings = &settings;
                async move { (fetch(settings, &host, before).await, host) }
            })
            .buffer_unordered(PARALLEL);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                next = fetched.next() => match next {
                    Some((now, host)) => drop(known.insert(host, now)),
                    None => break,
                },
            }
        }
    }
}

async fn hosts(engine: &Engine, domain: &str) -> Vec<String> {
    let mut hosts = vec![domain.to_owned(), format!("api.{domain}")];
    match engine.status_all().await {
        Ok(all) => hosts.extend(all.iter().map(|i| format!("{}.{domain}", i.name))),
        Err(e) => tracing::warn!(error = %e, "cannot list the instances for their certificates"),
    }
    hosts
}

async fn fetch(settings: &EdgeSettings, host: &str, before: Option<Certificate>) -> Certificate {
    match startclaw_edge::fetch_certificate(settings, host).await {
        Ok(()) => Certificate::Served,
        Err(e) => {
            let wait = match before {
                Some(Certificate::Failed { wait, .. }) => (wait * 2).min(LONGEST_WAIT),
                _ => FIRST_WAIT,
            };
            // Warns once, after the second failure: at startup Caddy may simply start later than
            // the daemon.
            if wait == FIRST_WAIT * 2 {
                tracing::warn!(host, error = %e, "no certificate; retrying");
            }
            Certificate::Failed { next: Instant::now() + wait, wait }
        }
    }
}
