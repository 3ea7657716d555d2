//! Access to instances ends with the session, and when the user loses access to the instance.

use startclaw_testkit::*;

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

#[tokio::test]
async fn leaving_the_account_leaves_the_instances_that_were_entered_from_it_at_once() {
    let life = TestPlatform::patient().daemon().await;
    let (here, bob) = (life.person(ALICE).await, life.person(BOB).await);
    let there = life.sign_in(ALICE, PASSWORD, None, &home()).await.unwrap();
    life.live(&here.account, "alice").await;
    let (alice, id) = (name("alice"), life.engine.status(&name("alice")).await.unwrap().id);
    let cookies = [
        life.sign_in_to_instance(&here, "alice").await,
        life.sign_in_to_instance(&there, "alice").await,
    ];
    for cookie in &cookies {
        // From here on the session is served from the cache.
        assert!(life.is_inside(cookie, "alice").await);
    }
    // An unused login token is invalid too.
    let who = life.authenticate(&here).await.unwrap();
    let from = Some(who.session.hash.clone());
    let ticket = life.engine.create_login_token(&who.actor(), &alice, from.clone()).await.unwrap();
    life.accounts.sign_out(&who).await.unwrap();
    assert!(!life.is_inside(&cookies[0], "alice").await);
    assert!(life.is_inside(&cookies[1], "alice").await);
    assert!(life.engine.sign_in(&id, &alice, ticket.value.expose()).await.unwrap().is_none());
    let late = life.engine.create_login_token(&who.actor(), &alice, from).await;
    assert!(late.unwrap_err().to_string().contains("sign in again"));

    let account = life.accounts.find(&email(ALICE)).await.unwrap();
    life.accounts.suspend(&admin(), account, true).await.unwrap();
    assert!(!life.is_inside(&cookies[1], "alice").await);
    assert!(life.authenticate(&bob).await.is_some());
}

#[tokio::test]
async fn what_is_open_in_an_instance_ends_with_the_session_and_nothing_elsewhere_does() {
    let platform = TestPlatform::patient();
    let life = platform.daemon().await;
    let (alice, bob) = (life.person(ALICE).await, life.person(BOB).await);
    life.live(&alice.account, "alice").await;
    life.live(&bob.account, "bob").await;
    for session in [&alice, &bob] {
        life.sign_in_to_instance(
            session,
            if session.account.id == alice.account.id { "alice" } else { "bob" },
        )
        .await;
    }
    let slot = life.store.instance(&name("alice")).await.unwrap().slot;
    let ended = || platform.host.state().disconnected.clone();
    assert_eq!(ended(), []);
    let stays_out = life.sign_in(ALICE, PASSWORD, None, &home()).await.unwrap();
    life.accounts.sign_out(&life.authenticate(&stays_out).await.unwrap()).await.unwrap();
    assert_eq!(ended(), [], "no instance session came from it");
    life.accounts.sign_out(&life.authenticate(&alice).await.unwrap()).await.unwrap();
    assert_eq!(ended(), [slot]);
    // A request authorized at that moment may connect only after the cut.
    until("it is ended once more", async || ended() == [slot, slot]).await;

    // The instance has its own sign-out.
    let alice = life.sign_in(ALICE, PASSWORD, None, &home()).await.unwrap();
    let cookie = life.sign_in_to_instance(&alice, "alice").await;
    life.engine.sign_out(cookie.expose()).await.unwrap();
    assert_eq!(ended(), [slot, slot, slot]);
    life.engine.sign_out(cookie.expose()).await.unwrap();
    assert_eq!(ended(), [slot, slot, slot], "signing out twice cuts nothing");
}

#[tokio::test]
async fn who_may_no_longer_see_an_instance_is_out_of_it() {
    let life = TestPlatform::patient().daemon().await;
    let (alice, bob) = (life.person(ALICE).await, life.person(BOB).await);
    life.accounts.set_quota(&admin(), alice.account.clone(), Some(room_for(2))).await.unwrap();
    life.live(&alice.account, "shop").await;
    life.live(&alice.account, "home").await;
    let (shop, own) = (
        life.sign_in_to_instance(&alice, "shop").await,
        life.sign_in_to_instance(&alice, "home").await,
    );
    assert!(life.is_inside(&shop, "shop").await);
    life.accounts.transfer(&admin(), &name("shop"), &bob.account).await.unwrap();
    assert!(!life.is_inside(&shop, "shop").await, "it was transferred to another account");
    assert!(life.is_inside(&own, "home").await);

    life.admin("root@example.com").await;
    life.accounts.set_admin(&admin(), alice.account.clone(), true).await.unwrap();
    let shop = life.sign_in_to_instance(&alice, "shop").await;
    assert!(life.is_inside(&shop, "shop").await, "an admin sees all");
    life.accounts.set_admin(&admin(), alice.account.clone(), false).await.unwrap();
    assert!(!life.is_inside(&shop, "shop").await, "no longer an admin");
    assert!(life.is_inside(&own, "home").await);
    assert!(life.authenticate(&alice).await.is_some(), "still signed in");
}

#[tokio::test]
async fn a_session_that_ends_while_it_is_looked_up_is_not_remembered() {
    let life = TestPlatform::patient().daemon().await;
    let first = life.person(ALICE).await;
    life.live(&first.account, "alice").await;
    for round in 0..20_u64 {
        let here = life.sign_in(ALICE, PASSWORD, None, &home()).await.unwrap();
        let (cookie, who) = (
            life.sign_in_to_instance(&here, "alice").await,
            life.authenticate(&here).await.unwrap(),
        );
        let (_, out) = tokio::join!(life.is_inside(&cookie, "alice"), async {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            life.accounts.sign_out(&who).await
        });
        out.unwrap();
        assert!(!life.is_inside(&cookie, "alice").await, "{round}");
    }
}

#[tokio::test]
async fn what_is_open_ends_also_when_whoever_signed_out_did_not_wait_for_it() {
    let platform = TestPlatform::patient();
    let life = platform.daemon().await;
    let alice = life.person(ALICE).await;
    life.live(&alice.account, "alice").await;
    life.sign_in_to_instance(&alice, "alice").await;
    let who = life.authenticate(&alice).await.unwrap();
    // The client disconnects at the first opportunity.
    assert!(futures::poll!(std::pin::pin!(life.accounts.sign_out(&who))).is_pending());
    until("it ended", async || platform.host.state().disconnected.len() == 2).await;
}
