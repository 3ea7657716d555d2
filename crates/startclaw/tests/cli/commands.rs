//! Commands, and secrets that are never printed.

use std::process::Command;

use startclaw_testkit::until_blocking;

use crate::test_platform::{CommandOutput, TestPlatform, away_from_here, startclaw};

const CANARY: &str = "sk-canary-4711";

#[test]
fn an_instance_lives_and_goes() {
    let platform = TestPlatform::new();
    let empty = platform.run(&["status"]);
    assert!(empty.ok().contains("No instances yet"));

    let made = platform.run(&["provision", "alice", "--owner", "alice@example.com", "--cpus", "2"]);
    assert!(made.ok().contains("alice is live at https://alice.claws.test after"), "{made:?}");
    assert!(made.err.contains("✓ volume"), "the steps are shown: {}", made.err);

    let list = platform.run(&["status"]);
    assert!(list.ok().contains("alice@example.com") && list.out.contains("live"), "{list:?}");
    let full = platform.run(&["status", "alice"]);
    assert!(full.ok().contains("2 CPUs"), "{full:?}");
    let json = platform.run(&["--json", "status", "alice"]).json();
    assert_eq!(json["instances"][0]["state"], "live");

    assert!(platform.run(&["restart", "alice"]).ok().contains("live again"));
    let later = platform.run(&["restart", "alice", "--no-wait", "--json"]).json();
    assert_eq!(later["kind"], "restart");
    platform.run(&["logs", "alice", "--tail", "3"]).ok();
    let link = platform.run(&["open", "alice"]);
    assert!(link.ok().starts_with("https://alice.claws.test/.startclaw/enter?ticket="));
    assert_eq!(link.out.lines().count(), 1, "nothing but the link on stdout");
    assert!(platform.run(&["open", "alice", "--json"]).json()["url"].is_string());
    assert!(platform.run(&["operations", "alice"]).ok().contains("provision"));
    assert!(platform.run(&["events"]).ok().contains("socket:uid="));
    assert!(platform.run(&["--json", "events", "alice"]).json()["events"].is_array());

    let gone = platform.run(&["deprovision", "alice", "--yes"]);
    assert!(gone.ok().contains("alice and its data are gone"));
    assert_eq!(platform.run(&["status", "alice"]).code, 4);
}

#[test]
fn the_backups_of_an_instance_that_is_gone_are_deleted() {
    let platform = TestPlatform::new();
    platform.run(&["provision", "alice"]).ok();
    let early = platform.run(&["backups", "purge", "alice", "--yes"]);
    assert!(early.code == 6 && early.err.contains("alice exists"), "{early:?}");
    platform.run(&["deprovision", "alice", "--yes"]).ok();
    let late = platform.run(&["deprovision", "alice", "--purge", "--yes"]);
    assert!(late.code == 4 && late.err.contains("startclaw backups erase alice"), "{late:?}");
    platform.run(&["backups", "alice"]).ok();
    assert_eq!(platform.run(&["backups", "erase", "alice"]).code, 5, "it was not confirmed");
    let purged = platform.run(&["backups", "erase", "alice", "--yes"]);
    assert!(purged.ok().contains("backups of alice are deleted"), "{purged:?}");
    assert_eq!(platform.run(&["backups", "alice"]).code, 4);
    assert!(platform.run(&["alerts"]).ok().contains("No alerts."));
    assert!(platform.run(&["alerts", "--json"]).json()["alerts"].is_array());
}

#[test]
fn the_backups_of_all_removed_instances_of_an_account_are_erased() {
    let platform = TestPlatform::new();
    for (name, owner) in
        [("alice", "a@x.org"), ("alice-2", "A@x.org"), ("bob", "b@x.org"), ("carol", "a@x.org")]
    {
        platform.run(&["provision", name, "--owner", owner]).ok();
    }
    platform.run(&["backup", "carol"]).ok();
    for name in ["alice", "alice-2", "bob"] {
        platform.run(&["deprovision", name, "--yes"]).ok();
    }
    let erase = |more: &[&str]| {
        platform.run(&[&["backups", "erase", "--account", "a@x.org"], more].concat())
    };
    let unconfirmed = erase(&[]);
    assert_eq!(unconfirmed.code, 5, "{unconfirmed:?}");
    for line in ["alice: 1 backups, removed", "alice-2: 1 backups, removed", "this deletes all"] {
        assert!(unconfirmed.err.contains(line), "{line}: {unconfirmed:?}");
    }
    assert!(!unconfirmed.err.contains("bob"), "{unconfirmed:?}");
    assert!(erase(&["--yes"]).ok().contains("2 backups of a@x.org are deleted"));
    assert_eq!(platform.run(&["backups", "alice"]).code, 4);
    platform.run(&["backups", "bob"]).ok();
    platform.run(&["backups", "carol"]).ok();
    let again = erase(&["--yes", "--json"]).json();
    assert_eq!((again["deleted"].as_u64(), again["pending"].as_u64()), (Some(0), Some(0)));
}

#[test]
fn an_instance_that_is_named_like_a_command_has_backups_too() {
    let platform = TestPlatform::new();
    platform.run(&["provision", "rescan"]).ok();
    platform.run(&["backup", "rescan"]).ok();
    let listed = platform.run(&["backups", "--json", "--", "rescan"]).json();
    assert_eq!(listed["backups"][0]["name"], "rescan");
    let why = platform.run(&["backups", "--why", "--", "rescan"]);
    assert!(why.ok().contains("the newest"), "{why:?}");
}

#[test]
fn secrets_come_from_files_stdin_and_environment_and_are_never_printed() {
    let platform = TestPlatform::new();
    let key = platform.file("key", &format!("{CANARY}\n"));
    let bot = platform.file("bot", &format!("123:{CANARY}"));
    let mut seen = Vec::new();
    seen.push(platform.run(&[
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
    seen.push(platform.run_with(&stdin, CANARY));
    seen.push(platform.run_with(&["secrets", "set", "alice", "MY_KEY"], CANARY));
    seen.push(platform.run(&["secrets", "set", "alice", "OTHER", "--file", &key]));
    let mut from_environment = startclaw();
    from_environment
        .env("THE_KEY", CANARY)
        .arg("--socket")
        .arg(platform.socket())
        .args(["secrets", "set", "alice", "THIRD", "--env", "THE_KEY"]);
    seen.push(from_environment.output().unwrap().into());
    seen.push(platform.run(&["secrets", "list", "alice"]));
    let names = seen.last().unwrap().ok().to_owned();
    for name in ["MODEL_API_KEY", "TELEGRAM_BOT_TOKEN", "MY_KEY", "OTHER", "THIRD"] {
        assert!(names.contains(name), "{names}");
    }
    seen.push(platform.run(&["secrets", "remove", "alice", "OTHER"]));
    seen.push(platform.run(&["status", "alice", "--json"]));
    seen.push(platform.run(&["operations"]));
    seen.push(platform.run(&["events"]));
    seen.push(platform.run_with(&["secrets", "set", "nobody", "X"], CANARY));
    seen.push(
        platform.run_with(&["secrets", "set", "alice", "TELEGRAM_BOT_TOKEN", "--json"], CANARY),
    );
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
    let platform = TestPlatform::new();
    let made = platform.run(&["tokens", "create", "site", "--scope", "read,write", "--days", "9"]);
    let token = made.ok().trim().to_owned();
    assert!(token.starts_with("sclaw_") && !made.err.contains(&token));
    let list = platform.run(&["tokens", "list"]);
    assert!(list.ok().contains("read,write") && !list.out.contains(&token));
    let id = platform.run(&["--json", "tokens", "list"]).json()["tokens"][0]["id"].clone();
    platform.run(&["tokens", "revoke", id.as_str().unwrap()]).ok();
    assert!(platform.run(&["tokens", "list"]).ok().contains("No tokens yet"));
}

#[test]
fn accounts_are_made_changed_and_deleted() {
    let platform = TestPlatform::new();
    assert!(platform.run(&["accounts", "list"]).ok().contains("No accounts yet"));
    let made = platform.run(&["accounts", "create", "Root@example.com", "--admin"]);
    assert!(made.ok().starts_with("https://claws.test/reset/"), "{made:?}");
    assert_eq!(made.out.lines().count(), 1, "nothing but the link on stdout");
    assert!(made.err.contains("root@example.com set a password"), "{made:?}");
    assert!(!made.err.contains(made.out.trim()), "{made:?}");
    let alice = "alice@example.com";
    let json = platform.run(&["--json", "accounts", "create", alice]).json();
    assert!(json["link"]["url"].as_str().unwrap().starts_with("https://claws.test/reset/"));
    let link = platform.run(&["accounts", "link", alice]);
    assert!(link.ok().starts_with("https://claws.test/reset/"));

    platform.run(&["provision", "alice", "--owner", alice]).ok();
    platform.run(&["provision", "other"]).ok();
    assert!(
        platform.run(&["accounts", "transfer", alice, "other"]).ok().contains("now owns other")
    );
    let more = ["accounts", "quota", alice, "--instances", "3", "--memory", "6144"];
    assert!(platform.run(&more).ok().contains("3 instances with 6144 MiB of memory and 10240 MiB"));
    let list = platform.run(&["accounts", "list"]);
    for shown in ["root@example.com", "active", "2/3", "4096/6144 MiB", "0/10240 MiB", "never"] {
        assert!(list.ok().contains(shown), "{shown}: {list:?}");
    }
    let usual = platform.run(&["--json", "accounts", "quota", alice, "--default"]).json();
    assert_eq!(usual["own_quota"], false);

    assert!(platform.run(&["accounts", "suspend", alice]).ok().contains("is suspended"));
    assert!(platform.run(&["accounts", "list"]).ok().contains("suspended"));
    assert!(platform.run(&["accounts", "resume", alice]).ok().contains("can sign in again"));
    assert!(platform.run(&["accounts", "admin", alice]).ok().contains("is now an admin"));
    assert!(
        platform.run(&["accounts", "admin", alice, "--remove"]).ok().contains("no longer an admin")
    );

    let asked = platform.run(&["accounts", "delete", alice]);
    assert!(
        asked.err.contains("and 2 instances, after a final backup") && asked.err.contains("--yes")
    );
    let gone = platform.run(&["accounts", "delete", alice, "--yes"]);
    assert!(
        gone.ok().contains("its 2 instances are removed first, after a final backup of each"),
        "{gone:?}"
    );
    until_blocking("the account is gone", || {
        !platform.run(&["accounts", "list"]).ok().contains(alice)
    });
    assert!(platform.run(&["status"]).ok().contains("No instances yet"));
}

#[test]
fn invitations_are_printed_once_and_taken_back() {
    let platform = TestPlatform::new();
    let made = platform.run(&["accounts", "invite", "bob@example.com", "--days", "2"]);
    let link = made.ok().trim().to_owned();
    assert!(link.starts_with("https://claws.test/invite/"), "{made:?}");
    assert!(made.err.contains("bob@example.com create one account"), "{made:?}");
    platform.run(&["accounts", "invite"]).ok();
    let list = platform.run(&["accounts", "invitations"]);
    assert!(list.ok().contains("bob@example.com") && list.out.contains("anyone"), "{list:?}");
    assert!(!list.out.contains(link.rsplit('/').next().unwrap()));
    let all = platform.run(&["--json", "accounts", "invitations"]).json();
    for invitation in all["invitations"].as_array().unwrap() {
        platform.run(&["accounts", "revoke", invitation["id"].as_str().unwrap()]).ok();
    }
    assert!(platform.run(&["accounts", "invitations"]).ok().contains("No invitations"));
}

#[test]
fn doctor_tells_what_it_found() {
    let platform = TestPlatform::new();
    let said = platform.run(&["doctor"]);
    assert!(said.ok().contains("daemon") && said.out.contains("database"), "{said:?}");
    assert!(platform.run(&["doctor", "--json"]).json()["checks"].is_array());
}

#[test]
fn what_needs_no_daemon_works_without() {
    let platform = TestPlatform::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(platform.run(&["completions", shell]).ok().contains("startclaw"), "{shell}");
    }
    assert!(platform.run(&["reference"]).ok().contains("# Configuration"));
    let file = platform.file("c.toml", "[edge]\ndomain = \"claws.example\"\n");
    let shown = platform.run(&["config", "--config", &file]);
    assert!(shown.ok().contains("domain = \"claws.example\""), "{shown:?}");
    // The output is itself a configuration file.
    let again = platform.file("again.toml", &shown.out);
    assert_eq!(platform.run(&["config", "--config", &again]).ok(), shown.out);
    assert!(platform.run(&["caddyfile", "--config", &file]).ok().contains("claws.example"));
    let place = platform.folder.path().join("Caddyfile");
    let file = platform.file("d.toml", &format!("caddyfile = {place:?}"));
    assert!(
        platform.run(&["caddyfile", "--write", "--config", &file]).ok().contains("restart Caddy")
    );
    assert!(platform.run(&["caddyfile", "--write", "--config", &file]).ok().contains("up to date"));
}

/// What bash offers at the end of this line, by the script of `startclaw completions`.
fn offered(line: &[&str]) -> Vec<String> {
    const SCRIPT: &str = "source <(startclaw completions bash)
        COMP_WORDS=(startclaw \"$@\") COMP_CWORD=$# COMP_TYPE=9
        _clap_complete_startclaw startclaw \"${@: -1}\" '' && printf '%s\\n' \"${COMPREPLY[@]}\"";
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_startclaw")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut bash = away_from_here(Command::new("bash"));
    bash.args(["-c", SCRIPT, "bash"]).args(line).env("PATH", path);
    let output: CommandOutput = bash.output().unwrap().into();
    output.ok().lines().map(str::to_owned).collect()
}

#[test]
fn the_shell_completes_the_names_of_instances() {
    let platform = TestPlatform::new();
    for name in ["alice", "alina", "bob"] {
        platform.run(&["provision", name]).ok();
    }
    let socket = platform.socket();
    let socket = socket.to_str().unwrap();
    for command in [&["status", "al"][..], &["backups", "al"], &["secrets", "list", "al"]] {
        let line = [&["--socket", socket], command].concat();
        assert_eq!(offered(&line), ["alice", "alina"], "{command:?}");
    }
    assert_eq!(offered(&["--socket", socket, "tokens", "create", "x", "--instance", "b"]), ["bob"]);
    // Without a daemon there is none, and no error in the line.
    assert_eq!(offered(&["--socket", "/nowhere", "status", "al"]), [""]);
    assert_eq!(offered(&["provisi"]), ["provision"]);
}

#[test]
fn whoever_stops_reading_does_no_harm() {
    let binary = env!("CARGO_BIN_EXE_startclaw");
    let script = format!("{binary} completions bash | head -1 >/dev/null; exit ${{PIPESTATUS[0]}}");
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
