//! The pages over an engine on a simulated host, requested over a local connection.

use std::{net::SocketAddr, time::Duration};

use futures::{TryStreamExt, stream};
use reqwest::{Client, header::COOKIE};
use startclaw_engine::{ProvisionRequest, Timing};
use startclaw_model::{Actor, Email};
use startclaw_portal::{Reach, Settings};
use startclaw_simulated::SimulatedHost;
use startclaw_testkit::{TestDaemon, TestPlatform, request_for};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Made, Sizes};
use crate::crowd;

/// Maximum number of concurrent provision requests.
const ASKERS: usize = 16;
/// Boots on the simulated host take no time: they are not measured.
const BOOT: Duration = Duration::from_millis(1);

/// The pages, requested by an admin who owns one instance.
const PAGES: [(&str, &str); 9] = [
    ("account", "/account"),
    ("own instances", "/instances"),
    ("one instance", "/instances/claw-00500"),
    ("all instances, by name", "/admin"),
    ("by memory, from the greatest", "/admin?sort=memory&order=desc"),
    ("those with \"77\" in them", "/admin?q=77"),
    ("the last part of them", "/admin?page=10"),
    ("all accounts", "/admin/accounts"),
    ("the machine", "/admin/machine"),
];

pub async fn measure(sizes: Sizes) -> anyhow::Result<Vec<Made>> {
    let host = SimulatedHost::new(u32::try_from(sizes.instances)?, BOOT);
    let mut platform = TestPlatform::patient().on(host);
    platform.settings.timing = Timing::default();
    // Real boots are limited because they take CPU; these take none.
    platform.settings.instances.boots = sizes.instances;
    let daemon = platform.daemon().await;
    let cookie = people(&daemon, sizes.instances).await?;

    let stop = CancellationToken::new();
    let settings = Settings {
        domain: platform.settings.domain.clone(),
        site: platform.site(),
        backup: platform.backups.clone(),
        reach: Reach::default(),
        stop: stop.clone(),
    };
    let (engine, accounts) = (daemon.engine.clone(), daemon.accounts.clone());
    let router = startclaw_portal::router(engine, accounts, settings);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let ended = stop.clone().cancelled_owned();
    let serving =
        tokio::spawn(axum::serve(listener, router).with_graceful_shutdown(ended).into_future());
    let made = ask(address, &cookie, sizes.requests).await;
    stop.cancel();
    daemon.end().await;
    // It was stopped on purpose.
    let _ = serving.await;
    made
}

/// Creates accounts with one instance each; returns the session cookie of one of them, an admin.
async fn people(daemon: &TestDaemon, count: usize) -> anyhow::Result<String> {
    let (accounts, system) = (&daemon.accounts, Actor::system());
    stream::iter((0..count).map(anyhow::Ok))
        .try_for_each_concurrent(ASKERS, async |number| {
            let name = crowd::name(number);
            let email = Email::parse(&format!("{name}@example.com"))?;
            let (account, _) = accounts.create(&system, email, number == count / 2).await?;
            let request = ProvisionRequest {
                account: Some(account.id),
                ..request_for(&name, account.email.as_str())
            };
            daemon.engine.provision(&system, request, None).await?;
            Ok(())
        })
        .await?;
    crowd::daemon::all_live(&daemon.engine, count).await;
    let email = Email::parse(&format!("{}@example.com", crowd::name(count / 2)))?;
    let admin = accounts.find(&email).await?;
    let session = daemon.set_password(&accounts.password_link(&system, &admin).await?).await;
    Ok(format!("__Host-startclaw={}", session.value.expose()))
}

async fn ask(address: SocketAddr, cookie: &str, requests: usize) -> anyhow::Result<Vec<Made>> {
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let mut made = PAGES.map(|(name, _)| Made { name, took: Default::default(), size: 0 });
    // In turn, so that changing load on the host affects all alike. The first round is a warm-up.
    for round in 0..=requests {
        for (page, (name, path)) in made.iter_mut().zip(PAGES) {
            let begun = Instant::now();
            let request = client.get(format!("http://{address}{path}")).header(COOKIE, cookie);
            let answer = request.send().await?;
            anyhow::ensure!(answer.status() == 200, "{name}: {}", answer.status());
            page.size = answer.bytes().await?.len();
            if round > 0 {
                page.took.push(begun.elapsed());
            }
        }
    }
    Ok(made.into())
}
