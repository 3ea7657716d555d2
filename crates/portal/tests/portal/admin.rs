//! What admins see: people instead of ids, and quotas.

use std::time::Duration;

use startclaw_model::{Actor, Quota, Scope, Scopes};
use startclaw_simulated::Behaviour;

use crate::test_platform::TestPlatform;

#[tokio::test]
async fn an_admin_sees_people_and_programs_and_no_ids() {
    let platform = TestPlatform::new().await;
    let admin = platform.admin().await;
    let alice = platform.person("alice@example.com").await;
    platform.host.state().next_behaviour = Behaviour::Hangs;
    alice.post("/new", &[("name", "alice")]).await;
    platform.provision("ops", "ops@example.com").await;
    let operations = admin.get("/admin/operations").await;
    operations.has("<td>alice@example.com</td>");
    operations.has("<td>the operator on the server</td>");

    let scopes = Scopes::new(vec![Scope::Admin], None).unwrap();
    let token = platform.engine.create_token(&Actor::socket(0), "billing", scopes, None).await;
    let token = Actor::token(&token.unwrap().stored.id);
    let day = Duration::from_secs(86_400);
    for actor in [Actor::socket(0), token, Actor::token("revoked")] {
        platform.accounts.invite(&actor, None, day).await.unwrap();
    }
    admin.post("/admin/invites", &[("email", ""), ("days", "7")]).await;
    let invites = admin.get("/admin/invites").await;
    for name in
        ["the operator on the server", "token billing", "a deleted token", "root@example.com"]
    {
        invites.has(&format!("<td>{name}</td>"));
    }
    for page in [&operations, &invites] {
        for id in ["account:", "socket:", "token:"] {
            assert!(!page.text.contains(id), "{id}");
        }
    }
}

#[tokio::test]
async fn an_empty_field_of_a_quota_takes_its_default_and_the_present_values_are_shown() {
    let platform = TestPlatform::new().await;
    let admin = platform.admin().await;
    platform.person("alice@example.com").await;
    let account = platform.account("alice@example.com").await;
    let page = format!("/admin/accounts/{}", account.id);
    let form = format!("{page}/quota");
    let quota = async || platform.account("alice@example.com").await.quota;
    let shown = async |values: [&str; 3]| {
        let page = admin.get(&page).await;
        for (name, value) in ["instances", "memory", "disk"].into_iter().zip(values) {
            page.has(&format!("name=\"{name}\" inputmode=\"numeric\" value=\"{value}\""));
        }
    };
    shown(["2", "4096", "1"]).await;
    let sent = [("instances", "7"), ("memory", ""), ("disk", " ")];
    assert_eq!(admin.post(&form, &sent).await.status, 303);
    let own = Quota { instances: 7, memory_mib: 4096, disk_mib: 1024 };
    assert_eq!(quota().await, Some(own));
    shown(["7", "4096", "1"]).await;
    let wrong = admin.post(&form, &[("instances", ""), ("memory", "much"), ("disk", "")]).await;
    assert_eq!(wrong.status, 422);
    wrong.has("value=\"much\"");
    assert_eq!(quota().await, Some(own));
    // The default itself is not stored, so that it follows the setting.
    for sent in [["", "", ""], ["2", "4096", "1"]] {
        let fields = [("instances", sent[0]), ("memory", sent[1]), ("disk", sent[2])];
        assert_eq!(admin.post(&form, &fields).await.status, 303);
        assert_eq!(quota().await, None);
        admin.post(&form, &[("instances", "7")]).await;
    }
    // One that is no whole number of GB is not rounded when another field is changed.
    let odd = Quota { instances: 7, memory_mib: 4096, disk_mib: 3000 };
    platform.accounts.set_quota(&Actor::system(), account, Some(odd)).await.unwrap();
    admin.post(&form, &[("instances", "8"), ("memory", "4096"), ("disk", "2")]).await;
    assert_eq!(quota().await, Some(Quota { instances: 8, ..odd }));
}
