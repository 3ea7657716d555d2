//! Sign-up, invitations and links.

use startclaw_accounts::{AccountError, LinkKind, SignUp};
use startclaw_model::Secret;
use startclaw_testkit::*;

fn dead<T>(answer: Result<T, AccountError>) -> bool {
    matches!(answer, Err(AccountError::DeadLink))
}

fn field<T>(answer: Result<T, AccountError>) -> &'static str {
    match answer {
        Err(AccountError::Invalid { field, .. }) => field,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was let through"),
    }
}

#[tokio::test]
async fn everybody_signs_up_where_it_is_open() {
    let life = TestPlatform::patient().sign_up(SignUp::Open).daemon().await;
    let alice = life.sign_up(" Alice@Example.com ", None).await.unwrap();
    assert_eq!(alice.account.email.as_str(), "alice@example.com");
    assert!(!alice.account.admin);
    assert_eq!(life.authenticate(&alice).await.unwrap().account.id, alice.account.id);
    assert_eq!(field(life.sign_up("alice@example.com", None).await), "email");
    assert_eq!(field(life.sign_up("alice", None).await), "email");
    let short = Secret::new("short");
    let short = life.accounts.sign_up("bob@example.com", &short, None, &home()).await;
    assert_eq!(field(short), "password");
}

#[tokio::test]
async fn an_invitation_is_needed_where_it_is_not_open() {
    let life = TestPlatform::patient().sign_up(SignUp::Invite).daemon().await;
    assert!(matches!(life.sign_up("bob@example.com", None).await, Err(AccountError::Closed)));
    assert!(dead(life.sign_up("bob@example.com", Some("guessed")).await));
    let invitation = life.invitation(None).await;
    life.sign_up("bob@example.com", Some(&invitation)).await.unwrap();
}

#[tokio::test]
async fn nobody_signs_up_where_it_is_closed() {
    let life = TestPlatform::patient().daemon().await;
    let invitation = life.invitation(None).await;
    assert!(matches!(life.sign_up("bob@example.com", None).await, Err(AccountError::Closed)));
    assert!(dead(life.sign_up("bob@example.com", Some(&invitation)).await));
    assert!(life.accounts.all().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_invitation_makes_one_account() {
    let life = TestPlatform::patient().sign_up(SignUp::Invite).daemon().await;
    let invitation = life.invitation(None).await;
    life.sign_up("alice@example.com", Some(&invitation)).await.unwrap();
    assert!(dead(life.sign_up("bob@example.com", Some(&invitation)).await));
    assert!(life.accounts.invitations().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_invitation_that_is_used_twice_at_once_makes_one_account() {
    let life = TestPlatform::patient().sign_up(SignUp::Invite).daemon().await;
    let invitation = life.invitation(None).await;
    let (alice, bob) = tokio::join!(
        life.sign_up("alice@example.com", Some(&invitation)),
        life.sign_up("bob@example.com", Some(&invitation)),
    );
    assert_eq!(usize::from(dead(alice)) + usize::from(dead(bob)), 1);
    assert_eq!(life.accounts.all().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_invitation_is_not_lost_when_the_address_is_taken_at_the_last_moment() {
    let life = TestPlatform::patient().sign_up(SignUp::Invite).daemon().await;
    let (one, other) = (life.invitation(None).await, life.invitation(None).await);
    let (first, second) = tokio::join!(
        life.sign_up("alice@example.com", Some(&one)),
        life.sign_up("alice@example.com", Some(&other)),
    );
    assert_ne!(first.is_ok(), second.is_ok());
    assert_eq!(life.accounts.invitations().await.unwrap().len(), 1);
    let left = if first.is_ok() { &other } else { &one };
    life.sign_up("bob@example.com", Some(left)).await.unwrap();
}

#[tokio::test]
async fn an_invitation_for_one_address_is_for_no_other() {
    let life = TestPlatform::patient().sign_up(SignUp::Invite).daemon().await;
    let invitation = life.invitation(Some("Alice@example.com")).await;
    assert_eq!(field(life.sign_up("mallory@example.com", Some(&invitation)).await), "email");
    let alice = life.sign_up("alice@example.com", Some(&invitation)).await.unwrap();
    assert!(alice.account.confirmed_at.is_some());
}

#[tokio::test]
async fn an_address_with_an_account_is_not_invited() {
    let life = TestPlatform::patient().sign_up(SignUp::Invite).daemon().await;
    life.person("alice@example.com").await;
    let hour = std::time::Duration::from_secs(3600);
    let refused = life.accounts.invite(&admin(), Some(email("Alice@example.com")), hour).await;
    match refused {
        Err(AccountError::Invalid { field: "email", message }) => {
            assert!(message.contains("startclaw accounts link alice@example.com"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert!(life.accounts.invitations().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_invitation_can_be_taken_back() {
    let life = TestPlatform::patient().sign_up(SignUp::Invite).daemon().await;
    let invitation = life.invitation(None).await;
    let id = life.accounts.invitations().await.unwrap().remove(0).id;
    life.accounts.revoke_invitation(&admin(), &id).await.unwrap();
    assert!(dead(life.sign_up("alice@example.com", Some(&invitation)).await));
    let again = life.accounts.revoke_invitation(&admin(), &id).await;
    assert!(matches!(again, Err(AccountError::Missing("invitation"))));
}

#[tokio::test]
async fn many_accounts_from_one_network_are_slowed_down() {
    let life = TestPlatform::patient().sign_up(SignUp::Open).daemon().await;
    for n in 0..10 {
        let taken = life.sign_up(&format!("a{n}@example.com"), None).await;
        assert!(taken.is_ok());
    }
    let more = life.sign_up("more@example.com", None).await;
    assert!(matches!(more, Err(AccountError::Slow { .. })));
    let password = Secret::new(PASSWORD);
    let elsewhere = from("198.51.100.7");
    life.accounts.sign_up("more@example.com", &password, None, &elsewhere).await.unwrap();
}

#[tokio::test]
async fn a_link_sets_a_password_once() {
    let life = TestPlatform::patient().daemon().await;
    let (account, link) =
        life.accounts.create(&admin(), email("alice@example.com"), false).await.unwrap();
    let value = value_of(&link);
    assert!(life.accounts.is_good(&value, LinkKind::Password).await.unwrap());
    let set = async |password: &str| {
        let password = Secret::new(password);
        life.accounts.set_password_by_link(&value, &password, &home()).await
    };
    assert_eq!(field(set("short").await), "password");
    let (one, other) = tokio::join!(set(PASSWORD), set(PASSWORD));
    assert_eq!(usize::from(dead(one)) + usize::from(dead(other)), 1);
    assert!(dead(set(PASSWORD).await));
    life.sign_in("alice@example.com", PASSWORD, None, &home()).await.unwrap();

    // A link that is unused when the password is set in another way.
    let left = value_of(&life.accounts.password_link(&admin(), &account).await.unwrap());
    life.accounts
        .set_password(&account, &Secret::new("other words than these"), None)
        .await
        .unwrap();
    assert!(!life.accounts.is_good(&left, LinkKind::Password).await.unwrap());
}

#[tokio::test]
async fn a_link_does_what_it_was_made_for_and_nothing_else() {
    let life = TestPlatform::patient().sign_up(SignUp::Invite).daemon().await;
    let (account, link) =
        life.accounts.create(&admin(), email("alice@example.com"), false).await.unwrap();
    let password = Secret::new(PASSWORD);
    // This one would be sent by mail.
    let confirm = startclaw_store::Link {
        hash: startclaw_engine::digest("confirm-it"),
        id: "confirm".into(),
        kind: LinkKind::Confirm,
        account: Some(account.id.clone()),
        email: None,
        created_by: "startclaw".into(),
        created_at: startclaw_model::Timestamp::now(),
        expires_at: startclaw_model::Timestamp::now().plus(std::time::Duration::from_secs(60)),
    };
    life.store.add_link(&confirm).await.unwrap();
    let invitation = life.invitation(None).await;
    for other in ["confirm-it", &invitation] {
        let set = life.accounts.set_password_by_link(other, &password, &home()).await;
        assert!(dead(set), "{other}");
        assert!(!life.accounts.is_good(other, LinkKind::Password).await.unwrap());
    }
    for other in [value_of(&link), invitation.clone()] {
        assert!(dead(life.accounts.confirm(&other).await));
    }
    for other in ["confirm-it".to_owned(), value_of(&link)] {
        assert!(dead(life.sign_up("bob@example.com", Some(&other)).await));
        let taken = life.accounts.revoke_invitation(&admin(), &confirm.id).await;
        assert!(matches!(taken, Err(AccountError::Missing(_))));
    }
    // None of these attempts used a link.
    life.accounts.confirm("confirm-it").await.unwrap();
    assert!(dead(life.accounts.confirm("confirm-it").await));
    life.accounts.set_password_by_link(&value_of(&link), &password, &home()).await.unwrap();
    life.sign_up("bob@example.com", Some(&invitation)).await.unwrap();
}

#[tokio::test]
async fn what_opens_something_is_not_in_the_database_or_in_events() {
    let life = TestPlatform::patient().sign_up(SignUp::Invite).daemon().await;
    let alice = life.person("alice@example.com").await;
    let invitation = life.invitation(None).await;
    let events = life.engine.events(None, 100).await.unwrap();
    let links = life.accounts.invitations().await.unwrap();
    let sessions = life.accounts.sessions(&alice.account.id).await.unwrap();
    let stored = format!("{events:?} {links:?} {sessions:?} {alice:?}");
    for secret in [alice.value.expose(), alice.device.expose(), &invitation, PASSWORD] {
        assert!(!stored.contains(secret), "{stored}");
    }
}
