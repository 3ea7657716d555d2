//! Requirements of every page.

use end_to_end::{browser, person::PASSWORD};
use serde_json::{Value, json};

use crate::{
    HEAVY,
    town::{ADMIN, Ids, OWNER, Town},
};

pub async fn every_page_is_accessible_light_and_steady_and_within_its_policy(town: &Town) {
    let Ids { operation, account, snapshot, .. } = &town.ids;
    let reset = town.admin.post(&format!("/admin/accounts/{account}/reset-link"), &[]).await;
    let reset = reset.text().await.unwrap();
    let token = reset.split("/reset/").nth(1).unwrap().split(['<', '"']).next().unwrap();
    let invite = town.admin.post("/admin/invites", &[("email", ""), ("days", "7")]).await;
    let invite = invite.text().await.unwrap();
    let invite = invite.split("/invite/").nth(1).unwrap().split(['<', '"']).next().unwrap();
    let restore = format!("/instances/alice/restore/{snapshot}");
    let operation = format!("/operations/{operation}");
    let account = format!("/admin/accounts/{account}");
    let (invite, reset) = (format!("/invite/{invite}"), format!("/reset/{token}"));
    let parameters = json!({ "site": town.platform.site(), "password": PASSWORD, "people": [
        { "pages": ["/", "/sign-in", "/sign-up", "/reset", invite, reset, "/reset/none", "/nowhere", "/"] },
        { "email": OWNER, "pages": [
            "/instances", "/account", "/account, refused", "/account/delete", "/new", operation, restore,
            "/instances/alice", "/instances/alice/logs", "/instances/alice/logs, lines came", "/instances/alice/telegram", "/instances/alice/remove",
        ] },
        { "email": "guest@example.com", "pages": [
            "/instances", "/new", "/new, name answered", "/new, step 2", "/new, step 3", "/new, token answered",
        ] },
        { "email": ADMIN, "pages": [
            "/admin", "/admin/machine", "/admin/operations", "/admin/accounts", account,
            "/admin/invites", "/admin/alerts", "/instances/alice",
        ] },
    ] });
    // As if its gateway had logged it.
    let log = async |ask: Value| {
        let print = format!("echo '{}' >/proc/1/fd/1", ask["log"].as_str().unwrap());
        let alice = town.platform.container("alice");
        json!(town.platform.docker(&["exec", &alice, "sh", "-c", &print]))
    };
    let seen = browser::run_with(&town.platform, "portal-pages", parameters, log).await;
    let pages = seen.as_array().unwrap();
    let faulty: Vec<_> = pages.iter().filter(|p| p["faults"] != json!([])).collect();
    assert!(faulty.is_empty(), "{faulty:#?}");
    for page in pages {
        println!("{}: {} bytes, painted after {} ms", page["page"], page["weight"], page["paint"]);
        assert!(page["weight"].as_u64() < Some(HEAVY), "{page}");
    }
}
