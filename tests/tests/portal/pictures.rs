//! The screenshots of the README.

use end_to_end::{Person, Platform, browser, fake, person::PASSWORD};
use serde_json::json;

use crate::{BOT_TOKEN, MODEL_KEY, OPEN, town::ADMIN};

/// Takes the screenshots of the README; run by `script/screenshots`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes pictures: script/screenshots"]
async fn pictures_of_the_main_pages() {
    let folder = std::env::var_os("STARTCLAW_SCREENSHOTS").expect("script/screenshots sets it");
    let model = fake::model::Model::start(MODEL_KEY).await;
    let telegram = fake::telegram::Telegram::start(BOT_TOKEN).await;
    let extra = format!("{OPEN}[instances]\ntelegram_api = \"{}\"\n", telegram.api_root());
    let platform = Platform::start(17, &[model.address(), telegram.address()], &extra).await;
    Person::admin(&platform, ADMIN).await;
    for name in ["bob", "carol"] {
        Person::sign_up(&platform, &format!("{name}@example.com")).await.make(name).await;
        platform.becomes(name, "live").await;
    }
    let parameters = json!({
        "site": platform.site(), "admin": ADMIN, "email": "alice@example.com", "password": PASSWORD,
        "baseUrl": model.base_url(), "key": MODEL_KEY, "token": BOT_TOKEN,
        "folder": std::path::Path::new(&folder),
    });
    browser::run(&platform, "portal-pictures", parameters).await;
}
