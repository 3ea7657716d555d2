//! Time to first paint: a real Chromium, Caddy, daemon and instance, all on this host.

use std::time::Duration;

use end_to_end::{Person, browser};
use serde::Deserialize;
use serde_json::json;

use super::{Painted, Sizes};
use crate::{platform, samples::Samples};

const EMAIL: &str = "alice@example.com";
const NAME: &str = "alice";

/// Our pages, and the two for comparison.
const PAGES: [(&str, &str); 6] = [
    ("sign in", "/sign-in"),
    ("own instances", "/instances"),
    ("one instance", "/instances/alice"),
    ("a new one", "/new"),
    ("account", "/account"),
    ("all instances (admin)", "/admin"),
];
const OTHERS: [&str; 2] =
    ["OpenClaw's own Control UI", "`/healthz` of an instance, a line of text"];

/// Milliseconds, as reported by the browser.
#[derive(Deserialize)]
struct Times {
    fresh: Vec<u64>,
    again: Vec<u64>,
}

pub async fn measure(sizes: Sizes) -> anyhow::Result<Vec<Painted>> {
    let platform = platform::start().await;
    let operation = Person::admin(&platform, EMAIL).await.make(NAME).await;
    platform.over(&json!({ "id": operation })).await;
    let parameters = json!({
        "site": platform.site(),
        "email": EMAIL,
        "password": end_to_end::person::PASSWORD,
        "pages": PAGES.map(|(_, path)| path),
        "name": NAME,
        "origin": platform.origin(NAME),
        "rounds": sizes.paints,
    });
    let found: Vec<Times> =
        serde_json::from_value(browser::run(&platform, "paint", parameters).await)?;
    let names = PAGES.iter().map(|(name, _)| (*name, true));
    let names: Vec<_> = names.chain(OTHERS.map(|name| (name, false))).collect();
    anyhow::ensure!(found.len() == names.len(), "the browser saw {} pages", found.len());
    let samples = |times: Vec<u64>| {
        let mut samples = Samples::default();
        times.into_iter().map(Duration::from_millis).for_each(|took| samples.push(took));
        samples
    };
    Ok(names
        .into_iter()
        .zip(found)
        .map(|((name, ours), times)| Painted {
            name,
            ours,
            fresh: samples(times.fresh),
            again: samples(times.again),
        })
        .collect())
}
