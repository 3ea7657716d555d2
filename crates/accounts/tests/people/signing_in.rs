//! Passwords, sessions, and rate limits.

use startclaw_accounts::AccountError;
use startclaw_model::{AccountState, Secret};
use startclaw_testkit::*;

const ALICE: &str = "alice@example.com";
const WRONG: &str = "not the password";

fn is_slow<T>(answer: &Result<T, AccountError>) -> bool {
    matches!(answer, Err(AccountError::Slow { seconds }) if *seconds > 0)
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_give_the_same_error() {
    let life = TestPlatform::patient().daemon().await;
    life.person(ALICE).await;
    let fresh = life.accounts.create(&admin(), email("new@example.com"), false).await.unwrap().0;
    let wrong = life.sign_in(ALICE, WRONG, None, &home()).await.unwrap_err();
    for (address, password) in [
        ("nobody@example.com", WRONG),
        ("no address", WRONG),
        // An account without a password.
        (fresh.email.as_str(), WRONG),
        (fresh.email.as_str(), ""),
    ] {
        let error = life.sign_in(address, password, None, &home()).await.unwrap_err();
        assert_eq!(format!("{error:?}"), format!("{wrong:?}"), "{address}");
        assert_eq!(error.to_string(), wrong.to_string());
    }
    life.sign_in(" ALICE@example.com", PASSWORD, None, &home()).await.unwrap();
}

#[tokio::test]
async fn asking_for_a_new_password_does_not_tell_who_has_an_account() {
    let life = TestPlatform::patient().daemon().await;
    life.person(ALICE).await;
    for address in [ALICE, "nobody@example.com"] {
        assert!(life.accounts.ask_password_link(address, &home()).await.is_ok(), "{address}");
    }
}

#[tokio::test]
async fn strangers_who_guess_are_slowed_and_a_known_device_is_not() {
    let life = TestPlatform::patient().daemon().await;
    let alice = life.person(ALICE).await;
    for n in 0..10 {
        let stranger = from(&format!("198.51.100.{n}"));
        let guess = life.sign_in(ALICE, WRONG, None, &stranger).await;
        assert!(matches!(guess, Err(AccountError::Refused)), "{n}");
    }
    let stranger = from("203.0.113.9");
    assert!(is_slow(&life.sign_in(ALICE, WRONG, None, &stranger).await));
    assert!(is_slow(&life.sign_in(ALICE, PASSWORD, None, &stranger).await), "even if right");
    let forged = Some("forged");
    assert!(is_slow(&life.sign_in(ALICE, PASSWORD, forged, &stranger).await));
    let mark = Some(alice.device.expose());
    life.sign_in(ALICE, PASSWORD, mark, &stranger).await.unwrap();

    // An unknown address is limited alike, so that the limit reveals nothing.
    for n in 0..10 {
        let stranger = from(&format!("198.51.100.{}", 100 + n));
        let guess = life.sign_in("nobody@example.com", WRONG, None, &stranger).await;
        assert!(matches!(guess, Err(AccountError::Refused)), "{n}");
    }
    assert!(is_slow(&life.sign_in("nobody@example.com", WRONG, None, &stranger).await));
}

#[tokio::test]
async fn the_mark_of_one_account_is_worth_nothing_for_another() {
    let life = TestPlatform::patient().daemon().await;
    life.person(ALICE).await;
    let mallory = life.person("mallory@example.com").await;
    let mark = Some(mallory.device.expose());
    for n in 0..10 {
        let stranger = from(&format!("198.51.100.{n}"));
        let guess = life.sign_in(ALICE, WRONG, mark, &stranger).await;
        assert!(matches!(guess, Err(AccountError::Refused)));
    }
    assert!(is_slow(&life.sign_in(ALICE, WRONG, mark, &from("203.0.113.9")).await));
}

#[tokio::test]
async fn many_guesses_at_once_are_no_more_than_one_after_the_other() {
    let life = TestPlatform::patient().daemon().await;
    life.person(ALICE).await;
    let guesses = (0..30_u8).map(|n| {
        let (life, stranger) = (&life, from(&format!("198.51.100.{n}")));
        async move { life.sign_in(ALICE, WRONG, None, &stranger).await }
    });
    let answers = futures::future::join_all(guesses).await;
    assert_eq!(answers.iter().filter(|a| is_slow(a)).count(), 20);
}

#[tokio::test]
async fn one_network_that_guesses_everywhere_is_slowed_and_signing_in_costs_nothing() {
    let life = TestPlatform::patient().daemon().await;
    life.person(ALICE).await;
    for n in 0..19 {
        let guess = life.sign_in(&format!("a{n}@example.com"), WRONG, None, &home()).await;
        assert!(matches!(guess, Err(AccountError::Refused)));
    }
    // Successful sign-ins do not count.
    for _ in 0..3 {
        life.sign_in(ALICE, PASSWORD, None, &home()).await.unwrap();
    }
    let guess = life.sign_in("a19@example.com", WRONG, None, &home()).await;
    assert!(matches!(guess, Err(AccountError::Refused)));
    assert!(is_slow(&life.sign_in("a20@example.com", WRONG, None, &home()).await));
    life.sign_in(ALICE, PASSWORD, None, &from("203.0.113.9")).await.unwrap();
}

#[tokio::test]
async fn a_suspended_account_cannot_be_entered_and_its_sessions_are_over() {
    let life = TestPlatform::patient().daemon().await;
    let alice = life.person(ALICE).await;
    let account = life.accounts.find(&email(ALICE)).await.unwrap();
    let link = life.accounts.password_link(&admin(), &account).await.unwrap();
    life.accounts.suspend(&admin(), account.clone(), true).await.unwrap();
    assert!(life.authenticate(&alice).await.is_none());
    assert!(life.accounts.sessions(&account.id).await.unwrap().is_empty());
    let right = life.sign_in(ALICE, PASSWORD, None, &home()).await;
    assert!(matches!(right, Err(AccountError::Suspended)));
    let wrong = life.sign_in(ALICE, WRONG, None, &home()).await;
    assert!(
        matches!(wrong, Err(AccountError::Refused)),
        "only the right password reveals the suspension"
    );
    let new = Secret::new("another password");
    let by_link = life.accounts.set_password_by_link(&value_of(&link), &new, &home()).await;
    assert!(matches!(by_link, Err(AccountError::Suspended)));

    life.accounts.suspend(&admin(), account, false).await.unwrap();
    assert!(life.authenticate(&alice).await.is_none(), "ended sessions stay ended");
    life.sign_in(ALICE, PASSWORD, None, &home()).await.unwrap();
}

#[tokio::test]
async fn signing_in_does_not_undo_what_an_admin_does_at_that_moment() {
    let life = TestPlatform::patient().daemon().await;
    life.person(ALICE).await;
    let here = home();
    for _ in 0..5 {
        let account = life.accounts.find(&email(ALICE)).await.unwrap();
        let (session, suspended) = tokio::join!(
            life.sign_in(ALICE, PASSWORD, None, &here),
            // After the account was read, while its password is verified.
            async {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                life.accounts.suspend(&admin(), account.clone(), true).await
            },
        );
        suspended.unwrap();
        assert_eq!(life.accounts.find(&email(ALICE)).await.unwrap().state, AccountState::Suspended);
        if let Ok(session) = session {
            assert!(life.authenticate(&session).await.is_none());
        }
        life.accounts.suspend(&admin(), account, false).await.unwrap();
    }
}

#[tokio::test]
async fn a_session_has_a_new_value_at_each_sign_in() {
    let life = TestPlatform::patient().daemon().await;
    let first = life.person(ALICE).await;
    let second = life.sign_in(ALICE, PASSWORD, None, &home()).await.unwrap();
    assert_ne!(first.value.expose(), second.value.expose());
    assert!(life.accounts.authenticate("planted", &home()).await.unwrap().is_none());
    let sessions = life.accounts.sessions(&first.account.id).await.unwrap();
    assert_eq!(sessions.len(), 2);
    assert!(life.accounts.get(&first.account.id).await.unwrap().signed_in_at.is_some());
}

#[tokio::test]
async fn sessions_are_ended_one_by_one_and_only_by_whose_they_are() {
    let life = TestPlatform::patient().daemon().await;
    let (phone, bob) = (life.person(ALICE).await, life.person("bob@example.com").await);
    let laptop = life.sign_in(ALICE, PASSWORD, None, &from("192.0.2.9")).await.unwrap();
    let (at_phone, at_laptop) =
        (life.authenticate(&phone).await.unwrap(), life.authenticate(&laptop).await.unwrap());
    let as_bob = life.authenticate(&bob).await.unwrap();
    let not_bobs = life.accounts.end_session(&as_bob, &at_phone.session.id).await;
    assert!(matches!(not_bobs, Err(AccountError::Missing("session"))));
    life.accounts.end_session(&at_laptop, &at_phone.session.id).await.unwrap();
    assert!(life.authenticate(&phone).await.is_none());
    life.accounts.sign_out(&at_laptop).await.unwrap();
    assert!(life.authenticate(&laptop).await.is_none());
    assert!(life.authenticate(&bob).await.is_some());
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let life = TestPlatform::patient().daemon().await;
    let here = life.person(ALICE).await;
    let there = life.sign_in(ALICE, PASSWORD, None, &home()).await.unwrap();
    let me = life.authenticate(&here).await.unwrap();
    life.accounts.confirm_password(&me.account, &Secret::new(PASSWORD)).await.unwrap();
    let wrong = life.accounts.confirm_password(&me.account, &Secret::new(WRONG)).await;
    assert!(matches!(wrong, Err(AccountError::Invalid { field: "password", .. })));
    let new = Secret::new("other words than these");
    life.accounts.set_password(&me.account, &new, Some(&me.session.hash)).await.unwrap();
    assert!(life.authenticate(&here).await.is_some());
    assert!(life.authenticate(&there).await.is_none());
    assert!(life.sign_in(ALICE, PASSWORD, None, &home()).await.is_err());
    life.sign_in(ALICE, new.expose(), None, &home()).await.unwrap();
}

#[tokio::test]
async fn a_passkey_with_the_id_of_somebody_elses_is_not_taken() {
    let life = TestPlatform::patient().daemon().await;
    let (alice, mallory) = (life.person(ALICE).await, life.person("mallory@example.com").await);
    let key = |whose: &startclaw_model::Account, credential: &str| startclaw_store::Passkey {
        id: "credential".into(),
        account: whose.id.clone(),
        label: "key".into(),
        credential: credential.into(),
        created_at: startclaw_model::Timestamp::now(),
        used_at: None,
    };
    assert!(life.store.add_passkey(&key(&alice.account, "alice's")).await.unwrap());
    assert!(!life.store.add_passkey(&key(&mallory.account, "mallory's")).await.unwrap());
    assert!(!life.store.passkey_used(&key(&mallory.account, "mallory's")).await.unwrap());
    let kept = life.accounts.passkeys(&alice.account.id).await.unwrap();
    assert_eq!(kept[0].credential, "alice's");
    assert!(life.accounts.passkeys(&mallory.account.id).await.unwrap().is_empty());
}
