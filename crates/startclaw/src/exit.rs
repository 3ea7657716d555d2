//! Failures of commands: message and exit code.

use std::{fmt, io, process::ExitCode};

use startclaw_api::client::{Cause, ClientError};

use crate::output;

/// The exit codes, as `--help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The operation failed.
    Failed = 1,
    /// Invalid command or value.
    Usage = 2,
    /// The daemon cannot be reached.
    Unreachable = 3,
    /// Not found.
    NotFound = 4,
    /// Not permitted or not confirmed.
    Denied = 5,
    /// Conflict with the current state.
    Conflict = 6,
    /// Temporarily unavailable, or an internal error of the daemon.
    Unavailable = 7,
    /// Interrupted by Ctrl-C (128 + SIGINT).
    Interrupted = 130,
}

impl From<Cause> for Exit {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Usage => Self::Usage,
            Cause::Unreachable => Self::Unreachable,
            Cause::NotFound => Self::NotFound,
            Cause::Denied => Self::Denied,
            Cause::Conflict => Self::Conflict,
            Cause::Unavailable | Cause::Protocol | Cause::Failed => Self::Unavailable,
        }
    }
}

/// A failure with its exit code.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The hint for an unreachable daemon.
pub fn hint(message: &str) -> &'static str {
    if message.contains("ermission denied") {
        return "Your user may not open the socket: run it with sudo, or as a member of the group \
                that owns the socket (ls -l shows it)";
    }
    if message.contains("is no StartClaw API") {
        return "Check the address given by --api: it is https://api. followed by the domain";
    }
    if std::path::Path::new("/run/systemd/system").exists() {
        "Is the daemon running? Try: systemctl status startclaw"
    } else {
        "Is the daemon running? See the end of its log: /var/log/startclaw/startclaw.log"
    }
}

/// Prints the error, and returns the exit code.
pub fn report(e: &anyhow::Error, json: bool) -> ExitCode {
    // The reader of our output closed it (`startclaw status | head -1`).
    if e.chain().any(is_broken_pipe) {
        return ExitCode::SUCCESS;
    }
    let client = e.downcast_ref::<ClientError>();
    let exit = match (e.downcast_ref::<Failure>(), client) {
        (Some(failure), _) => failure.exit,
        (None, Some(client)) => client.cause.into(),
        (None, None) => Exit::Failed,
    };
    let message = format!("{e:#}");
    if json {
        let problem = client.and_then(|c| c.problem.as_ref());
        let error = serde_json::json!({
            "error": { "message": message, "exit": exit as u8, "problem": problem }
        });
        output::note(&error.to_string());
    } else {
        output::note(&format!("startclaw: {}", output::clean(&message)));
        if message.contains("UnknownIssuer") {
            output::note("Its CA is not trusted on this host: pass it with --ca-file FILE");
        } else if exit == Exit::Unreachable && client.is_some() {
            output::note(hint(&message));
        }
    }
    ExitCode::from(exit as u8)
}

fn is_broken_pipe(e: &(dyn std::error::Error + 'static)) -> bool {
    e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
