//! Values that requests are made of.

use startclaw_accounts::Origin;
use startclaw_engine::{ProvisionRequest, RestoreRequest};
use startclaw_model::{Actor, Email, Name, Owner, Quota, SnapshotChoice, TelegramAccess};

/// A request of an instance with this name, for `alice@example.com`.
pub fn request(text: &str) -> ProvisionRequest {
    request_for(text, "alice@example.com")
}

/// A request of an instance with this name and owner, without an account.
pub fn request_for(text: &str, owner: &str) -> ProvisionRequest {
    ProvisionRequest {
        name: name(text),
        owner: Owner::parse(owner).unwrap(),
        account: None,
        provider: None,
        api_key: None,
        telegram_bot_token: None,
        telegram_access: TelegramAccess::Pairing,
        version: None,
        limits: None,
    }
}

/// A restore of the newest backup to the instance itself.
pub fn restore_of(text: &str) -> RestoreRequest {
    RestoreRequest {
        name: name(text),
        instance: None,
        snapshot: SnapshotChoice::Latest,
        as_name: None,
    }
}

/// A name.
pub fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// An email address.
pub fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

/// The operator, at the Unix socket.
pub fn admin() -> Actor {
    Actor::socket(0)
}

/// A browser at home.
pub fn home() -> Origin {
    from("192.0.2.1")
}

/// A browser at this IP address.
pub fn from(address: &str) -> Origin {
    Origin { address: address.parse().unwrap(), device: "a browser".into() }
}

/// A quota for this many instances with default memory.
pub fn room_for(instances: u32) -> Quota {
    let memory_mib = u64::from(instances) * Quota::default().memory_mib;
    Quota { instances, memory_mib, ..Quota::default() }
}
