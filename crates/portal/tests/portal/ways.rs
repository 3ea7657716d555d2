//! User journeys.

use startclaw_accounts::SignUp;
use startclaw_model::{Actor, Email, InstanceState, Name};

use crate::test_platform::{PASSWORD, TestPlatform, until};

#[tokio::test]
async fn somebody_signs_up_and_sees_their_openclaw_come_alive() {
    let platform = TestPlatform::new().await;
    let alice = platform.browser();
    alice.get("/").await.has("/sign-up");
    alice.get("/sign-up").await.has("name=\"password\"");
    let form = [("email", "Alice@Example.com"), ("password", PASSWORD)];
    assert_eq!(alice.post("/sign-up", &form).await.location(), "/new");

    alice.get("/new").await.has("action=\"/new\"");
    alice.get("/new/name?name=alice").await.has("alice.claws.example is free");
    alice.get("/new/name?name=Al_ice").await.has("bad");
    let wanted = [
        ("name", "alice"),
        ("provider", "anthropic"),
        ("model", ""),
        ("base_url", ""),
        ("key", "sk-canary-1"),
        ("telegram", ""),
    ];
    let asked = alice.post("/new", &wanted).await;
    assert_eq!(asked.status, 303, "{asked:?}");
    let operation = asked.location().to_owned();
    alice.get(&operation).await.has("Creating alice");
    let events = alice.get(&format!("{operation}/events")).await;
    assert_eq!(events.header("content-type"), "text/event-stream");
    events.has("event: progress");
    events.has("event: end");
    events.has("Open your OpenClaw");

    let page = alice.get("/instances/alice").await;
    page.has("Live");
    page.has("alice@example.com".split('@').next().unwrap());
    let into = alice.post("/instances/alice/open", &[]).await;
    let start = "https://alice.claws.example:8443/.startclaw/enter?ticket=";
    assert!(into.location().starts_with(start), "{into:?}");
    alice.get("/instances").await.has("alice.claws.example");
}

#[tokio::test]
async fn a_key_is_replaced_and_never_shown() {
    let platform = TestPlatform::new().await;
    let alice = platform.person("alice@example.com").await;
    let wanted = [("name", "alice"), ("provider", "openai"), ("key", "sk-canary-1")];
    assert_eq!(alice.post("/new", &wanted).await.status, 303);
    platform.live("alice").await;
    let form = [("secret", "MODEL_API_KEY"), ("value", " sk-canary-2 ")];
    let changed = alice.post("/instances/alice/secrets", &form).await;
    assert!(changed.location().starts_with("/operations/"), "{changed:?}");
    let refused = alice
        .post(
            "/instances/alice/secrets",
            &[("secret", "TELEGRAM_BOT_TOKEN"), ("value", "sk-canary-3")],
        )
        .await;
    assert_eq!(refused.status, 422);
    refused.has("BotFather");
    for path in ["/instances/alice", "/instances", "/account", changed.location()] {
        let page = alice.get(path).await;
        assert!(!page.text.contains("canary"), "{path}");
    }
    assert!(!refused.text.contains("canary"));
}

#[tokio::test]
async fn somebody_restarts_backs_up_restores_and_removes() {
    let platform = TestPlatform::new().await;
    let alice = platform.person("alice@example.com").await;
    alice.post("/new", &[("name", "alice"), ("provider", "none")]).await;
    platform.live("alice").await;
    for verb in ["restart", "backup"] {
        let asked = alice.post(&format!("/instances/alice/{verb}"), &[]).await;
        let events = alice.get(&format!("{}/events", asked.location())).await;
        events.has("Done");
    }
    let name = Name::parse("alice").unwrap();
    let snapshot = platform.engine.backups(&name).await.unwrap().remove(0);
    let restore = format!("/instances/alice/restore/{}", snapshot.id);
    alice.get("/instances/alice").await.has(&restore);
    alice.get(&restore).await.has("What this does");
    let asked = alice.post(&restore, &[]).await;
    alice.get(&format!("{}/events", asked.location())).await.has("alice is live");
    alice.get("/instances/alice").await.has("action=\"/instances/alice/undo\"");

    let kept = alice.post("/instances/alice/remove", &[("name", "alicia")]).await;
    assert_eq!(kept.status, 422);
    kept.has("Type alice to confirm");
    let asked = alice.post("/instances/alice/remove", &[("name", "alice")]).await;
    let events = alice.get(&format!("{}/events", asked.location())).await;
    events.has("Done");
    assert_eq!(alice.get("/instances/alice").await.status, 404);
    alice.get(asked.location()).await.has("Removing alice");
}

#[tokio::test]
async fn an_account_has_what_its_quota_allows_and_no_more() {
    let platform = TestPlatform::new().await;
    let alice = platform.person("alice@example.com").await;
    for name in ["one", "two"] {
        assert_eq!(alice.post("/new", &[("name", name)]).await.status, 303);
    }
    alice.get("/new").await.has("as many instances as your account allows");
    let refused = alice.post("/new", &[("name", "three")]).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(platform.engine.status(&Name::parse("three").unwrap()).await.is_err());
    alice.get("/instances").await.has("2 of 2");
}

#[tokio::test]
async fn an_invitation_lets_one_person_in() {
    let platform = TestPlatform::with(SignUp::Invite).await;
    let nobody = platform.browser();
    nobody.get("/sign-up").await.has("You need an invitation");
    let form = [("email", "eve@example.com"), ("password", PASSWORD)];
    assert_eq!(nobody.post("/sign-up", &form).await.status, 403);

    let life = std::time::Duration::from_secs(60);
    let only = Email::parse("bob@example.com").unwrap();
    let admin = Actor::token("of-an-admin");
    let link = platform.accounts.invite(&admin, Some(only), life).await.unwrap();
    let path = link.url.expose().trim_start_matches(crate::test_platform::SITE).to_owned();
    let token = path.trim_start_matches("/invite/");
    let bob = platform.browser();
    bob.get(&path).await.has("bob@example.com");
    let other = [("email", "eve@example.com"), ("password", PASSWORD), ("invite", token)];
    assert_eq!(bob.post("/sign-up", &other).await.status, 422);
    let own = [("email", "bob@example.com"), ("password", PASSWORD), ("invite", token)];
    assert_eq!(bob.post("/sign-up", &own).await.location(), "/new");
    nobody.get(&path).await.has("You need an invitation");
}

#[tokio::test]
async fn a_password_is_changed_and_other_devices_are_out() {
    let platform = TestPlatform::new().await;
    let desk = platform.person("alice@example.com").await;
    let phone = platform.browser();
    let form = [("email", "alice@example.com"), ("password", PASSWORD)];
    assert_eq!(phone.post("/sign-in", &form).await.location(), "/instances");
    let wrong = [("current", "not my password"), ("password", "another long one")];
    let refused = desk.post("/account/password", &wrong).await;
    assert_eq!(refused.status, 422);
    refused.has("not your password");
    let right = [("current", PASSWORD), ("password", "another long one")];
    assert_eq!(desk.post("/account/password", &right).await.location(), "/account?done=password");
    assert_eq!(phone.get("/instances").await.location(), "/sign-in");
    assert_eq!(desk.get("/instances").await.status, 200);
    assert_eq!(phone.post("/sign-in", &form).await.status, 401);
}

#[tokio::test]
async fn devices_are_listed_and_ended_one_by_one() {
    let platform = TestPlatform::new().await;
    let desk = platform.person("alice@example.com").await;
    let phone = platform.browser();
    phone.post("/sign-in", &[("email", "alice@example.com"), ("password", PASSWORD)]).await;
    desk.get("/account").await.has("Firefox on Linux");
    let account = platform.account("alice@example.com").await;
    let sessions = platform.accounts.sessions(&account.id).await.unwrap();
    assert_eq!(sessions.len(), 2);
    assert_eq!(desk.post("/account/sessions/end-others", &[]).await.status, 303);
    assert_eq!(phone.get("/instances").await.location(), "/sign-in");
    assert_eq!(desk.get("/account").await.status, 200);
}

#[tokio::test]
async fn signing_out_of_the_pages_is_signing_out_of_the_instances_too() {
    let platform = TestPlatform::new().await;
    let alice = platform.person("alice@example.com").await;
    alice.post("/new", &[("name", "alice")]).await;
    platform.live("alice").await;
    let into = alice.post("/instances/alice/open", &[]).await;
    let ticket = into.location().rsplit('=').next().unwrap().to_owned();
    let name = Name::parse("alice").unwrap();
    let id = platform.engine.status(&name).await.unwrap().id;
    let (cookie, _) = platform.engine.sign_in(&id, &name, &ticket).await.unwrap().unwrap();
    assert!(platform.engine.session(&id, cookie.expose()).await.unwrap().is_some());
    let out = alice.post("/sign-out", &[]).await;
    assert_eq!(out.location(), "/");
    assert!(platform.engine.session(&id, cookie.expose()).await.unwrap().is_none());
    assert_eq!(alice.get("/instances").await.location(), "/sign-in");
}

#[tokio::test]
async fn a_deleted_account_takes_its_instances_along() {
    let platform = TestPlatform::new().await;
    let alice = platform.person("alice@example.com").await;
    alice.post("/new", &[("name", "alice")]).await;
    platform.live("alice").await;
    let page = alice.get("/account/delete").await;
    page.has("alice");
    page.has("30 days");
    assert_eq!(alice.post("/account/delete", &[("password", "wrong")]).await.status, 422);
    alice.post("/account/delete", &[("password", PASSWORD)]).await.has("Your account is deleted");
    assert_eq!(alice.get("/instances").await.location(), "/sign-in");
    let email = Email::parse("alice@example.com").unwrap();
    until("account and instance are gone", async || {
        platform.accounts.find(&email).await.is_err()
            && platform.engine.status(&Name::parse("alice").unwrap()).await.is_err()
    })
    .await;
}

#[tokio::test]
async fn an_admin_looks_after_everybody() {
    let platform = TestPlatform::new().await;
    let alice = platform.person("alice@example.com").await;
    alice.post("/new", &[("name", "alice")]).await;
    platform.live("alice").await;
    let admin = platform.admin().await;
    admin.get("/admin?q=ALI&sort=owner&order=desc").await.has("1 instance");
    admin.get("/admin?q=nobody").await.has("Nothing found");
    admin.get("/admin/accounts?q=ALI").await.has("1 account matches");
    admin.get("/instances/alice").await.has("This instance belongs to alice@example.com");
    for path in ["/admin/machine", "/admin/operations", "/admin/accounts", "/admin/alerts"] {
        assert_eq!(admin.get(path).await.status, 200, "{path}");
    }
    let account = platform.account("alice@example.com").await;
    let page = format!("/admin/accounts/{}", account.id);
    admin.get(&page).await.has("alice@example.com");
    let quota = [("instances", "7"), ("memory", "9000"), ("disk", "3")];
    assert_eq!(admin.post(&format!("{page}/quota"), &quota).await.status, 303);
    assert_eq!(platform.account("alice@example.com").await.quota.unwrap().instances, 7);
    let bad = [("instances", "many"), ("memory", "1"), ("disk", "1")];
    assert_eq!(admin.post(&format!("{page}/quota"), &bad).await.status, 422);

    assert_eq!(admin.post(&format!("{page}/suspend"), &[]).await.status, 303);
    assert_eq!(alice.get("/instances").await.location(), "/sign-in");
    let form = [("email", "alice@example.com"), ("password", PASSWORD)];
    alice.post("/sign-in", &form).await.has("suspended");
    let still = platform.engine.status(&Name::parse("alice").unwrap()).await.unwrap();
    assert_eq!(still.state, InstanceState::Live, "its instances keep running");
    admin.post(&format!("{page}/unsuspend"), &[]).await;
    assert_eq!(alice.post("/sign-in", &form).await.location(), "/instances");

    let made = admin.post(&format!("{page}/reset-link"), &[]).await;
    let token = made.text.split("/reset/").nth(1).unwrap()[..43].to_owned();
    let elsewhere = platform.browser();
    let new = [("password", "a quite new password")];
    assert_eq!(elsewhere.post(&format!("/reset/{token}"), &new).await.location(), "/instances");
    assert_eq!(elsewhere.get(&format!("/reset/{token}")).await.status, 404);

    let me = platform.account("root@example.com").await;
    let own = format!("/admin/accounts/{}/unmake-admin", me.id);
    assert_eq!(admin.post(&own, &[]).await.status, 404, "an admin does not lock itself out");
}

#[tokio::test]
async fn an_operation_of_a_removed_instance_is_not_about_a_later_one_with_its_name() {
    let platform = TestPlatform::new().await;
    let alice = platform.person("alice@example.com").await;
    alice.post("/new", &[("name", "claw")]).await;
    platform.live("claw").await;
    let removal = alice.post("/instances/claw/remove", &[("name", "claw")]).await;
    let removal = removal.location().to_owned();
    alice.get(&format!("{removal}/events")).await.has("Done");
    let bob = platform.person("bob@example.com").await;
    assert_eq!(bob.post("/new", &[("name", "claw")]).await.status, 303);
    platform.live("claw").await;
    let page = alice.get(&removal).await;
    page.has("Removing claw");
    assert!(!page.text.contains("href=\"/instances/claw\""), "it is bob's");
}
