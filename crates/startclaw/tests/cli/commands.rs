//! What works, and what is never printed.

use std::process::Command;

use crate::house::{House, startclaw};

const CANARY: &str = "sk-canary-4711";

#[test]
fn an_instance_lives_and_goes() {
    let house = House::new();
    let empty = house.run(&["status"]);
    assert!(empty.ok().contains("No instances yet"));

    let made = house.run(&["provision", "alice", "--owner", "alice@example.com", "--cpus", "2"]);
    assert!(made.ok().contains("alice is live at https://alice.claws.test after"), "{made:?}");
    assert!(made.err.contains("✓ volume"), "the steps are shown: {}", made.err);

    let list = house.run(&["status"]);
    assert!(list.ok().contains("alice@example.com") && list.out.contains("live"), "{list:?}");
    let full = house.run(&["status", "alice"]);
    assert!(full.ok().contains("2 CPUs"), "{full:?}");
    let json = house.run(&["--json", "status", "alice"]).json();
    assert_eq!(json["instances"][0]["state"], "live");

    assert!(house.run(&["restart", "alice"]).ok().contains("live again"));
    let later = house.run(&["restart", "alice", "--no-wait", "--json"]).json();
    assert_eq!(later["kind"], "restart");
    house.run(&["logs", "alice", "--tail", "3"]).ok();
    let link = house.run(&["open", "alice"]);
    assert!(link.ok().starts_with("https://alice.claws.test/.startclaw/enter?ticket="));
    assert_eq!(link.out.lines().count(), 1, "nothing but the link on stdout");
    assert!(house.run(&["open", "alice", "--json"]).json()["url"].is_string());
    assert!(house.run(&["operations", "alice"]).ok().contains("provision"));
    assert!(house.run(&["events"]).ok().contains("socket:uid="));
    assert!(house.run(&["--json", "events", "alice"]).json()["events"].is_array());

    let gone = house.run(&["deprovision", "alice", "--yes"]);
    assert!(gone.ok().contains("alice and its data are gone"));
    assert_eq!(house.run(&["status", "alice"]).code, 4);
}

#[test]
fn secrets_come_from_files_stdin_and_environment_and_are_never_printed() {
    let house = House::new();
    let key = house.file("key", &format!("{CANARY}\n"));
    let bot = house.file("bot", &format!("123:{CANARY}"));
    let mut seen = Vec::new();
    seen.push(house.run(&[
        "provision",
        "alice",
        "--provider",
        "anthropic",
        "--api-key-file",
        &key,
        "--telegram-token-file",
        &bot,
    ]));
    let stdin = ["provision", "bob", "--provider", "openai", "--api-key-stdin", "--json"];
    seen.push(house.run_with(&stdin, CANARY));
    seen.push(house.run_with(&["secrets", "set", "alice", "MY_KEY"], CANARY));
    seen.push(house.run(&["secrets", "set", "alice", "OTHER", "--file", &key]));
    let mut from_environment = startclaw();
    from_environment
        .env("THE_KEY", CANARY)
        .arg("--socket")
        .arg(house.socket())
        .args(["secrets", "set", "alice", "THIRD", "--env", "THE_KEY"]);
    seen.push(from_environment.output().unwrap().into());
    seen.push(house.run(&["secrets", "list", "alice"]));
    let names = seen.last().unwrap().ok().to_owned();
    for name in ["MODEL_API_KEY", "TELEGRAM_BOT_TOKEN", "MY_KEY", "OTHER", "THIRD"] {
        assert!(names.contains(name), "{names}");
    }
    seen.push(house.run(&["secrets", "remove", "alice", "OTHER"]));
    seen.push(house.run(&["status", "alice", "--json"]));
    seen.push(house.run(&["operations"]));
    seen.push(house.run(&["events"]));
    seen.push(house.run_with(&["secrets", "set", "nobody", "X"], CANARY));
    seen.push(house.run_with(&["secrets", "set", "alice", "TELEGRAM_BOT_TOKEN", "--json"], CANARY));
    for said in &seen {
        assert!(!said.out.contains(CANARY) && !said.err.contains(CANARY), "{said:?}");
    }
    assert_eq!(
        seen.iter().map(|s| s.code).collect::<Vec<_>>(),
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 2]
    );
}

#[test]
fn tokens_are_printed_once_and_revoked() {
    let house = House::new();
    let made = house.run(&["tokens", "create", "site", "--scope", "read,write", "--days", "9"]);
    let token = made.ok().trim().to_owned();
    assert!(token.starts_with("sclaw_") && !made.err.contains(&token));
    let list = house.run(&["tokens", "list"]);
    assert!(list.ok().contains("read,write") && !list.out.contains(&token));
    let id = house.run(&["--json", "tokens", "list"]).json()["tokens"][0]["id"].clone();
    house.run(&["tokens", "revoke", id.as_str().unwrap()]).ok();
    assert!(house.run(&["tokens", "list"]).ok().contains("No tokens yet"));
}

#[test]
fn accounts_are_made_changed_and_deleted() {
    let house = House::new();
    assert!(house.run(&["accounts", "list"]).ok().contains("No accounts yet"));
    let made = house.run(&["accounts", "create", "Root@example.com", "--admin"]);
    assert!(made.ok().starts_with("https://claws.test/reset/"), "{made:?}");
    assert_eq!(made.out.lines().count(), 1, "nothing but the link on stdout");
    assert!(made.err.contains("root@example.com sets a password"), "{made:?}");
    assert!(!made.err.contains(made.out.trim()), "{made:?}");
    let alice = "alice@example.com";
    let json = house.run(&["--json", "accounts", "create", alice]).json();
    assert!(json["link"]["url"].as_str().unwrap().starts_with("https://claws.test/reset/"));
    let link = house.run(&["accounts", "link", alice]);
    assert!(link.ok().starts_with("https://claws.test/reset/"));

    house.run(&["provision", "alice", "--owner", alice]).ok();
    house.run(&["provision", "other"]).ok();
    assert!(house.run(&["accounts", "give", alice, "other"]).ok().contains("has other now"));
    let more = ["accounts", "quota", alice, "--instances", "3", "--memory", "6144"];
    assert!(house.run(&more).ok().contains("3 instances with 6144 MiB of memory and 10240 MiB"));
    let list = house.run(&["accounts", "list"]);
    for shown in ["root@example.com", "active", "2/3", "4096/6144 MiB", "0/10240 MiB", "never"] {
        assert!(list.ok().contains(shown), "{shown}: {list:?}");
    }
    let usual = house.run(&["--json", "accounts", "quota", alice, "--usual"]).json();
    assert_eq!(usual["own_quota"], false);

    assert!(house.run(&["accounts", "suspend", alice]).ok().contains("cannot sign in any more"));
    assert!(house.run(&["accounts", "list"]).ok().contains("suspended"));
    assert!(house.run(&["accounts", "resume", alice]).ok().contains("can sign in again"));
    assert!(house.run(&["accounts", "admin", alice]).ok().contains("is an admin now"));
    assert!(house.run(&["accounts", "admin", alice, "--remove"]).ok().contains("no admin"));

    let asked = house.run(&["accounts", "delete", alice]);
    assert!(
        asked.err.contains("and 2 instances, after a last backup") && asked.err.contains("--yes")
    );
    let gone = house.run(&["accounts", "delete", alice, "--yes"]);
    assert!(
        gone.ok().contains("its 2 instances go first, after a last backup of each"),
        "{gone:?}"
    );
    for _ in 0..1000 {
        if !house.run(&["accounts", "list"]).ok().contains(alice) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(!house.run(&["accounts", "list"]).ok().contains(alice));
    assert!(house.run(&["status"]).ok().contains("No instances yet"));
}

#[test]
fn invitations_are_printed_once_and_taken_back() {
    let house = House::new();
    let made = house.run(&["accounts", "invite", "bob@example.com", "--days", "2"]);
    let link = made.ok().trim().to_owned();
    assert!(link.starts_with("https://claws.test/invite/"), "{made:?}");
    assert!(made.err.contains("bob@example.com makes one account"), "{made:?}");
    house.run(&["accounts", "invite"]).ok();
    let list = house.run(&["accounts", "invitations"]);
    assert!(list.ok().contains("bob@example.com") && list.out.contains("anybody"), "{list:?}");
    assert!(!list.out.contains(link.rsplit('/').next().unwrap()));
    let all = house.run(&["--json", "accounts", "invitations"]).json();
    for invitation in all["invitations"].as_array().unwrap() {
        house.run(&["accounts", "revoke", invitation["id"].as_str().unwrap()]).ok();
    }
    assert!(house.run(&["accounts", "invitations"]).ok().contains("No invitations"));
}

#[test]
fn doctor_tells_what_it_found() {
    let house = House::new();
    let said = house.run(&["doctor"]);
    assert!(said.ok().contains("daemon") && said.out.contains("database"), "{said:?}");
    assert!(house.run(&["doctor", "--json"]).json()["findings"].is_array());
}

#[test]
fn what_needs_no_daemon_works_without() {
    let house = House::new();
    assert!(house.run(&["completions", "bash"]).ok().contains("provision"));
    assert!(house.run(&["reference"]).ok().contains("# Configuration"));
    let file = house.file("c.toml", "[edge]\ndomain = \"claws.example\"\n");
    let shown = house.run(&["config", "--config", &file]);
    assert!(shown.ok().contains("domain = \"claws.example\""), "{shown:?}");
    // What is printed is a configuration file itself.
    let again = house.file("again.toml", &shown.out);
    assert_eq!(house.run(&["config", "--config", &again]).ok(), shown.out);
    assert!(house.run(&["caddyfile", "--config", &file]).ok().contains("claws.example"));
    let place = house.folder.path().join("Caddyfile");
    let file = house.file("d.toml", &format!("caddyfile = {place:?}"));
    assert!(house.run(&["caddyfile", "--write", "--config", &file]).ok().contains("restart Caddy"));
    assert!(house.run(&["caddyfile", "--write", "--config", &file]).ok().contains("as it should"));
}

#[test]
fn whoever_stops_reading_does_no_harm() {
    let binary = env!("CARGO_BIN_EXE_startclaw");
    let script = format!("{binary} completions bash | head -1 >/dev/null; exit ${{PIPESTATUS[0]}}");
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
