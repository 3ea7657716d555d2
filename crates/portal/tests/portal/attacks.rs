//! Attacks, from a sibling subdomain and from unauthenticated clients.

use crate::test_platform::{PASSWORD, SITE, TestPlatform};

#[tokio::test]
async fn no_other_origin_changes_anything() {
    let platform = TestPlatform::new().await;
    let alice = platform.person("alice@example.com").await;
    alice.post("/new", &[("name", "alice")]).await;
    platform.live("alice").await;
    let sibling = "https://mallory.claws.example:8443";
    for headers in [
        &[("origin", sibling), ("sec-fetch-site", "same-site")][..],
        &[("origin", "null"), ("sec-fetch-site", "cross-site")],
        &[("origin", SITE), ("sec-fetch-site", "same-site")],
        &[("origin", "https://claws.example")],
        &[("origin", "http://claws.example:8443")],
        &[("origin", "https://claws.example:8443.evil.example")],
        &[("sec-fetch-site", "same-origin")],
        &[],
    ] {
        for path in [
            "/instances/alice/restart",
            "/instances/alice/remove",
            "/account/sessions/end-others",
            "/sign-out",
            "/sign-in",
            "/sign-up",
        ] {
            let answer = alice.post_with(path, &[("name", "alice")], headers).await;
            assert_eq!(answer.status, 403, "{path} {headers:?}");
        }
    }
    assert_eq!(alice.get("/instances").await.status, 200, "no session was ended");
    assert_eq!(platform.engine.operations(None, 100).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_session_that_was_planted_is_worth_nothing() {
    let platform = TestPlatform::new().await;
    platform.person("alice@example.com").await;
    let victim = platform.browser();
    let planted = "A".repeat(43);
    victim.set_cookie("__Host-startclaw", &planted);
    let form = [("email", "alice@example.com"), ("password", PASSWORD)];
    assert_eq!(victim.post("/sign-in", &form).await.location(), "/instances");
    assert_ne!(victim.cookie("__Host-startclaw").unwrap(), planted);
    let attacker = platform.browser();
    attacker.set_cookie("__Host-startclaw", &planted);
    assert_eq!(attacker.get("/instances").await.location(), "/sign-in");
}

#[tokio::test]
async fn the_cookie_is_for_this_host_only_and_no_script_reads_it() {
    let platform = TestPlatform::new().await;
    let browser = platform.browser();
    let form = [("email", "alice@example.com"), ("password", PASSWORD)];
    let made = browser.post("/sign-up", &form).await;
    let set: Vec<_> = made.headers.get_all("set-cookie").iter().collect();
    assert!(!set.is_empty());
    for cookie in set {
        let text = cookie.to_str().unwrap();
        for part in ["__Host-", "; Path=/", "; Secure", "; HttpOnly", "; SameSite="] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.to_lowercase().contains("domain="), "{text}");
    }
}

#[tokio::test]
async fn signing_in_leads_to_our_own_pages_only() {
    let platform = TestPlatform::new().await;
    platform.person("alice@example.com").await;
    for next in ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
    {
        let browser = platform.browser();
        let form = [("email", "alice@example.com"), ("password", PASSWORD), ("next", next)];
        assert_eq!(browser.post("/sign-in", &form).await.location(), "/instances", "{next}");
    }
}

/// Without mail, an address is never confirmed, and a user can sign up with another person's
/// address.
#[tokio::test]
async fn an_address_that_nobody_confirmed_gets_nothing_that_is_made_for_it() {
    let platform = TestPlatform::new().await;
    let squatter = platform.person("alice@example.com").await;
    platform.provision("alice", "alice@example.com").await;
    platform.live("alice").await;
    assert_eq!(squatter.get("/instances/alice").await.status, 404);
    assert_eq!(squatter.post("/instances/alice/open", &[]).await.status, 404);
}

#[tokio::test]
async fn nobody_learns_who_has_an_account() {
    let platform = TestPlatform::new().await;
    platform.person("alice@example.com").await;
    let known = platform.browser();
    let ask = async |path: &str, email: &str| {
        let form = [("email", email), ("password", "not the password")];
        let answer = known.post(path, &form).await;
        (answer.status, answer.text.replace(email, "X"))
    };
    for path in ["/sign-in", "/reset"] {
        let there = ask(path, "alice@example.com").await;
        let not_there = ask(path, "nobody@example.com").await;
        assert_eq!(there, not_there, "{path}");
    }
}

#[tokio::test]
async fn guesses_slow_strangers_and_not_the_owner() {
    let platform = TestPlatform::new().await;
    let owner = platform.person("alice@example.com").await;
    owner.post("/sign-out", &[]).await;
    let stranger = platform.browser();
    let guess = [("email", "alice@example.com"), ("password", "a wrong guess")];
    let mut slowed = None;
    for attempt in 0..30 {
        let answer = stranger.post("/sign-in", &guess).await;
        if answer.status == 429 {
            assert!(!answer.header("retry-after").is_empty() || answer.text.contains("seconds"));
            slowed = Some(attempt);
            break;
        }
        assert_eq!(answer.status, 401);
    }
    assert!(slowed.is_some_and(|n| n <= 20), "{slowed:?}");
    let right = [("email", "alice@example.com"), ("password", PASSWORD)];
    assert_eq!(stranger.post("/sign-in", &right).await.status, 429, "even with the right password");
    assert_eq!(owner.post("/sign-in", &right).await.location(), "/instances");
}
