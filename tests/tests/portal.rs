//! The pages that people see, in a real browser: the whole way of a user and of an admin, and what
//! an attacker tries who has an account and a subdomain.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use end_to_end::{
    Person, Platform, browser, fake,
    person::{PASSWORD, location, session_of},
    platform::is_real,
    until,
};
use reqwest::header;
use serde_json::{Value, json};

const MODEL_KEY: &str = "sk-canary-5d6e7f";
const BOT_TOKEN: &str = "777777:AAE-canary-1c2d3e";
const ANSWER: Duration = Duration::from_secs(90);
/// Bytes of scripts and styles that a page may send.
const HEAVY: u64 = 60_000;

/// Whoever signs up there may.
const OPEN: &str = "[accounts]\nsign_up = \"open\"\n\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_new_user_signs_up_sees_it_come_alive_looks_after_it_and_leaves() {
    if !is_real() {
        return;
    }
    let model = fake::model::Model::start(MODEL_KEY).await;
    let telegram = fake::telegram::Telegram::start(BOT_TOKEN).await;
    let extra = format!("{OPEN}[instances]\ntelegram_api = \"{}\"\n", telegram.api_root());
    let platform = Platform::start(14, &[model.address(), telegram.address()], &extra).await;
    let parameters = json!({
        "site": platform.site(), "origin": platform.origin("alice"),
        "email": "alice@example.com", "password": PASSWORD,
        "baseUrl": model.base_url(), "key": MODEL_KEY, "token": BOT_TOKEN,
    });
    // Says a word to the bot, waits for the answer, and gives the conversation that the model saw.
    let say = async |ask: Value| {
        let word = ask["say"].as_str().unwrap();
        let (update, answer) =
            (telegram.update(&format!("repeat {word}")), format!("echo: {word}"));
        until("an update is accepted", ANSWER, async || {
            let webhook = telegram.webhook()?;
            let request = platform.client().post(&webhook.url).json(&update);
            let request = request.header("x-telegram-bot-api-secret-token", &webhook.secret);
            request.send().await.ok()?.status().is_success().then_some(())
        })
        .await;
        until("the answer arrives at Telegram", ANSWER, async || {
            telegram.sent().contains(&answer).then_some(())
        })
        .await;
        json!(model.last())
    };
    let seen = browser::run_with(&platform, "portal-user", parameters, say).await;

    assert_eq!(seen["steps"], json!(["Step 1 of 3", "Step 2 of 3", "Step 3 of 3"]));
    assert_eq!(seen["name"], "alice", "names are small letters");
    assert_eq!(seen["nameAnswer"], format!("alice.{} is free.", platform.domain()));
    assert_eq!(seen["keyAnswer"], "The key works.");
    assert_eq!(seen["telegramAnswer"], "This is @claw_bot.");
    for what in ["provision", "restart", "backup", "restore"] {
        let way = &seen[what];
        assert!(way["changes"].as_u64() >= Some(2), "{what} was seen as it went: {way:#}");
        assert_eq!(way["reloaded"], false, "{what}");
        println!("{what}: {} s, seen to change {} times", way["seconds"], way["changes"]);
        assert_eq!(way["shift"].as_f64(), Some(0.0), "nothing jumped during {what}: {way:#}");
    }
    assert_eq!(seen["connected"], true, "{seen:#}");
    let text = seen["text"].as_str().unwrap().to_lowercase();
    assert!(!text.contains("pairing required") && !text.contains("gateway token"), "{text}");
    let keys = seen["keys"].to_string();
    assert!(!keys.contains("canary") && keys.contains("set "), "keys are never shown: {keys}");
    let restored = seen["restored"].as_str().unwrap();
    assert!(restored.contains("pelicans"), "it remembers what was said before the backup");
    assert!(!restored.contains("herons"), "and not what was said after it");
    assert_eq!((&seen["before"], &seen["after"]), (&json!(200), &json!(401)), "both sessions end");
    assert_eq!(seen["home"], "/sign-in");
    assert_eq!(seen["shift"].as_f64(), Some(0.0));
    assert_eq!(seen["liveFaults"], json!([]), "{:#}", seen["liveFaults"]);
    assert_eq!(seen["faults"], json!([]), "{:#}", seen["faults"]);
    assert!(seen["liveWeight"].as_u64() < Some(HEAVY), "{}", seen["liveWeight"]);
    println!("first paint of the front page: {} ms", seen["firstPaint"]);
    println!("scripts and styles of the operation page: {} bytes", seen["liveWeight"]);
}

/// Accounts, instances and what else an attacker could be after.
struct Town {
    platform: Platform,
    /// Has alice.
    owner: Person,
    /// Has bob, and so the pages at its address.
    mallory: Person,
    /// An admin.
    admin: Person,
    /// Owner's: an operation, an account, a snapshot, a session; and an invitation.
    ids: Ids,
}

#[derive(Default)]
struct Ids {
    operation: String,
    account: String,
    snapshot: String,
    session: String,
    invitation: String,
}

const OWNER: &str = "owner@example.com";
const MALLORY: &str = "mallory@example.com";
const ADMIN: &str = "admin@example.com";
const USER: &str = "user@example.com";

#[tokio::test(flavor = "multi_thread")]
async fn everybody_finds_what_is_theirs_and_nobody_gets_at_what_is_not() {
    if !is_real() {
        return;
    }
    let platform = Platform::start(15, &[], OPEN).await;
    let (owner, mallory) =
        (Person::sign_up(&platform, OWNER).await, Person::sign_up(&platform, MALLORY).await);
    let admin = Person::admin(&platform, ADMIN).await;
    Person::sign_up(&platform, USER).await;
    let operation = owner.make("alice").await;
    mallory.make("bob").await;
    let mut town =
        Town { platform, owner, mallory, admin, ids: Ids { operation, ..Ids::default() } };

    let clock = std::time::Instant::now();
    let lap = |what: &str| println!("{what}: after {:.1} s", clock.elapsed().as_secs_f64());
    an_admin_sees_all_and_looks_after_people(&town).await;
    lap("the admin");
    town.find_ids().await;
    lap("live and backed up");
    a_passkey_opens_the_account_until_it_is_removed(&town).await;
    lap("passkeys and what is not theirs");
    a_session_cannot_be_planted_and_ends_when_it_is_replaced(&town).await;
    one_is_sent_to_pages_of_ours_only(&town).await;
    a_ticket_works_once_at_its_own_instance_and_while_its_session_lasts(&town).await;
    a_tenants_pages_get_nothing_and_change_nothing(&town).await;
    lap("attacks");
    every_page_is_accessible_light_and_within_its_policy(&town).await;
    lap("pages");
}

impl Town {
    /// Waits until there is something to be after, and notes what it is called.
    async fn find_ids(&mut self) {
        for name in ["alice", "bob"] {
            self.platform.becomes(name, "live").await;
        }
        let taken = self.platform.json(&["backup", "alice", "--json"]).await;
        self.ids.snapshot = taken["snapshot"].as_str().unwrap().to_owned();
        // A second session of the owner's, that can be ended from the first.
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

    /// Signs somebody in who has this cookie already.
    async fn sign_in(&self, email: &str, cookie: &str) -> Person {
        let mut person = Person::nobody(&self.platform);
        person.cookie = cookie.to_owned();
        let form = [("email", email), ("password", PASSWORD)];
        let answer = person.post("/sign-in", &form).await;
        assert_eq!(answer.status(), 303, "{email}");
        person.cookie = session_of(&answer).unwrap();
        person
    }

    /// All addresses of the pages, from the program's own table, with the owner's ids in them.
    fn addresses(&self, passkey: &str) -> Vec<Address> {
        let table = include_str!("../../crates/portal/src/router.rs");
        let found: Vec<_> = table
            .lines()
            .filter_map(|line| {
                let (path, methods) = line.trim().strip_prefix("(\"")?.split_once("\", ")?;
                let ids = &self.ids;
                let id = match path.split('/').nth(2) {
                    Some("passkeys") => passkey,
                    Some("sessions") => &ids.session,
                    Some("accounts") => &ids.account,
                    Some("invites") => &ids.invitation,
                    _ => &ids.operation,
                };
                let filled = path
                    .replace("{name}", "alice")
                    .replace("{snapshot}", &ids.snapshot)
                    .replace("{id}", id)
                    .replace("{what}", "suspend")
                    .replace("{file}", "app.css")
                    .replace("{token}", "none");
                Some(Address {
                    theirs: path.starts_with("/admin")
                        || ["{name}", "{id}"].iter().any(|id| path.contains(id)),
                    public: [
                        "/assets",
                        "/sign-in",
                        "/sign-up",
                        "/invite/",
                        "/reset",
                        "/confirm",
                        "/passkeys",
                    ]
                    .iter()
                    .any(|open| path.starts_with(open))
                        || path == "/",
                    path: filled,
                    reads: methods.contains("get("),
                    changes: methods.contains("post("),
                })
            })
            .collect();
        assert!(found.len() > 40, "the table is read: {}", found.len());
        found
    }

    /// What an attack would change: all that can be followed or pressed, and the run of alice.
    async fn traces(&self) -> Vec<String> {
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

/// An address of the pages.
struct Address {
    path: String,
    reads: bool,
    changes: bool,
    /// It is about something of the owner's, or for admins.
    theirs: bool,
    /// Whoever is not signed in may go there.
    public: bool,
}

/// A form with everything that any of them asks for.
const FORM: [(&str, &str); 9] = [
    ("name", "alice"),
    ("secret", "MODEL_API_KEY"),
    ("value", "sk-planted"),
    ("email", "planted@example.com"),
    ("days", "7"),
    ("current", PASSWORD),
    ("password", "planted planted"),
    ("instances", "99"),
    ("provider", "none"),
];

async fn an_admin_sees_all_and_looks_after_people(town: &Town) {
    let seen = browser::run(
        &town.platform,
        "portal-admin",
        json!({
            "site": town.platform.site(), "admin": ADMIN, "user": USER, "guest": "guest@example.com",
            "password": PASSWORD, "newPassword": PASSWORD.to_uppercase(),
        }),
    )
    .await;
    assert_eq!(seen["all"], json!(["alice", "bob"]));
    assert_eq!(seen["found"], json!(["bob"]));
    assert!(seen["foundAt"].as_str().unwrap().contains("q=bo"), "{}", seen["foundAt"]);
    assert_eq!(seen["sorted"], json!([["bob", "alice"], ["alice", "bob"]]), "by owner");
    assert_eq!(seen["headings"], json!(["Operations", "Machine", "Alerts", "Accounts"]));
    assert_eq!(seen["suspended"], "/sign-in", "a suspended account's session is over");
    assert!(seen["keptOut"].as_str().unwrap().contains("suspended"), "{}", seen["keptOut"]);
    assert_eq!(seen["again"], "/instances");
    assert_eq!(seen["othersOut"], "/sign-in", "a new password ends other sessions");
    assert_eq!(seen["resetTwice"], 404);
    assert_eq!(seen["invitedTwice"], "You need an invitation");
    assert_eq!(seen["shownOnce"], false, "a link is not shown again");
    assert_eq!(seen["faults"], json!([]));
}

async fn a_passkey_opens_the_account_until_it_is_removed(town: &Town) {
    let parameters = json!({ "site": town.platform.site(), "email": OWNER, "password": PASSWORD });
    // While it is there, it is one more thing to be after.
    let attack = async |ask: Value| {
        let action = ask["attack"].as_str().unwrap();
        let id = action.trim_start_matches("/account/passkeys/").trim_end_matches("/remove");
        let (addresses, before) = (town.addresses(id), town.traces().await);
        assert!(before.iter().any(|a| a == action), "the traces tell of a passkey: {before:?}");
        nothing_is_changed_from_another_origin(town, &addresses).await;
        nothing_of_others_is_seen_or_changed(town, &addresses).await;
        nobody_gets_anywhere_without_signing_in(town, &addresses).await;
        assert_eq!(town.traces().await, before, "nothing was changed");
        json!(null)
    };
    let seen = browser::run_with(&town.platform, "portal-passkeys", parameters, attack).await;
    assert_eq!((&seen["first"], &seen["second"]), (&json!("/account"), &json!("/account")));
    assert_eq!(seen["gone"], true);
    assert!(seen["third"].as_str().unwrap().contains("not known here"), "{}", seen["third"]);
}

/// Every form, sent by pages of other origins, with the cookie of an admin, who may do it all.
async fn nothing_is_changed_from_another_origin(town: &Town, addresses: &[Address]) {
    let (site, evil) = (town.platform.site(), town.platform.origin("bob"));
    let plain = site.replace("https:", "http:");
    let ways: [&[(&str, &str)]; 7] = [
        &[],
        &[("origin", "null")],
        &[("origin", &evil)],
        &[("origin", &evil), ("sec-fetch-site", "same-site")],
        &[("origin", &site), ("sec-fetch-site", "same-site")],
        &[("origin", &site), ("sec-fetch-site", "cross-site")],
        &[("origin", &plain)],
    ];
    for address in addresses.iter().filter(|a| a.changes) {
        for way in ways {
            let answer = town.admin.post_with(&address.path, &FORM, way).await;
            assert_eq!(answer.status(), 403, "{} from {way:?}", address.path);
        }
    }
}

/// Everything that is the owner's or for admins, with the cookie of somebody else.
async fn nothing_of_others_is_seen_or_changed(town: &Town, addresses: &[Address]) {
    let mallory = &town.mallory;
    let (alice, snapshot) = ("/instances/alice", &town.ids.snapshot);
    let own = format!("/instances/bob/restore/{snapshot}");
    let theirs = addresses.iter().filter(|a| a.theirs);
    let all = theirs.map(|a| (a.path.as_str(), a.reads, a.changes)).chain([(&*own, true, true)]);
    for (path, reads, changes) in all {
        let refused = if path.starts_with("/admin") { 403 } else { 404 };
        if reads {
            let answer = mallory.get(path).await;
            assert_eq!(answer.status(), refused, "{path}");
            let text = answer.text().await.unwrap();
            assert!(!text.contains(OWNER) && !text.contains(alice), "{path} tells of others");
        }
        if changes {
            assert_eq!(mallory.post(path, &FORM).await.status(), refused, "{path}");
        }
    }
    // What is their own answers: it was not for another reason.
    for path in ["/instances/bob", "/instances/bob/logs", "/account"] {
        assert_eq!(mallory.get(path).await.status(), 200, "{path}");
    }
}

async fn nobody_gets_anywhere_without_signing_in(town: &Town, addresses: &[Address]) {
    let nobody = Person::nobody(&town.platform);
    for address in addresses {
        let path = &address.path;
        if address.reads {
            let answer = nobody.get(path).await;
            let headers = answer.headers();
            assert!(!headers.contains_key("access-control-allow-origin"), "{path}");
            assert_eq!(headers["x-frame-options"], "DENY", "{path}");
            let policy = headers["content-security-policy"].to_str().unwrap();
            assert!(
                policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
                "{path}"
            );
            if !address.public {
                assert_eq!(answer.status(), 303, "{path}");
                assert!(location(&answer).starts_with("/sign-in"), "{path}");
            }
        }
        if address.changes && !address.public {
            let answer = nobody.post(path, &FORM).await;
            assert_eq!(
                (answer.status().as_u16(), &*location(&answer)),
                (303, "/sign-in"),
                "{path}"
            );
        }
    }
}

async fn a_session_cannot_be_planted_and_ends_when_it_is_replaced(town: &Town) {
    let planted = "__Host-startclaw=planted";
    let form = [("email", OWNER), ("password", PASSWORD)];
    let mut lured = Person::nobody(&town.platform);
    lured.cookie = planted.to_owned();
    let answer = lured.post("/sign-in", &form).await;
    let set = answer.headers().get_all(header::SET_COOKIE).iter().map(|c| c.to_str().unwrap());
    for cookie in set {
        let has = |part: &str| cookie.split("; ").any(|p| p == part);
        assert!(has("Secure") && has("HttpOnly") && has("Path=/"), "{cookie}");
        assert!(cookie.starts_with("__Host-") && !cookie.contains("Domain"), "{cookie}");
        assert!(has("SameSite=Lax") || has("SameSite=Strict"), "{cookie}");
    }
    assert_ne!(session_of(&answer).unwrap(), planted);
    let is_in = async |person: &Person| person.get("/account").await.status() == 200;
    assert!(!is_in(&lured).await);

    let first = town.sign_in(OWNER, "").await;
    let second = town.sign_in(OWNER, &first.cookie).await;
    assert!(is_in(&second).await && !is_in(&first).await, "the new session takes its place");
    assert_eq!(second.post("/sign-out", &[]).await.status(), 303);
    assert!(!is_in(&second).await);
}

async fn one_is_sent_to_pages_of_ours_only(town: &Town) {
    for evil in [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "/\tevil",
        "/\r\nset-cookie: a=b",
        "@evil.example",
        ".evil.example",
    ] {
        let form = [("email", OWNER), ("password", PASSWORD), ("next", evil)];
        let answer = Person::nobody(&town.platform).post("/sign-in", &form).await;
        assert_eq!(
            (answer.status().as_u16(), &*location(&answer)),
            (303, "/instances"),
            "{evil:?}"
        );
        let query: String = evil.bytes().map(|b| format!("%{b:02x}")).collect();
        let answer = town.owner.get(&format!("/sign-in?next={query}")).await;
        assert_eq!(
            (answer.status().as_u16(), &*location(&answer)),
            (303, "/instances"),
            "{evil:?}"
        );
    }
    let answer = town.owner.get("/sign-in?next=/instances/alice").await;
    assert_eq!(location(&answer), "/instances/alice");
}

async fn a_ticket_works_once_at_its_own_instance_and_while_its_session_lasts(town: &Town) {
    let platform = &town.platform;
    let ticket = async |person: &Person| {
        let opened = person.post("/instances/alice/open", &[]).await;
        assert_eq!(opened.status(), 303);
        let to = location(&opened);
        assert!(to.starts_with(&format!("{}/.startclaw/enter?", platform.origin("alice"))), "{to}");
        to.split_once("ticket=").unwrap().1.to_owned()
    };
    let enter = async |name: &str, ticket: &str| {
        let request = platform.client().post(format!("{}/.startclaw/enter", platform.origin(name)));
        let request = request
            .header("origin", platform.origin(name))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("ticket={ticket}"));
        request.send().await.unwrap()
    };
    let one = ticket(&town.owner).await;
    assert_eq!(enter("bob", &one).await.status(), 403, "at another instance");
    let entered = enter("alice", &one).await;
    assert_eq!(entered.status(), 303);
    assert_eq!(enter("alice", &one).await.status(), 403, "twice");
    // A session of an instance is none of the portal's, nor the other way round.
    let mut inside = Person::nobody(platform);
    inside.cookie = session_of(&entered).unwrap();
    assert_eq!(platform.page("alice", &inside.cookie).await, Some(200));
    assert_eq!(inside.get("/account").await.status(), 303);
    assert_eq!(platform.page("bob", &inside.cookie).await, Some(401));
    assert_eq!(platform.page("alice", &town.owner.cookie).await, Some(401));

    let brief = town.sign_in(OWNER, "").await;
    let late = ticket(&brief).await;
    brief.post("/sign-out", &[]).await;
    assert_eq!(enter("alice", &late).await.status(), 403, "after its session");
}

async fn a_tenants_pages_get_nothing_and_change_nothing(town: &Town) {
    let evil = town.platform.origin("bob");
    // The sessions of the browser come and go: what they could change is elsewhere.
    let run = town.platform.run_of("alice");
    let operations = town.platform.api("GET", "/operations", None).await.1;
    let seen = browser::run(
        &town.platform,
        "portal-attacks",
        json!({ "site": town.platform.site(), "evil": evil, "email": OWNER, "password": PASSWORD }),
    )
    .await;
    assert!(!seen["cookie"].to_string().contains("startclaw"), "{}", seen["cookie"]);
    assert_eq!(seen["read"], "refused");
    assert_eq!((&seen["kept"], &seen["stillIn"]), (&json!(true), &json!("/account")));
    assert_eq!(seen["fixed"], false, "a planted session is not taken");
    assert_eq!(seen["posted"], json!([403, 403, 403]));
    assert_eq!(seen["fetched"], "refused", "not even the answer's kind is told");
    assert_eq!(seen["afterPosts"], "/account", "nobody was signed out");
    assert_eq!(seen["framed"], "chrome-error://chromewebdata/");
    assert_eq!(town.platform.run_of("alice"), run);
    assert_eq!(town.platform.api("GET", "/operations", None).await.1, operations);
}

async fn every_page_is_accessible_light_and_within_its_policy(town: &Town) {
    let Ids { operation, account, snapshot, .. } = &town.ids;
    let reset = town.admin.post(&format!("/admin/accounts/{account}/reset-link"), &[]).await;
    let reset = reset.text().await.unwrap();
    let token = reset.split("/reset/").nth(1).unwrap().split(['<', '"']).next().unwrap();
    let invite = town.admin.post("/admin/invites", &[("email", ""), ("days", "7")]).await;
    let invite = invite.text().await.unwrap();
    let invite = invite.split("/invite/").nth(1).unwrap().split(['<', '"']).next().unwrap();
    let restore = format!("/instances/alice/restore/{snapshot}");
    let operation = format!("/operations/{operation}");
    let account = format!("/admin/accounts/{account}");
    let (invite, reset) = (format!("/invite/{invite}"), format!("/reset/{token}"));
    let seen = browser::run(
        &town.platform,
        "portal-pages",
        json!({ "site": town.platform.site(), "password": PASSWORD, "people": [
            { "pages": ["/", "/sign-in", "/sign-up", "/reset", invite, reset, "/reset/none", "/nowhere"] },
            { "email": OWNER, "pages": [
                "/instances", "/account", "/account/delete", "/new", operation, restore,
                "/instances/alice", "/instances/alice/logs", "/instances/alice/remove",
            ] },
            { "email": "guest@example.com", "pages": ["/instances", "/new"] },
            { "email": ADMIN, "pages": [
                "/admin", "/admin/machine", "/admin/operations", "/admin/accounts", account,
                "/admin/invites", "/admin/alerts", "/instances/alice",
            ] },
        ] }),
    )
    .await;
    let pages = seen.as_array().unwrap();
    let faulty: Vec<_> = pages.iter().filter(|p| p["faults"] != json!([])).collect();
    assert!(faulty.is_empty(), "{faulty:#?}");
    for page in pages {
        println!("{}: {} bytes, painted after {} ms", page["page"], page["weight"], page["paint"]);
        assert!(page["weight"].as_u64() < Some(HEAVY), "{page}");
    }
}

/// Neither the status nor the text tells who has an account; how long it takes is printed.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_who_has_an_account() {
    if !is_real() {
        return;
    }
    // Mail that nobody takes: to ask for it looks the same.
    let extra = format!(
        "{OPEN}[accounts.mail]\nserver = \"smtp+plain://127.0.0.1:9\"\nfrom = \"claws@example.com\"\n"
    );
    let platform = Platform::start(16, &[], &extra).await;
    Person::sign_up(&platform, OWNER).await;
    let nobody = Person::nobody(&platform);
    for (path, tries) in [("/sign-in", 7), ("/reset", 4)] {
        let mut seen = Vec::new();
        for email in [OWNER, "other@example.com"] {
            let (mut answers, mut times) = (Vec::new(), Vec::new());
            for _ in 0..tries {
                let clock = std::time::Instant::now();
                let form = [("email", email), ("password", "some other words")];
                let answer = nobody.post(path, &form).await;
                let (status, headers) = (answer.status(), answer.headers().len());
                let text = answer.text().await.unwrap().replace(email, "EMAIL");
                times.push(clock.elapsed());
                answers.push((status, headers, text));
            }
            times.sort();
            println!("{path} as {email}: {:.1} ms", times[tries / 2].as_secs_f64() * 1000.0);
            seen.push(answers);
        }
        assert_eq!(seen[0], seen[1], "{path}");
    }
}

/// Makes the pictures that the README shows; `script/screenshots` runs it.
#[tokio::test(flavor = "multi_thread")]
async fn pictures_of_the_main_pages() {
    let Some(folder) = std::env::var_os("STARTCLAW_SCREENSHOTS").filter(|_| is_real()) else {
        return;
    };
    let model = fake::model::Model::start(MODEL_KEY).await;
    let telegram = fake::telegram::Telegram::start(BOT_TOKEN).await;
    let extra = format!("{OPEN}[instances]\ntelegram_api = \"{}\"\n", telegram.api_root());
    let platform = Platform::start(17, &[model.address(), telegram.address()], &extra).await;
    Person::admin(&platform, ADMIN).await;
    for name in ["bob", "carol"] {
        Person::sign_up(&platform, &format!("{name}@example.com")).await.make(name).await;
        platform.becomes(name, "live").await;
    }
    let parameters = json!({
        "site": platform.site(), "admin": ADMIN, "email": "alice@example.com", "password": PASSWORD,
        "baseUrl": model.base_url(), "key": MODEL_KEY, "token": BOT_TOKEN,
        "folder": std::path::Path::new(&folder),
    });
    browser::run(&platform, "portal-pictures", parameters).await;
}
