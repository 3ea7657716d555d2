//! Accounts: an admin manages others, and users have passkeys.

use end_to_end::{browser, person::PASSWORD};
use serde_json::{Value, json};

use crate::{
    access,
    town::{ADMIN, OWNER, Town, USER},
};

pub async fn an_admin_sees_all_and_looks_after_people(town: &Town) {
    let seen = browser::run(
        &town.platform,
        "portal-admin",
        json!({
            "site": town.platform.site(), "admin": ADMIN, "user": USER, "guest": "guest@example.com",
            "password": PASSWORD, "newPassword": PASSWORD.to_uppercase(),
        }),
    )
    .await;
    assert_eq!(seen["all"], json!(["alice", "bob"]));
    assert_eq!(seen["found"], json!(["bob"]));
    assert!(seen["foundAt"].as_str().unwrap().contains("q=bo"), "{}", seen["foundAt"]);
    assert_eq!(seen["sorted"], json!([["bob", "alice"], ["alice", "bob"]]), "by owner");
    assert_eq!(seen["headings"], json!(["Operations", "Machine", "Alerts", "Accounts"]));
    assert_eq!(seen["suspended"], "/sign-in", "a suspended account's session is over");
    assert!(seen["keptOut"].as_str().unwrap().contains("suspended"), "{}", seen["keptOut"]);
    assert_eq!(seen["again"], "/instances");
    assert_eq!(seen["othersOut"], "/sign-in", "a new password ends other sessions");
    assert_eq!(seen["resetTwice"], 404);
    assert_eq!(seen["invitedTwice"], "You need an invitation");
    assert_eq!(seen["shownOnce"], false, "a link is not shown again");
    assert_eq!(seen["faults"], json!([]));
}

pub async fn a_passkey_opens_the_account_until_it_is_removed(town: &Town) {
    let parameters = json!({ "site": town.platform.site(), "email": OWNER, "password": PASSWORD });
    // While the passkey exists, it is another target of attacks.
    let attack = async |ask: Value| {
        let action = ask["attack"].as_str().unwrap();
        let id = action.trim_start_matches("/account/passkeys/").trim_end_matches("/remove");
        let before = town.traces().await;
        assert!(before.iter().any(|a| a == action), "the traces contain the passkey: {before:?}");
        access::every_address_is_shut_to_others(town, id).await;
        assert_eq!(town.traces().await, before, "nothing was changed");
        json!(null)
    };
    let seen = browser::run_with(&town.platform, "portal-passkeys", parameters, attack).await;
    assert_eq!((&seen["first"], &seen["second"]), (&json!("/account"), &json!("/account")));
    assert_eq!(seen["gone"], true);
    assert!(seen["third"].as_str().unwrap().contains("nknown passkey"), "{}", seen["third"]);
}
