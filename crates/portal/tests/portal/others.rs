//! Access control at every address: as another account, as a signed-out client, and for the admin
//! pages as an account without admin rights.

use startclaw_model::Name;

use crate::test_platform::{Browser, Page, TestPlatform};

/// Every address about an instance, an operation or an account, with its method.
struct Everything {
    instance: Vec<(&'static str, String)>,
    personal: Vec<(&'static str, String)>,
    admin: Vec<(&'static str, String)>,
}

async fn everything(platform: &TestPlatform, alice: &Browser<'_>) -> Everything {
    alice.post("/new", &[("name", "alice"), ("provider", "openai"), ("key", "sk-canary")]).await;
    platform.live("alice").await;
    let backup = alice.post("/instances/alice/backup", &[]).await.location().to_owned();
    alice.get(&format!("{backup}/events")).await;
    let name = Name::parse("alice").unwrap();
    let snapshot = platform.engine.backups(&name).await.unwrap().remove(0).id;
    let account = platform.account("alice@example.com").await.id;
    let session = platform.accounts.sessions(&account).await.unwrap().remove(0).id;
    let own = |method, rest: &str| (method, format!("/instances/alice{rest}"));
    let plain = |method, path: &str| (method, path.to_owned());
    Everything {
        instance: vec![
            own("GET", ""),
            own("GET", "/state"),
            own("GET", "/charts"),
            own("POST", "/open"),
            own("POST", "/restart"),
            own("POST", "/backup"),
            own("POST", "/undo"),
            own("POST", "/secrets"),
            own("GET", "/telegram"),
            own("POST", "/telegram/approve"),
            own("POST", "/telegram/close"),
            own("GET", "/logs"),
            own("GET", "/logs/stream"),
            own("GET", &format!("/restore/{snapshot}")),
            own("POST", &format!("/restore/{snapshot}")),
            own("GET", "/remove"),
            own("POST", "/remove"),
            ("GET", backup.clone()),
            ("GET", format!("{backup}/events")),
            ("POST", format!("/account/sessions/{session}/end")),
            plain("POST", "/account/passkeys/AAAA/remove"),
        ],
        personal: vec![
            plain("POST", "/sign-out"),
            plain("GET", "/instances"),
            plain("GET", "/new"),
            plain("POST", "/new"),
            plain("GET", "/new/name"),
            plain("POST", "/new/key"),
            plain("POST", "/new/telegram"),
            plain("GET", "/account"),
            plain("POST", "/account/confirm"),
            plain("POST", "/account/password"),
            plain("POST", "/account/passkeys/begin"),
            plain("POST", "/account/passkeys/finish"),
            plain("POST", "/account/sessions/end-others"),
            plain("GET", "/account/delete"),
            plain("POST", "/account/delete"),
        ],
        admin: vec![
            plain("GET", "/admin"),
            plain("GET", "/admin/machine"),
            plain("GET", "/admin/operations"),
            plain("GET", "/admin/accounts"),
            ("GET", format!("/admin/accounts/{account}")),
            ("POST", format!("/admin/accounts/{account}/suspend")),
            ("POST", format!("/admin/accounts/{account}/make-admin")),
            ("POST", format!("/admin/accounts/{account}/reset-link")),
            ("POST", format!("/admin/accounts/{account}/quota")),
            plain("GET", "/admin/invites"),
            plain("POST", "/admin/invites"),
            plain("POST", "/admin/invites/x/revoke"),
            plain("GET", "/admin/alerts"),
        ],
    }
}

async fn ask(browser: &Browser<'_>, method: &str, path: &str) -> Page {
    match method {
        "GET" => browser.get(path).await,
        _ => {
            let form = [
                ("name", "alice"),
                ("secret", "MODEL_API_KEY"),
                ("value", "sk-stolen"),
                ("email", "x@example.com"),
                ("days", "7"),
            ];
            browser.post(path, &form).await
        }
    }
}

#[tokio::test]
async fn another_account_finds_nothing_at_any_address_and_changes_nothing() {
    let platform = TestPlatform::new().await;
    let alice = platform.person("alice@example.com").await;
    let all = everything(&platform, &alice).await;
    let bob = platform.person("bob@example.com").await;
    let before = state(&platform).await;
    for (method, path) in &all.instance {
        let answer = ask(&bob, method, path).await;
        assert_eq!(answer.status, 404, "{method} {path}");
        assert!(!answer.text.contains("alice@"), "{method} {path}");
    }
    for (method, path) in &all.admin {
        assert_eq!(ask(&bob, method, path).await.status, 403, "{method} {path}");
    }
    assert_eq!(state(&platform).await, before);
    assert_eq!(alice.get("/account").await.status, 200, "alice is still signed in");
}

#[tokio::test]
async fn a_stranger_is_asked_to_sign_in_at_every_address() {
    let platform = TestPlatform::new().await;
    let alice = platform.person("alice@example.com").await;
    let all = everything(&platform, &alice).await;
    let before = state(&platform).await;
    let stranger = platform.browser();
    for (method, path) in all.instance.iter().chain(&all.personal).chain(&all.admin) {
        let answer = ask(&stranger, method, path).await;
        // JSON endpoints check the body before the session.
        let json = path.contains("passkeys/") && !path.ends_with("remove");
        let asked = answer.location().starts_with("/sign-in") || (json && answer.status == 400);
        assert!(asked, "{method} {path}: {answer:?}");
    }
    assert_eq!(state(&platform).await, before);
    let wanted = stranger.get("/instances/alice").await;
    assert_eq!(wanted.location(), "/sign-in?next=/instances/alice");
}

/// The state that a request could have changed.
async fn state(platform: &TestPlatform) -> (String, usize, usize) {
    let name = Name::parse("alice").unwrap();
    let status = platform.engine.status(&name).await.unwrap();
    let operations = platform.engine.operations(None, 100).await.unwrap().len();
    let accounts = platform.accounts.all().await.unwrap();
    let admins = accounts.iter().filter(|a| a.account.admin).count();
    (format!("{:?} {:?}", status.id, status.account), operations, admins)
}
