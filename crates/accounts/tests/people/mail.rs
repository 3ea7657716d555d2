//! Mail, to an SMTP server.

use std::{path::Path, process::Command};

use startclaw_accounts::{AccountError, LinkKind, SignUp};
use startclaw_model::Secret;
use startclaw_testkit::{PASSWORD, TestPlatform, admin, home, name, request_for, until};
use tokio::{net::TcpListener, runtime::Runtime};

use crate::mail_server::{Certificate, Server, Way};

/// Set in the child process that trusts the server's certificate: the certificate's folder.
const TRUSTED: &str = "STARTCLAW_TEST_TRUSTED";

fn platform(server: &str) -> TestPlatform {
    let mut platform = TestPlatform::patient().sign_up(SignUp::Open);
    platform.accounts.mail.server = server.to_owned();
    platform.accounts.mail.from = "StartClaw <claws@claws.test>".to_owned();
    platform
}

#[tokio::test]
async fn an_address_is_confirmed_by_mail_and_only_then_gets_what_is_made_for_it() {
    let server = Server::start(Way::Plain).await;
    let life = platform(&server.address).daemon().await;
    let invitation = life.invitation(None).await;
    let alice = life.sign_up("alice@example.com", Some(&invitation)).await.unwrap();
    assert!(alice.account.confirmed_at.is_none());
    let token = server.link("alice@example.com", "confirm").await;
    let letter = server.letters().remove(0);
    assert!(letter.contains("From: ") && letter.contains("Subject: Confirm your address"));

    let theirs = async |text: &str| {
        let asked = request_for(text, "alice@example.com");
        life.engine.provision(&admin(), asked, None).await.unwrap();
        life.engine.status(&name(text)).await.unwrap().account.is_some()
    };
    assert!(!theirs("before").await);
    assert!(life.accounts.is_good(&token, LinkKind::Confirm).await.unwrap());
    life.accounts.confirm(&token).await.unwrap();
    assert!(theirs("after").await);
    assert!(matches!(life.accounts.confirm(&token).await, Err(AccountError::DeadLink)));
}

#[tokio::test]
async fn only_the_owner_of_an_address_learns_from_a_sign_up_whether_it_has_an_account() {
    let server = Server::start(Way::Plain).await;
    let life = platform(&server.address).daemon().await;
    life.person("alice@example.com").await;
    for address in ["alice@example.com", "bob@example.com"] {
        let answer = life.sign_up(address, None).await;
        assert!(matches!(answer, Err(AccountError::ByMail)), "{address}");
        life.accounts.ask_sign_up_link(address, &home()).await.unwrap();
    }
    let token = server.link("bob@example.com", "invite").await;
    until("both mails are there", async || server.letters().len() == 2).await;
    let letters = server.letters();
    let of = |address: &str| letters.iter().find(|l| l.contains(&format!("<{address}>"))).unwrap();
    assert!(of("alice@example.com").contains("You have an account already"));
    assert!(!of("alice@example.com").contains("/invite/"));

    // No admin made it, and it is for this address only.
    assert!(life.accounts.invitations().await.unwrap().is_empty());
    assert!(life.sign_up("carol@example.com", Some(&token)).await.is_err());
    let bob = life.sign_up("bob@example.com", Some(&token)).await.unwrap();
    assert!(bob.account.confirmed_at.is_some());
    assert!(life.authenticate(&bob).await.is_some());
}

#[tokio::test]
async fn one_address_gets_few_mails_however_often_they_are_requested() {
    let server = Server::start(Way::Plain).await;
    let life = platform(&server.address).daemon().await;
    let count = |address: &str| {
        server.letters().iter().filter(|l| l.contains(&format!("<{address}>"))).count()
    };
    for _ in 0..6 {
        life.accounts.ask_sign_up_link("bob@example.com", &home()).await.unwrap();
    }
    until("the first mails are there", async || count("bob@example.com") == 3).await;
    life.accounts.ask_sign_up_link("carol@example.com", &home()).await.unwrap();
    until("another address gets its own", async || count("carol@example.com") == 1).await;
    assert_eq!(count("bob@example.com"), 3);
}

#[tokio::test]
async fn a_link_to_sign_up_ends_with_open_sign_up() {
    let server = Server::start(Way::Plain).await;
    let mut platform = platform(&server.address);
    let life = platform.daemon().await;
    life.accounts.ask_sign_up_link("bob@example.com", &home()).await.unwrap();
    let token = server.link("bob@example.com", "invite").await;
    life.end().await;
    platform.accounts.sign_up = SignUp::Invite;
    let life = platform.daemon().await;
    let answer = life.sign_up("bob@example.com", Some(&token)).await;
    assert!(matches!(answer, Err(AccountError::DeadLink)));
    let asked = life.accounts.ask_sign_up_link("bob@example.com", &home()).await;
    assert!(matches!(asked, Err(AccountError::Closed)));
}

#[tokio::test]
async fn a_forgotten_password_is_set_by_a_mail_that_only_the_owner_gets() {
    let server = Server::start(Way::Plain).await;
    let life = platform(&server.address).daemon().await;
    life.person("alice@example.com").await;
    life.accounts.ask_password_link("nobody@example.com", &home()).await.unwrap();
    life.accounts.ask_password_link("alice@example.com", &home()).await.unwrap();
    let token = server.link("alice@example.com", "reset").await;
    assert_eq!(server.letters().len(), 1, "no mail to an unknown address");
    let new = Secret::new("quite another one");
    life.accounts.set_password_by_link(&token, &new, &home()).await.unwrap();
    life.sign_in("alice@example.com", "quite another one", None, &home()).await.unwrap();
}

#[tokio::test]
async fn a_mail_server_that_is_away_keeps_nobody_with_an_invitation_from_signing_up() {
    // Nothing listens on this port.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let life = platform(&format!("smtp+plain://{gone}")).daemon().await;
    let invitation = life.invitation(None).await;
    let alice = life.sign_up("alice@example.com", Some(&invitation)).await.unwrap();
    assert!(life.authenticate(&alice).await.is_some());
    life.accounts.ask_password_link("alice@example.com", &home()).await.unwrap();
}

#[test]
fn mail_goes_over_tls_and_only_to_a_server_that_is_known() {
    if let Some(folder) = std::env::var_os(TRUSTED) {
        let known = Certificate::of(Path::new(&folder));
        return Runtime::new().unwrap().block_on(over_tls(&known));
    }
    // Trusted roots are read from the environment, so this runs in a child process.
    let folder = tempfile::tempdir().unwrap();
    let known = Certificate::make(folder.path());
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "mail::mail_goes_over_tls_and_only_to_a_server_that_is_known"])
        .env(TRUSTED, folder.path())
        .env("SSL_CERT_FILE", known.file())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}

async fn over_tls(known: &Certificate) {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "the mail password\n").unwrap();
    let life = async |server: &Server| {
        let mut platform = platform(&server.address);
        platform.accounts.mail.user = "claws".to_owned();
        platform.accounts.mail.password_file = password.clone();
        platform.daemon().await
    };
    for way in [Way::StartTls(known.acceptor()), Way::Tls(known.acceptor())] {
        let server = Server::start(way).await;
        let life = life(&server).await;
        let invitation = life.invitation(None).await;
        life.sign_up("alice@example.com", Some(&invitation)).await.unwrap();
        server.link("alice@example.com", "confirm").await;
        // User name and password in AUTH PLAIN format.
        let letter = server.letters().remove(0);
        assert!(letter.contains("AUTH PLAIN AGNsYXdzAHRoZSBtYWlsIHBhc3N3b3Jk"), "{letter}");
    }

    let other = Certificate::make(folder.path());
    for way in [Way::StartTls(other.acceptor()), Way::Tls(other.acceptor()), Way::NoTls] {
        let server = Server::start(way).await;
        let life = life(&server).await;
        let invitation = life.invitation(None).await;
        life.sign_up("alice@example.com", Some(&invitation)).await.unwrap();
        until("the mail was tried", async || server.ended() > 0).await;
        assert_eq!(server.letters(), [""; 0]);
        assert!(!server.heard().contains("AUTH"), "a password in the clear: {}", server.heard());
        assert!(life.sign_in("alice@example.com", PASSWORD, None, &home()).await.is_ok());
    }
}
