//! Access to every address of the portal, tried with every right but the required one.

use end_to_end::{
    Person,
    person::{PASSWORD, location},
};

use crate::town::{OWNER, Town};

/// An address of the portal.
struct Address {
    path: String,
    reads: bool,
    changes: bool,
    /// Requires the owner of something, or an admin.
    theirs: bool,
    /// Accessible without signing in.
    public: bool,
}

/// A form with the fields of all routes.
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

/// Tries all addresses, while the owner has this passkey.
pub async fn every_address_is_shut_to_others(town: &Town, passkey: &str) {
    let addresses = addresses(town, passkey);
    nothing_is_changed_from_another_origin(town, &addresses).await;
    nothing_of_others_is_seen_or_changed(town, &addresses).await;
    nobody_gets_anywhere_without_signing_in(town, &addresses).await;
}

/// All addresses of the portal, from the program's own table, with the owner's ids filled in.
fn addresses(town: &Town, passkey: &str) -> Vec<Address> {
    let table = include_str!("../../../crates/portal/src/router.rs");
    let found: Vec<_> = table
        .lines()
        .filter_map(|line| {
            let (path, methods) = line.trim().strip_prefix("(\"")?.split_once("\", ")?;
            let ids = &town.ids;
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

/// Sends every form from pages of other origins, with the cookie of an admin, who has all rights.
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

/// Tries everything of the owner's or for admins, with the cookie of another account.
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
            assert!(
                !text.contains(OWNER) && !text.contains(alice),
                "{path} reveals other accounts"
            );
        }
        if changes {
            assert_eq!(mallory.post(path, &FORM).await.status(), refused, "{path}");
        }
    }
    // Their own pages work, so the rejections have no other cause.
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
