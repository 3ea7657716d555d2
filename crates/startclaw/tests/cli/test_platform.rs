//! A platform behind a Unix socket, and the command line as its client.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use startclaw_accounts::SignUp;
use startclaw_api::{Access, Peer, Settings};
use startclaw_testkit::TestDaemon;
use tokio::{net::UnixListener, runtime::Runtime};

/// A platform in memory that listens on a Unix socket.
pub struct TestPlatform {
    pub folder: tempfile::TempDir,
    _daemon: TestDaemon,
    _runtime: Runtime,
}

/// The output of a command.
#[derive(Debug)]
pub struct CommandOutput {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl CommandOutput {
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        assert_eq!(self.out.trim_end().lines().count(), 1, "one document: {self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Checks that it succeeded, and returns its output.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, 0, "{self:?}");
        assert!(!self.out.contains('\u{1b}'), "no colours in a pipe: {self:?}");
        &self.out
    }
}

impl From<Output> for CommandOutput {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The built binary, isolated from this host's configuration.
pub fn startclaw() -> Command {
    away_from_here(Command::new(env!("CARGO_BIN_EXE_startclaw")))
}

/// Without this process's terminal and settings.
pub fn away_from_here(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("STARTCLAW")) {
        command.env_remove(name);
    }
    command
}

impl TestPlatform {
    pub fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let daemon = runtime.block_on(async {
            let platform = startclaw_testkit::TestPlatform::patient().sign_up(SignUp::Invite);
            let daemon = platform.daemon().await;
            daemon.delete_pending_accounts();
            let (engine, accounts) = (daemon.engine.clone(), daemon.accounts.clone());
            let router =
                startclaw_api::router(engine, accounts, Access::Socket, Settings::default());
            let service = router.into_make_service_with_connect_info::<Peer>();
            let listener = UnixListener::bind(folder.path().join("startclaw.sock")).unwrap();
            tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
            daemon
        });
        Self { folder, _daemon: daemon, _runtime: runtime }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("startclaw.sock")
    }

    /// Runs a command with an empty stdin.
    pub fn run(&self, arguments: &[&str]) -> CommandOutput {
        self.command(arguments).output().unwrap().into()
    }

    /// Runs a command with `input` on stdin.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> CommandOutput {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    }

    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        text(&path)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = startclaw();
        command.arg("--socket").arg(self.socket()).args(arguments);
        command
    }
}

pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
