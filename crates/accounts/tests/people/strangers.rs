//! Limits that unauthenticated clients, and single accounts, cannot exhaust for others.

use startclaw_accounts::AccountError;
use startclaw_engine::EngineError;
use startclaw_model::{DeletionPolicy, OperationState};
use startclaw_testkit::*;

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

#[tokio::test]
async fn strangers_cannot_exhaust_the_passkey_ceremonies() {
    let life = TestPlatform::patient().daemon().await;
    let alice = life.person(ALICE).await;
    let who = life.authenticate(&alice).await.unwrap();
    let stranger = from("203.0.113.9");
    let mut begun = 0;
    let slow = loop {
        match life.accounts.begin_passkey_sign_in(&stranger) {
            Ok(_) => begun += 1,
            Err(e) => break e,
        }
        assert!(begun < 5000, "one network begins as many as it wants");
    };
    assert!(matches!(slow, AccountError::Slow { .. }), "{slow}");
    life.accounts.begin_passkey_sign_in(&home()).unwrap();
    life.accounts.begin_passkey(&who).await.unwrap();
    // Nor do many networks together.
    for network in 0..10_000_u32 {
        let address = std::net::Ipv4Addr::from(0x0b00_0000 + network).to_string();
        life.accounts.begin_passkey_sign_in(&from(&address)).unwrap();
    }
    life.accounts.begin_passkey(&who).await.unwrap();
}

#[tokio::test]
async fn one_account_cannot_spend_the_certificates_of_the_domain() {
    let mut platform = TestPlatform::patient();
    platform.settings.instances.names_per_account = 3;
    platform.settings.instances.names_per_week = 4;
    let life = platform.daemon().await;
    let (alice, bob) = (life.person(ALICE).await.account, life.person(BOB).await.account);
    let make_and_remove = async |text: &str| {
        life.provision(&alice, text).await?;
        let gone =
            life.engine.deprovision(&admin(), &name(text), DeletionPolicy::None, None).await?;
        until("it is gone", async || {
            let state = life.engine.operation(&gone.id).await.unwrap().state;
            state == OperationState::Succeeded
        })
        .await;
        Ok::<_, EngineError>(())
    };
    for text in ["one", "two", "three", "three", "one"] {
        make_and_remove(text).await.unwrap();
    }
    let refused = make_and_remove("four").await.unwrap_err();
    assert!(matches!(refused, EngineError::TooSoon { .. }), "{refused}");
    assert!(refused.to_string().contains("this account"), "{refused}");
    // Operators are not limited, and other accounts have their own limit.
    life.engine.provision(&admin(), request_for("five", "someone"), None).await.unwrap();
    life.accounts.set_quota(&admin(), bob.clone(), Some(room_for(3))).await.unwrap();
    life.provision(&bob, "six").await.unwrap();
    let refused = life.provision(&bob, "seven").await.unwrap_err();
    assert!(refused.to_string().contains("this platform"), "{refused}");
    // Limits survive a restart.
    life.end().await;
    let life = platform.daemon().await;
    let refused = life.provision(&alice, "eight").await.unwrap_err();
    assert!(matches!(refused, EngineError::TooSoon { .. }), "{refused}");
}

#[tokio::test]
async fn nobody_is_the_platform_itself() {
    let life = TestPlatform::patient().daemon().await;
    for reserved in ["startclaw@host", "StartClaw@Host"] {
        let refused = life.engine.provision(&admin(), request_for("alice", reserved), None).await;
        assert!(refused.unwrap_err().to_string().contains("platform itself"));
        let refused = life.accounts.create(&admin(), email(reserved), false).await;
        assert!(refused.unwrap_err().to_string().contains("reserved"));
    }
}

#[tokio::test]
async fn a_token_label_holds_no_invisible_characters() {
    let life = TestPlatform::patient().daemon().await;
    for bad in ["a\u{202e}b", "a\u{200b}", "a\nb", "\u{2066}x"] {
        let scopes = startclaw_model::Scopes::admin();
        let made = life.engine.create_token(&admin(), bad, scopes, None).await;
        assert!(made.is_err(), "{bad:?}");
    }
}
