//! Every way of losing access, for every kind of access.

use std::time::Duration;

use futures::FutureExt as _;
use startclaw_accounts::{AccountSession, SignedIn};
use startclaw_engine::{AccessGuard, Holder, Subject, digest};
use startclaw_model::{
    Actor, DeletionPolicy, InstanceId, OperationKind, Scope, Scopes, Secret, Slot, Timestamp,
};
use startclaw_testkit::*;

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";
const ROOT: &str = "root@example.com";
const SHOP: &str = "shop";

/// A way of losing access to the instance `shop`, which belongs to Alice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Transfer,
    Suspend,
    Delete,
    Demote,
    SignOut,
    EndSession,
    SignOutElsewhere,
    ChangePassword,
    PasswordByLink,
    SessionExpires,
    RevokeToken,
    TokenExpires,
    Remove,
}

/// The holder of access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Alice, signed in to her account.
    Owner,
    /// An admin, signed in.
    Admin,
    /// A program with a token for all instances.
    Program,
    /// A program with a token for this instance.
    OwnProgram,
    /// A user of a sign-in link from the operator.
    Guest,
}

/// Everything a holder has.
struct Held {
    ticket: Secret,
    cookie: Secret,
    streams: Vec<(&'static str, AccessGuard)>,
}

struct Stage {
    platform: TestPlatform,
    life: TestDaemon,
    id: InstanceId,
    slot: Slot,
    held: Held,
    person: Option<SignedIn>,
    token: Option<String>,
}

const SHORT: Duration = Duration::from_secs(4);

async fn stage(way: Way, who: Who) -> Stage {
    let platform = TestPlatform::patient();
    let life = platform.daemon().await;
    let (alice, _) = (life.person(ALICE).await, life.person(BOB).await);
    let root = life.person(ROOT).await;
    life.accounts.set_admin(&admin(), root.account.clone(), true).await.unwrap();
    life.live(&alice.account, SHOP).await;
    let stored = life.store.instance(&name(SHOP)).await.unwrap();
    let (id, slot) = (stored.id, stored.slot);
    let (mut person, mut token) = (None, None);
    let (actor, session, holder) = match who {
        Who::Owner | Who::Admin => {
            let fresh = if who == Who::Owner { &alice } else { &root };
            let signed_in = if way == Way::SessionExpires {
                expiring(&life, fresh.account.id.clone()).await
            } else {
                life.authenticate(fresh).await.unwrap()
            };
            let found =
                (signed_in.actor(), Some(signed_in.session.hash.clone()), Some(signed_in.holder()));
            person = Some(signed_in);
            found
        }
        Who::Program | Who::OwnProgram => {
            let only = (who == Who::OwnProgram).then(|| name(SHOP));
            let scopes = Scopes::new(vec![Scope::Write], only).unwrap();
            let expires = (way == Way::TokenExpires).then_some(SHORT);
            let fresh = life.engine.create_token(&admin(), "test", scopes, expires).await.unwrap();
            let token_id = fresh.stored.id;
            token = Some(token_id.clone());
            (Actor::token(&token_id), None, Some(Holder::Token(token_id)))
        }
        Who::Guest => (admin(), None, None),
    };
    let open = async || {
        life.engine.create_login_token(&actor, &name(SHOP), session.clone()).await.unwrap().value
    };
    let used = open().await;
    let entered = life.engine.sign_in(&id, &name(SHOP), used.expose()).await.unwrap().unwrap();
    let mut streams = Vec::new();
    if let Some(holder) = holder {
        let log = Subject::Instance(id.clone());
        streams.push(("log", life.engine.open_stream(holder.clone(), log).await.unwrap()));
        if way != Way::Remove {
            let all = life.engine.operations(Some(&name(SHOP)), 10).await.unwrap();
            let made = all.iter().find(|o| o.kind == OperationKind::Provision).unwrap();
            let progress = Subject::operation(made);
            streams.push(("progress", life.engine.open_stream(holder, progress).await.unwrap()));
        }
    }
    let held = Held { ticket: open().await, cookie: entered.0, streams };
    // From here on the cookie is served from the cache.
    assert!(life.is_inside(&held.cookie, SHOP).await);
    Stage { platform, life, id, slot, held, person, token }
}

async fn expiring(life: &TestDaemon, account: startclaw_model::AccountId) -> SignedIn {
    let now = Timestamp::now();
    let session = AccountSession {
        hash: digest("short"),
        id: "short".into(),
        account,
        device: "a browser".into(),
        address: "192.0.2.1".into(),
        created_at: now,
        seen_at: now,
        expires_at: now.plus(SHORT),
    };
    assert!(life.store.add_account_session(&session).await.unwrap());
    life.accounts.authenticate("short", &home()).await.unwrap().unwrap()
}

impl Stage {
    async fn lose(&self, way: Way) {
        let (life, accounts) = (&self.life, &self.life.accounts);
        let account = async |address| accounts.find(&email(address)).await.unwrap();
        let person = || self.person.as_ref().unwrap();
        match way {
            Way::Transfer => {
                accounts.transfer(&admin(), &name(SHOP), &account(BOB).await).await.unwrap();
            }
            Way::Suspend => accounts.suspend(&admin(), account(ALICE).await, true).await.unwrap(),
            Way::Delete => accounts.delete(&admin(), account(ALICE).await).await.unwrap(),
            Way::Demote => accounts.set_admin(&admin(), account(ROOT).await, false).await.unwrap(),
            Way::SignOut => accounts.sign_out(person()).await.unwrap(),
            Way::EndSession => {
                accounts.end_session(person(), &person().session.id).await.unwrap();
            }
            Way::SignOutElsewhere => {
                let here = life.sign_in(ALICE, PASSWORD, None, &home()).await.unwrap();
                let here = life.authenticate(&here).await.unwrap();
                accounts.end_other_sessions(&here).await.unwrap();
            }
            Way::ChangePassword => {
                let new = Secret::new("other words than these");
                accounts.set_password(&account(ALICE).await, &new, None).await.unwrap();
            }
            Way::PasswordByLink => {
                let link = accounts.password_link(&admin(), &account(ALICE).await).await.unwrap();
                let new = Secret::new("other words than these");
                accounts.set_password_by_link(&value_of(&link), &new, &home()).await.unwrap();
            }
            Way::RevokeToken => {
                let token = self.token.as_deref().unwrap();
                life.engine.revoke_token(&admin(), token).await.unwrap();
            }
            Way::Remove => {
                let policy = DeletionPolicy::None;
                life.engine.deprovision(&admin(), &name(SHOP), policy, None).await.unwrap();
            }
            Way::SessionExpires | Way::TokenExpires => {}
        }
    }

    fn cuts(&self) -> usize {
        self.platform.host.state().disconnected.iter().filter(|slot| **slot == self.slot).count()
    }

    /// Whether open connections are closed: they were cut, or the container is gone.
    fn is_cut(&self) -> bool {
        self.cuts() > 0 || self.platform.host.state().instance(&self.id).is_gone()
    }

    async fn check_lost(&self, case: &str, at_once: bool) {
        let Held { ticket, cookie, streams } = &self.held;
        if !at_once {
            until(&format!("{case}: connections are cut"), async || self.is_cut()).await;
        }
        assert!(self.is_cut(), "{case}: open connections were not cut");
        let inside = self.life.engine.session(&self.id, cookie.expose()).await.unwrap();
        assert!(inside.is_none(), "{case}: the cookie is still valid");
        let entered =
            self.life.engine.sign_in(&self.id, &name(SHOP), ticket.expose()).await.unwrap();
        assert!(entered.is_none(), "{case}: the login token is still valid");
        for (stream, guard) in streams {
            if at_once {
                assert!(guard.ended().now_or_never().is_some(), "{case}: {stream} is still open");
            }
            let ended = tokio::time::timeout(Duration::from_secs(30), guard.ended()).await;
            assert!(ended.is_ok(), "{case}: {stream} is still open");
        }
    }
}

#[tokio::test]
async fn every_way_of_losing_access_ends_every_kind_of_access_at_once() {
    use Way::*;
    use Who::*;
    for (way, holders) in [
        (Transfer, &[Owner, OwnProgram, Guest][..]),
        (Suspend, &[Owner, Guest]),
        (Delete, &[Owner, Guest]),
        (Demote, &[Admin]),
        (SignOut, &[Owner, Admin]),
        (EndSession, &[Owner]),
        (SignOutElsewhere, &[Owner]),
        (ChangePassword, &[Owner]),
        (PasswordByLink, &[Owner]),
        (SessionExpires, &[Owner]),
        (RevokeToken, &[Program, OwnProgram]),
        (TokenExpires, &[Program]),
        (Remove, &[Owner, Admin, Program, OwnProgram, Guest]),
    ] {
        for who in holders {
            let case = format!("{way:?} of {who:?}");
            let stage = stage(way, *who).await;
            assert_eq!(stage.cuts(), 0, "{case}");
            stage.lose(way).await;
            if way == Remove {
                until("it is removed", async || {
                    stage.life.engine.status(&name(SHOP)).await.is_err()
                })
                .await;
            }
            // The log stream of a removed instance ends with the next pass.
            let at_once = !matches!(way, SessionExpires | TokenExpires | Remove);
            stage.check_lost(&case, at_once).await;
            stage.life.end().await;
        }
    }
}

#[tokio::test]
async fn access_that_others_have_stays() {
    let stage = stage(Way::Demote, Who::Owner).await;
    stage.lose(Way::Demote).await;
    let (life, held) = (&stage.life, &stage.held);
    assert!(life.is_inside(&held.cookie, SHOP).await);
    assert_eq!(stage.cuts(), 0);
    for (stream, guard) in &held.streams {
        assert!(guard.ended().now_or_never().is_none(), "{stream}");
    }
    // A transfer to the current account changes nothing.
    let alice = life.accounts.find(&email(ALICE)).await.unwrap();
    life.accounts.transfer(&admin(), &name(SHOP), &alice).await.unwrap();
    assert!(life.is_inside(&held.cookie, SHOP).await);
}

#[tokio::test]
async fn a_loss_that_only_reached_the_database_is_enforced_by_the_running_daemon_and_by_the_next() {
    // As if the caller was dropped right after the commit.
    let owner = stage(Way::SignOut, Who::Owner).await;
    let account = owner.person.as_ref().unwrap().account.id.clone();
    owner.life.store.end_account_sessions(&account, None, None).await.unwrap();
    owner.check_lost("running", false).await;

    // As if the daemon crashed right after the commit.
    let guest = stage(Way::Transfer, Who::Guest).await;
    let bob = guest.life.accounts.find(&email(BOB)).await.unwrap();
    let Stage { platform, life, id, slot, .. } = guest;
    let store = life.store.clone();
    life.end().await;
    store.transfer(&id, &bob.id).await.unwrap().unwrap();
    let before = platform.host.state().disconnected.len();
    let next = platform.daemon().await;
    until("it is cut", async || platform.host.state().disconnected.len() > before).await;
    assert_eq!(platform.host.state().disconnected.last(), Some(&slot));
    until("it is noted as done", async || store.disconnects().await.unwrap().is_empty()).await;
    next.end().await;
}

#[tokio::test]
async fn a_transfer_makes_the_new_account_the_owner_that_openclaw_is_told() {
    let stage = stage(Way::Transfer, Who::Guest).await;
    stage.lose(Way::Transfer).await;
    let status = stage.life.engine.status(&name(SHOP)).await.unwrap();
    assert_eq!(status.owner.as_str(), BOB);
    let told = |who: &str| {
        let config = stage.platform.host.state().instance(&stage.id).config().unwrap_or_default();
        String::from_utf8_lossy(&config).contains(who)
    };
    until("the container was replaced", async || told(BOB) && !told(ALICE)).await;
    let bob = stage.life.sign_in(BOB, PASSWORD, None, &home()).await.unwrap();
    let who = stage.life.authenticate(&bob).await.unwrap();
    let ticket = stage
        .life
        .engine
        .create_login_token(&who.actor(), &name(SHOP), Some(who.session.hash.clone()))
        .await
        .unwrap();
    let (_, session) = stage
        .life
        .engine
        .sign_in(&stage.id, &name(SHOP), ticket.value.expose())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(session.identity, BOB);
}

#[tokio::test]
async fn one_account_cannot_hold_all_streams() {
    let stage = stage(Way::SignOut, Who::Owner).await;
    let holder = stage.person.as_ref().unwrap().holder();
    let mut held = Vec::new();
    let refused = loop {
        let subject = Subject::Instance(stage.id.clone());
        match stage.life.engine.open_stream(holder.clone(), subject).await {
            Ok(guard) => held.push(guard),
            Err(e) => break e,
        }
        assert!(held.len() < 100, "one account has a hundred streams");
    };
    assert!(refused.to_string().contains("too many streams"), "{refused}");
    let bob = stage.life.sign_in(ROOT, PASSWORD, None, &home()).await.unwrap();
    let other = stage.life.authenticate(&bob).await.unwrap().holder();
    let subject = || Subject::Instance(stage.id.clone());
    stage.life.engine.open_stream(other, subject()).await.unwrap();
    held.pop();
    stage.life.engine.open_stream(holder, subject()).await.unwrap();
}
