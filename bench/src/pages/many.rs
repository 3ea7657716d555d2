//! The pages over an engine on a simulated host, requested over a local connection.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use futures::{TryStreamExt, stream};
use reqwest::{Client, header::COOKIE};
use startclaw_accounts::{AccountSettings, Accounts, Origin};
use startclaw_engine::{
    BackupSettings, Dependencies, Engine, EngineSettings, InstanceSettings, ProvisionRequest,
    Timing,
};
use startclaw_model::{Actor, Email, Name, Owner, Secret};
use startclaw_portal::{Reach, Settings};
use startclaw_simulated::SimulatedHost;
use startclaw_store::Store;
use startclaw_vault::Vault;
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Made, Sizes};
use crate::crowd;

const SITE: &str = "https://claws.test";
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
    let folder = tempfile::tempdir()?;
    let store = Store::open(&folder.path().join("startclaw.db")).await?;
    let vault = Vault::load(&folder.path().join("master.key"), true)?;
    let backup =
        BackupSettings { nightly: false, folder: "/simulated".into(), ..BackupSettings::default() };
    let settings = EngineSettings {
        domain: "claws.test".into(),
        port_suffix: String::new(),
        // Real boots are limited because they take CPU; these take none.
        instances: InstanceSettings { boots: sizes.instances, ..InstanceSettings::default() },
        quota: startclaw_model::Quota::default(),
        backup: backup.clone(),
        timing: Timing::default(),
    };
    let host = SimulatedHost::new(u32::try_from(sizes.instances)?, BOOT);
    let engine =
        Engine::start(store.clone(), vault, Dependencies::simulated(host), settings).await?;
    let accounts = Accounts::new(store, engine.clone(), AccountSettings::default(), SITE)
        .map_err(anyhow::Error::msg)?;
    let cookie = people(&engine, &accounts, sizes.instances).await?;

    let stop = CancellationToken::new();
    let settings = Settings {
        domain: "claws.test".into(),
        site: SITE.into(),
        backup,
        reach: Reach::default(),
        stop: stop.clone(),
    };
    let router = startclaw_portal::router(engine.clone(), accounts, settings);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let ended = stop.clone().cancelled_owned();
    let serving =
        tokio::spawn(axum::serve(listener, router).with_graceful_shutdown(ended).into_future());
    let made = ask(address, &cookie, sizes.requests).await;
    stop.cancel();
    engine.shutdown().await;
    // It was stopped on purpose.
    let _ = serving.await;
    made
}

/// Creates accounts with one instance each; returns the session cookie of one of them, an admin.
async fn people(engine: &Engine, accounts: &Accounts, count: usize) -> anyhow::Result<String> {
    let system = Actor::system();
    stream::iter((0..count).map(anyhow::Ok))
        .try_for_each_concurrent(ASKERS, async |number| {
            let name = crowd::name(number);
            let email = Email::parse(&format!("{name}@example.com"))?;
            let (account, _) = accounts.create(&system, email, number == count / 2).await?;
            let request = ProvisionRequest {
                name: Name::parse(&name)?,
                owner: Owner::parse(account.email.as_str())?,
                account: Some(account.id),
                provider: None,
                api_key: None,
                telegram_bot_token: None,
                telegram_access: startclaw_model::TelegramAccess::Pairing,
                version: None,
                limits: None,
            };
            engine.provision(&system, request, None).await?;
            Ok(())
        })
        .await?;
    crowd::daemon::all_live(engine, count).await;
    let email = Email::parse(&format!("{}@example.com", crowd::name(count / 2)))?;
    let admin = accounts.find(&email).await?;
    let link = accounts.password_link(&system, &admin).await?;
    let token = link.url.expose().rsplit('/').next().context("a link without an end")?.to_owned();
    let origin = Origin { address: "127.0.0.1".parse()?, device: "bench".into() };
    let password = Secret::new("four words in a row");
    let session = accounts.set_password_by_link(&token, &password, &origin).await?;
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
