//! The portal in a real browser: the journeys of a user and of an admin, and attacks by an attacker
//! with an account and a subdomain.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod attacks;
mod pages;
mod people;
mod pictures;
mod strangers;
mod town;
mod user;

use std::time::Instant;

use crate::town::Town;

const MODEL_KEY: &str = "sk-canary-5d6e7f";
const BOT_TOKEN: &str = "777777:AAE-canary-1c2d3e";
/// Maximum bytes of scripts and styles per page.
const HEAVY: u64 = 60_000;

/// Settings with open sign-up.
const OPEN: &str = "[accounts]\nsign_up = \"open\"\n\n";

/// One platform for all of it: starting two instances takes a minute.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn everybody_finds_what_is_theirs_and_nobody_gets_at_what_is_not() {
    let mut town = Town::start(15).await;
    let clock = Instant::now();
    let lap = |what: &str| println!("{what}: after {:.1} s", clock.elapsed().as_secs_f64());
    people::an_admin_sees_all_and_looks_after_people(&town).await;
    lap("the admin");
    town.find_ids().await;
    lap("live and backed up");
    people::a_passkey_opens_the_account_until_it_is_removed(&town).await;
    lap("passkeys and what is not theirs");
    attacks::a_session_cannot_be_planted_and_ends_when_it_is_replaced(&town).await;
    attacks::one_is_sent_to_pages_of_ours_only(&town).await;
    attacks::a_ticket_works_once_at_its_own_instance_and_while_its_session_lasts(&town).await;
    attacks::a_tenants_pages_get_nothing_and_change_nothing(&town).await;
    lap("attacks");
    pages::every_page_is_accessible_light_and_steady_and_within_its_policy(&town).await;
    lap("pages");
}
