//! Failures, and their exit codes.

use serde_json::Value;

use crate::test_platform::{CommandOutput, TestPlatform, startclaw};

fn error(said: &CommandOutput) -> Value {
    assert!(said.out.is_empty(), "{said:?}");
    serde_json::from_str(said.err.trim()).unwrap_or_else(|e| panic!("{e}: {said:?}"))
}

#[test]
fn exit_codes_mean_what_the_help_says() {
    let platform = TestPlatform::new();
    platform.run(&["provision", "alice"]).ok();
    platform.run(&["accounts", "create", "root@example.com", "--admin"]).ok();
    for (code, arguments) in [
        (2, &["provision", "Bad_Name"][..]),
        (2, &["provision", "bob", "--api-key-file", "x"][..]),
        (2, &["provision", "bob", "--version", "../x"][..]),
        (2, &["provision", "bob", "--memory-hard", "5"][..]),
        (2, &["provision", "bob", "--provider", "nobody"][..]),
        (2, &["secrets", "set", "alice", "lower"][..]),
        (2, &["tokens", "create", "x"][..]),
        (2, &["accounts", "create", "nobody"][..]),
        (2, &["accounts", "create", "root@example.com"][..]),
        (2, &["accounts", "quota", "root@example.com"][..]),
        (2, &["status", "--nonsense"][..]),
        (2, &["config", "--config", "/nowhere.toml"][..]),
        (4, &["status", "nobody"][..]),
        (4, &["restart", "nobody"][..]),
        (4, &["deprovision", "nobody", "--yes"][..]),
        (2, &["provision", "bob", "--provider", "openai", "--api-key-file", "/nowhere"][..]),
        (4, &["logs", "nobody"][..]),
        (4, &["operations", "nobody"][..]),
        (4, &["events", "nobody"][..]),
        (4, &["open", "nobody"][..]),
        (4, &["tokens", "revoke", "abc"][..]),
        (4, &["secrets", "remove", "alice", "NOT_THERE"][..]),
        (4, &["accounts", "link", "nobody@example.com"][..]),
        (4, &["accounts", "quota", "nobody@example.com", "--disk", "1"][..]),
        (4, &["accounts", "delete", "nobody@example.com"][..]),
        (4, &["accounts", "transfer", "root@example.com", "nobody"][..]),
        (4, &["accounts", "revoke", "abc"][..]),
        (5, &["accounts", "delete", "root@example.com"][..]),
        (5, &["deprovision", "alice"][..]),
        (6, &["provision", "alice"][..]),
    ] {
        let said = platform.run(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {said:?}");
        assert!(!said.err.is_empty() && said.out.is_empty(), "{arguments:?}: {said:?}");
        assert!(!said.err.contains("panicked"), "{said:?}");
    }
    // Not confirmed, so it still exists.
    platform.run(&["status", "alice"]).ok();
}

#[test]
fn a_daemon_that_is_not_there_is_3() {
    let mut command = startclaw();
    command.args(["--socket", "/nowhere/startclaw.sock", "status"]);
    let said: CommandOutput = command.output().unwrap().into();
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("/nowhere/startclaw.sock"), "{said:?}");
    let mut command = startclaw();
    command.env("STARTCLAW_TOKEN", "sclaw_x").args(["--api", "http://127.0.0.1:1", "status"]);
    assert_eq!(CommandOutput::from(command.output().unwrap()).code, 3);
}

/// A missing permission is reported as such, not as a daemon that does not run.
#[test]
fn a_socket_that_may_not_be_opened_is_told_with_the_remedy() {
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // Drops root, which may open anything.
    let program = dir.path().join("startclaw");
    // By another process: were the file open for writing here, a child that another test forks just
    // then would inherit it, and the program could not be run ("Text file busy").
    let copied = std::process::Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_startclaw"))
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    let run = |verb: &str| -> CommandOutput {
        let mut command = std::process::Command::new(&program);
        command.current_dir("/").arg("--socket").arg(&socket).arg(verb);
        if std::fs::metadata("/proc/self")
            .is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
        {
            command.gid(65_534).uid(65_534);
        }
        command.output().unwrap().into()
    };
    let said = run("status");
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("sudo") && said.err.contains("group"), "{said:?}");
    assert!(!said.err.contains("Is the daemon running"), "{said:?}");
    let said = run("doctor");
    assert!(said.out.contains("sudo startclaw doctor"), "{said:?}");
    assert!(!said.out.contains("apt install"), "{said:?}");
}

#[test]
fn a_token_that_is_none_is_told_with_its_source() {
    let mut command = startclaw();
    command.env("STARTCLAW_TOKEN", "two\nlines").args(["--api", "https://127.0.0.1:1", "status"]);
    let said = CommandOutput::from(command.output().unwrap());
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("STARTCLAW_TOKEN contains no valid token"), "{said:?}");
}

#[test]
fn an_api_needs_a_token_and_tls() {
    let mut command = startclaw();
    command.args(["--api", "https://127.0.0.1:1", "status"]);
    assert_eq!(CommandOutput::from(command.output().unwrap()).code, 5);
    let mut command = startclaw();
    command.env("STARTCLAW_TOKEN", "sclaw_x").args(["--api", "http://example.com", "status"]);
    assert_eq!(CommandOutput::from(command.output().unwrap()).code, 2);
}

#[test]
fn errors_are_json_when_asked() {
    let platform = TestPlatform::new();
    let missing = platform.run(&["--json", "restart", "nobody"]);
    let told = error(&missing);
    assert_eq!(told["error"]["exit"], 4);
    assert_eq!(told["error"]["problem"]["status"], 404);
    let field = platform.run(&["--json", "provision", "bob", "--version", "../x"]);
    assert_eq!(error(&field)["error"]["problem"]["field"], "version");
}

#[test]
fn doctor_works_when_the_daemon_does_not() {
    let platform = TestPlatform::new();
    let settings = "[docker]\nsocket = \"unix:///nowhere/docker.sock\"\nprefix = \"sc-cli-test\"\n";
    let file = platform.file("c.toml", settings);
    let mut command = startclaw();
    command.args(["--socket", "/nowhere/s.sock", "--config", &file, "doctor"]);
    let said: CommandOutput = command.output().unwrap().into();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("✗ daemon") && said.out.contains("✗ docker"), "{said:?}");
    assert!(said.out.contains("→ Is the daemon running?"), "it says what to do: {said:?}");
}
