//! Headers and rules of every page.

use crate::test_platform::TestPlatform;

#[tokio::test]
async fn every_page_forbids_what_it_does_not_need() {
    let platform = TestPlatform::new().await;
    let admin = platform.admin().await;
    admin.post("/new", &[("name", "alice")]).await;
    platform.live("alice").await;
    let paths = [
        "/instances",
        "/new",
        "/instances/alice",
        "/instances/alice/logs",
        "/instances/alice/remove",
        "/account",
        "/account/delete",
        "/admin",
        "/admin/machine",
        "/admin/operations",
        "/admin/accounts",
        "/admin/invites",
        "/admin/alerts",
        "/nothing/here",
        "/reset",
    ];
    for path in paths {
        let page = admin.get(path).await;
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{path}");
        let to = "form-action 'self' https://*.claws.example:8443";
        assert!(policy.ends_with(to), "{path}: {policy}");
        assert_eq!(page.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(page.header("cache-control"), "no-store", "{path}");
        assert_eq!(page.header("referrer-policy"), "same-origin", "{path}");
        for inline in ["<style", " style=\"", " onclick=", "<script>"] {
            assert!(!page.text.contains(inline), "{inline} in {path}");
        }
        assert_eq!(page.text.matches("<h1").count(), 1, "{path}");
    }
}

#[tokio::test]
async fn assets_are_kept_by_browsers_and_change_their_address_with_their_content() {
    let platform = TestPlatform::new().await;
    let browser = platform.browser();
    let page = browser.get("/").await;
    let address = page.text.split("href=\"").find(|t| t.starts_with("/assets/app.css?")).unwrap();
    let address = address.split('"').next().unwrap();
    let asset = browser.get(address).await;
    assert_eq!(asset.status, 200);
    assert!(asset.header("cache-control").contains("immutable"));
    assert!(asset.header("content-type").starts_with("text/css"));
    assert_eq!(browser.get("/assets/nothing.js").await.status, 404);
    assert_eq!(browser.get("/assets/..%2f..%2fetc%2fpasswd").await.status, 404);
}

#[tokio::test]
async fn a_long_list_is_shown_a_part_at_a_time() {
    let platform = TestPlatform::new().await;
    let admin = platform.admin().await;
    for n in 0..250 {
        platform.provision(&format!("claw-{n:04}"), "many@example.com").await;
    }
    let page = admin.get("/admin?sort=name&order=desc&page=2").await;
    page.has("101 to 200 of 250");
    page.has("claw-0149");
    assert!(!page.text.contains("claw-0150"));
    admin.get("/admin?q=claw-0123").await.has("1 instance matches");
}
