//! Administration, quotas, and deletion of accounts.

use startclaw_accounts::{AccountError, SignUp};
use startclaw_engine::EngineError;
use startclaw_host::objects::Step;
use startclaw_model::{AccountState, Actor, Quota, SnapshotChoice};
use startclaw_simulated::{Fault, Faults};
use startclaw_testkit::*;

const ALICE: &str = "alice@example.com";

fn refused(answer: Result<startclaw_model::Operation, EngineError>) -> String {
    match answer {
        Err(EngineError::Quota(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_last_admin_stays() {
    let life = TestPlatform::patient().daemon().await;
    let root = life.admin("root@example.com").await;
    // A suspended admin and a user who is no admin do not count.
    let asleep = life.admin("asleep@example.com").await;
    life.accounts.suspend(&admin(), asleep, true).await.unwrap();
    life.person(ALICE).await;
    let last = |answer| matches!(answer, Err(AccountError::LastAdmin));
    let actor = Actor::account(&root.id);
    assert!(last(life.accounts.set_admin(&actor, root.clone(), false).await));
    assert!(last(life.accounts.suspend(&actor, root.clone(), true).await));
    assert!(last(life.accounts.delete(&actor, root.clone()).await));
    assert!(life.accounts.get(&root.id).await.unwrap().admin);

    let other = life.admin("other@example.com").await;
    let (one, two) = tokio::join!(
        life.accounts.set_admin(&actor, root.clone(), false),
        life.accounts.set_admin(&actor, other.clone(), false),
    );
    assert_eq!(
        usize::from(last(one)) + usize::from(last(two)),
        1,
        "even if both are demoted at once"
    );
}

#[tokio::test]
async fn an_operator_can_take_the_last_admin_away() {
    let life = TestPlatform::patient().daemon().await;
    let root = life.admin("root@example.com").await;
    life.accounts.set_admin(&admin(), root.clone(), false).await.unwrap();
    assert!(!life.accounts.get(&root.id).await.unwrap().admin);
    life.accounts.set_admin(&admin(), root.clone(), true).await.unwrap();
    life.accounts.suspend(&admin(), root.clone(), true).await.unwrap();
    life.accounts.suspend(&admin(), root.clone(), false).await.unwrap();
    life.delete_pending_accounts();
    life.accounts.delete(&admin(), root.clone()).await.unwrap();
    until("it is gone", async || life.accounts.get(&root.id).await.is_err()).await;
}

#[tokio::test]
async fn a_quota_bounds_instances_memory_and_disk() {
    let life = TestPlatform::patient().daemon().await;
    let alice = life.person(ALICE).await.account;
    life.live(&alice, "one").await;
    let why = refused(life.provision(&alice, "two").await);
    assert_eq!(why, "this account may have 1 instance and has 1");

    let little = Quota { memory_mib: 3000, ..room_for(2) };
    life.accounts.set_quota(&admin(), alice.clone(), Some(little)).await.unwrap();
    let why = refused(life.provision(&alice, "two").await);
    assert!(why.contains("3000 MiB of memory") && why.contains("4096 MiB"), "{why}");

    // Disk usage is the size of the newest backup.
    let asked = life.engine.backup(&admin(), &name("one")).await.unwrap();
    until("the backup is there", async || {
        life.engine.operation(&asked.id).await.unwrap().state.is_over()
    })
    .await;
    let holds = life.accounts.info(alice.clone()).await.unwrap().usage.disk_mib;
    let full = Quota { disk_mib: holds, ..room_for(2) };
    life.accounts.set_quota(&admin(), alice.clone(), Some(full)).await.unwrap();
    let why = refused(life.provision(&alice, "two").await);
    assert!(why.contains("MiB of data"), "{why}");

    life.accounts.set_quota(&admin(), alice.clone(), Some(room_for(2))).await.unwrap();
    life.live(&alice, "two").await;
    refused(life.provision(&alice, "three").await);
    // The operator is not limited by quotas.
    let given = life.engine.provision(&admin(), request_for("three", ALICE), None).await.unwrap();
    assert_eq!(given.name.as_str(), "three");
    assert_eq!(life.accounts.info(alice).await.unwrap().usage.instances, 3);
}

#[tokio::test]
async fn two_at_once_with_room_for_one_make_one() {
    let life = TestPlatform::patient().daemon().await;
    let alice = life.person(ALICE).await.account;
    let (one, two) = tokio::join!(life.provision(&alice, "one"), life.provision(&alice, "two"));
    assert_ne!(one.is_ok(), two.is_ok(), "{one:?} {two:?}");
    assert_eq!(life.accounts.info(alice).await.unwrap().usage.instances, 1);
}

#[tokio::test]
async fn a_copy_counts_like_any_instance() {
    let life = TestPlatform::patient().daemon().await;
    let alice = life.person(ALICE).await.account;
    life.live(&alice, "one").await;
    let asked = life.engine.backup(&admin(), &name("one")).await.unwrap();
    until("the backup is there", async || {
        life.engine.operation(&asked.id).await.unwrap().state.is_over()
    })
    .await;
    let copy = startclaw_engine::RestoreRequest {
        name: name("one"),
        instance: None,
        snapshot: SnapshotChoice::Latest,
        as_name: Some(name("copy")),
    };
    refused(life.engine.restore(&Actor::account(&alice.id), copy, None).await);
}

#[tokio::test]
async fn an_instance_is_given_to_an_account_that_stays() {
    let life = TestPlatform::patient().daemon().await;
    let alice = life.person(ALICE).await.account;
    life.engine.provision(&admin(), request_for("shop", "somebody"), None).await.unwrap();
    assert!(life.engine.status(&name("shop")).await.unwrap().account.is_none());
    life.accounts.transfer(&admin(), &name("shop"), &alice).await.unwrap();
    assert_eq!(life.engine.status(&name("shop")).await.unwrap().account, Some(alice.id.clone()));
    let nobody = life.accounts.transfer(&admin(), &name("nobody"), &alice).await;
    let missing = |e| matches!(e, AccountError::Instance(EngineError::NoInstance(_)));
    assert!(missing(nobody.unwrap_err()));

    // Instances of an account with a pending deletion are removed with it.
    let bob = life.person("bob@example.com").await.account;
    life.accounts.delete(&admin(), bob.clone()).await.unwrap();
    let given = life.accounts.transfer(&admin(), &name("shop"), &bob).await;
    assert!(matches!(given, Err(AccountError::Missing("account"))));
    life.engine.provision(&admin(), request_for("late", "bob@example.com"), None).await.unwrap();
    assert!(life.engine.status(&name("late")).await.unwrap().account.is_none());
    let own = life.provision(&bob, "own").await;
    assert!(refused(own).contains("cannot make instances"));
}

#[tokio::test]
async fn an_instance_belongs_to_the_account_of_its_owner_if_that_is_known_to_be_theirs() {
    let life = TestPlatform::patient().sign_up(SignUp::Open).daemon().await;
    let alice = life.person(ALICE).await.account;
    let not_sure = startclaw_model::Account {
        id: startclaw_model::AccountId::new(),
        email: email("victim@example.com"),
        confirmed_at: None,
        ..alice.clone()
    };
    life.store.add_account(&not_sure, None, None).await.unwrap();
    for (text, owner, account) in
        [("one", "Alice@example.com", Some(&alice.id)), ("two", "victim@example.com", None)]
    {
        life.engine.provision(&admin(), request_for(text, owner), None).await.unwrap();
        let status = life.engine.status(&name(text)).await.unwrap();
        assert_eq!(status.account.as_ref(), account, "{owner}");
    }
}

#[tokio::test]
async fn a_deleted_account_goes_when_its_instances_are_gone() {
    let life = TestPlatform::patient().daemon().await;
    let session = life.person(ALICE).await;
    let alice = session.account.clone();
    life.accounts.set_quota(&admin(), alice.clone(), Some(room_for(2))).await.unwrap();
    life.live(&alice, "one").await;
    life.live(&alice, "two").await;
    life.engine.provision(&admin(), request_for("other", "bob"), None).await.unwrap();

    let me = Actor::account(&alice.id);
    life.accounts.delete(&me, alice.clone()).await.unwrap();
    assert!(life.authenticate(&session).await.is_none(), "at once");
    let again = life.sign_in(ALICE, PASSWORD, None, &home()).await;
    assert!(matches!(again, Err(AccountError::Refused)));
    assert_eq!(life.accounts.get(&alice.id).await.unwrap().state, AccountState::PendingDeletion);
    let resumed = life.accounts.suspend(&admin(), alice.clone(), false).await;
    assert!(
        matches!(resumed, Err(AccountError::Missing("account"))),
        "a deletion cannot be cancelled"
    );

    life.delete_pending_accounts();
    until("the account is gone", async || life.accounts.get(&alice.id).await.is_err()).await;
    let left: Vec<_> = life.engine.status_all().await.unwrap();
    assert_eq!(left.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["other"]);
    for gone in ["one", "two"] {
        let backups = life.engine.backups(&name(gone)).await.unwrap();
        assert_eq!(backups.len(), 1, "{gone} has a final backup");
    }
    // The address is free again, for an account that inherits nothing.
    let next = life.person(ALICE).await.account;
    assert_ne!(next.id, alice.id);
    assert_eq!(life.accounts.info(next).await.unwrap().usage.instances, 0);
}

#[tokio::test]
async fn a_daemon_that_ends_over_it_goes_on_with_it() {
    let platform = TestPlatform::patient();
    let life = platform.daemon().await;
    let alice = life.person(ALICE).await.account;
    life.live(&alice, "one").await;
    // The volume cannot be removed while this daemon runs.
    platform.host.set_faults(Faults::by(|_, step| match step {
        Some(Step::RemoveVolume) => Fault::FailBefore,
        _ => Fault::None,
    }));
    life.delete_pending_accounts();
    life.accounts.delete(&admin(), alice.clone()).await.unwrap();
    until("its removal has begun", async || {
        let newest = life.engine.operations(Some(&name("one")), 1).await.unwrap().remove(0);
        newest.kind.as_str() == "deprovision" && !newest.steps.is_empty()
    })
    .await;
    assert!(life.accounts.get(&alice.id).await.is_ok(), "not before its instances");
    life.end().await;
    platform.host.set_faults(Faults::default());

    let next = platform.daemon().await;
    next.delete_pending_accounts();
    until("the account is gone", async || next.accounts.get(&alice.id).await.is_err()).await;
    assert!(next.engine.status_all().await.unwrap().is_empty());
    let asked = next.engine.operations(Some(&name("one")), 10).await.unwrap();
    let removals = asked.iter().filter(|o| o.kind.as_str() == "deprovision").count();
    assert_eq!(removals, 1, "requested once");
}
