//! Attacks by an attacker with an account and a subdomain.

use end_to_end::{
    Person, browser,
    person::{PASSWORD, location, session_of},
};
use reqwest::header;
use serde_json::json;

use crate::town::{OWNER, Town};

pub async fn a_session_cannot_be_planted_and_ends_when_it_is_replaced(town: &Town) {
    let planted = "__Host-startclaw=planted";
    let form = [("email", OWNER), ("password", PASSWORD)];
    let mut lured = Person::nobody(&town.platform);
    lured.cookie = planted.to_owned();
    let answer = lured.post("/sign-in", &form).await;
    let set = answer.headers().get_all(header::SET_COOKIE).iter().map(|c| c.to_str().unwrap());
    for cookie in set {
        let has = |part: &str| cookie.split("; ").any(|p| p == part);
        assert!(has("Secure") && has("HttpOnly") && has("Path=/"), "{cookie}");
        assert!(cookie.starts_with("__Host-") && !cookie.contains("Domain"), "{cookie}");
        assert!(has("SameSite=Lax") || has("SameSite=Strict"), "{cookie}");
    }
    assert_ne!(session_of(&answer).unwrap(), planted);
    let is_in = async |person: &Person| person.get("/account").await.status() == 200;
    assert!(!is_in(&lured).await);

    let first = town.sign_in(OWNER, "").await;
    let second = town.sign_in(OWNER, &first.cookie).await;
    assert!(is_in(&second).await && !is_in(&first).await, "the new session replaces it");
    assert_eq!(second.post("/sign-out", &[]).await.status(), 303);
    assert!(!is_in(&second).await);
}

pub async fn one_is_sent_to_pages_of_ours_only(town: &Town) {
    for evil in [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "/\tevil",
        "/\r\nset-cookie: a=b",
        "@evil.example",
        ".evil.example",
    ] {
        let form = [("email", OWNER), ("password", PASSWORD), ("next", evil)];
        let answer = Person::nobody(&town.platform).post("/sign-in", &form).await;
        assert_eq!(
            (answer.status().as_u16(), &*location(&answer)),
            (303, "/instances"),
            "{evil:?}"
        );
        let query: String = evil.bytes().map(|b| format!("%{b:02x}")).collect();
        let answer = town.owner.get(&format!("/sign-in?next={query}")).await;
        assert_eq!(
            (answer.status().as_u16(), &*location(&answer)),
            (303, "/instances"),
            "{evil:?}"
        );
    }
    let answer = town.owner.get("/sign-in?next=/instances/alice").await;
    assert_eq!(location(&answer), "/instances/alice");
}

pub async fn a_ticket_works_once_at_its_own_instance_and_while_its_session_lasts(town: &Town) {
    let platform = &town.platform;
    let ticket = async |person: &Person| {
        let opened = person.post("/instances/alice/open", &[]).await;
        assert_eq!(opened.status(), 303);
        let to = location(&opened);
        assert!(to.starts_with(&format!("{}/.startclaw/enter?", platform.origin("alice"))), "{to}");
        to.split_once("ticket=").unwrap().1.to_owned()
    };
    let enter = async |name: &str, ticket: &str| {
        let request = platform.client().post(format!("{}/.startclaw/enter", platform.origin(name)));
        let request = request
            .header("origin", platform.origin(name))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("ticket={ticket}"));
        request.send().await.unwrap()
    };
    let one = ticket(&town.owner).await;
    assert_eq!(enter("bob", &one).await.status(), 403, "at another instance");
    let entered = enter("alice", &one).await;
    assert_eq!(entered.status(), 303);
    assert_eq!(enter("alice", &one).await.status(), 403, "twice");
    // A session of an instance is not valid for the portal, nor the reverse.
    let mut inside = Person::nobody(platform);
    inside.cookie = session_of(&entered).unwrap();
    assert_eq!(platform.page("alice", &inside.cookie).await, Some(200));
    assert_eq!(inside.get("/account").await.status(), 303);
    assert_eq!(platform.page("bob", &inside.cookie).await, Some(401));
    assert_eq!(platform.page("alice", &town.owner.cookie).await, Some(401));

    let brief = town.sign_in(OWNER, "").await;
    let late = ticket(&brief).await;
    brief.post("/sign-out", &[]).await;
    assert_eq!(enter("alice", &late).await.status(), 403, "after its session");
}

pub async fn a_tenants_pages_get_nothing_and_change_nothing(town: &Town) {
    let evil = town.platform.origin("bob");
    // The sessions of the browser change, so only other state is compared.
    let run = town.platform.run_of("alice");
    let operations = town.platform.api("GET", "/operations", None).await.1;
    let seen = browser::run(
        &town.platform,
        "portal-attacks",
        json!({ "site": town.platform.site(), "evil": evil, "email": OWNER, "password": PASSWORD }),
    )
    .await;
    assert!(!seen["cookie"].to_string().contains("startclaw"), "{}", seen["cookie"]);
    assert_eq!(seen["read"], "refused");
    assert_eq!((&seen["kept"], &seen["stillIn"]), (&json!(true), &json!("/account")));
    assert_eq!(seen["fixed"], false, "a planted session is not taken");
    assert_eq!(seen["posted"], json!([403, 403, 403]));
    assert_eq!(seen["fetched"], "refused", "not even the response's kind is revealed");
    assert_eq!(seen["afterPosts"], "/account", "no session was ended");
    assert_eq!(seen["framed"], "chrome-error://chromewebdata/");
    assert_eq!(town.platform.run_of("alice"), run);
    assert_eq!(town.platform.api("GET", "/operations", None).await.1, operations);
}
