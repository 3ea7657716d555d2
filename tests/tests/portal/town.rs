//! A platform with users, and the targets of an attacker.

use end_to_end::{
    Person, Platform,
    person::{PASSWORD, session_of},
};

use crate::OPEN;

pub const OWNER: &str = "owner@example.com";
pub const MALLORY: &str = "mallory@example.com";
pub const ADMIN: &str = "admin@example.com";
pub const USER: &str = "user@example.com";

/// Accounts, instances and other targets of an attacker.
pub struct Town {
    pub platform: Platform,
    /// Owns alice.
    pub owner: Person,
    /// Owns bob, and so controls the pages at its address.
    pub mallory: Person,
    pub admin: Person,
    /// Ids of the owner's operation, account, snapshot and session; and of an invitation.
    pub ids: Ids,
}

#[derive(Default)]
pub struct Ids {
    pub operation: String,
    pub account: String,
    pub snapshot: String,
    pub session: String,
    pub invitation: String,
}

impl Town {
    /// Starts the platform with all users; the instances are starting.
    pub async fn start(lot: u8) -> Self {
        // No Telegram responds, but tokens are checked anyway.
        let extra = format!("{OPEN}[instances]\ntelegram_api = \"http://127.0.0.1:9\"\n");
        let platform = Platform::start(lot, &[], &extra).await;
        let owner = Person::sign_up(&platform, OWNER).await;
        let mallory = Person::sign_up(&platform, MALLORY).await;
        let admin = Person::admin(&platform, ADMIN).await;
        Person::sign_up(&platform, USER).await;
        let operation = owner.make("alice").await;
        mallory.make("bob").await;
        Self { platform, owner, mallory, admin, ids: Ids { operation, ..Ids::default() } }
    }

    /// Waits until the targets exist, and records their ids.
    pub async fn find_ids(&mut self) {
        for name in ["alice", "bob"] {
            self.platform.becomes(name, "live").await;
        }
        let taken = self.platform.json(&["backup", "alice", "--json"]).await;
        self.ids.snapshot = taken["snapshot"].as_str().unwrap().to_owned();
        // A second session of the owner, which can be ended from the first.
        self.sign_in(OWNER, "").await;
        self.admin.post("/admin/invites", &[("email", ""), ("days", "7")]).await;
        let between = |found: Vec<String>, before: &str, after: &str| {
            let mut ids = found.iter().filter_map(|a| a.strip_prefix(before)?.strip_suffix(after));
            ids.next().unwrap_or_else(|| panic!("{before}ID{after} in {found:?}")).to_owned()
        };
        let account = self.owner.addresses("/account").await;
        self.ids.session = between(account, "/account/sessions/", "/end");
        let found = self.admin.addresses(&format!("/admin/accounts?q={OWNER}")).await;
        let theirs = found.into_iter().filter(|a| !a.contains('?')).collect();
        self.ids.account = between(theirs, "/admin/accounts/", "");
        let invites = self.admin.addresses("/admin/invites").await;
        self.ids.invitation = between(invites, "/admin/invites/", "/revoke");
    }

    /// Signs in with this cookie already set.
    pub async fn sign_in(&self, email: &str, cookie: &str) -> Person {
        let mut person = Person::nobody(&self.platform);
        person.cookie = cookie.to_owned();
        let form = [("email", email), ("password", PASSWORD)];
        let answer = person.post("/sign-in", &form).await;
        assert_eq!(answer.status(), 303, "{email}");
        person.cookie = session_of(&answer).unwrap();
        person
    }

    /// The state that an attack would change: all links and forms, and the run of alice.
    pub async fn traces(&self) -> Vec<String> {
        let mut all = vec![self.platform.run_of("alice")];
        for path in ["/account", "/instances", "/instances/alice"] {
            all.extend(self.owner.addresses(path).await);
        }
        let account = format!("/admin/accounts/{}", self.ids.account);
        for path in ["/admin", "/admin/accounts", "/admin/invites", "/admin/operations", &account] {
            all.extend(self.admin.addresses(path).await);
        }
        let (_, operations) = self.platform.api("GET", "/operations", None).await;
        let operations = operations["operations"].as_array().unwrap();
        all.extend(operations.iter().map(|o| o["id"].to_string()));
        all
    }
}
