//! Reads secrets: from a file, stdin, the environment or the keyboard. Never from an argument,
//! which every user of the host can see and which the shell writes to its history.

use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    path::Path,
};

use anyhow::Context;
use rustix::termios::{self, LocalModes, OptionalActions};
use startclaw_model::Secret;

use crate::exit::{Exit, Failure};

/// From a file, or from stdin if it is `-`. A trailing line end is removed.
pub fn from_file(file: &Path) -> anyhow::Result<Secret> {
    if file.as_os_str() == "-" {
        return from_stdin();
    }
    let text = std::fs::read_to_string(file).map_err(|e| {
        Failure::new(Exit::Usage, format!("cannot read the secret in {}: {e}", file.display()))
    })?;
    taken(&text)
}

/// From stdin.
pub fn from_stdin() -> anyhow::Result<Secret> {
    let mut text = String::new();
    io::stdin()
        .take(Secret::MAX_LEN as u64 + 2)
        .read_to_string(&mut text)
        .context("cannot read the secret from stdin")?;
    taken(&text)
}

/// From an environment variable.
pub fn from_env(variable: &str) -> anyhow::Result<Secret> {
    let text = std::env::var(variable).map_err(|_| {
        Failure::new(Exit::Usage, format!("the environment variable {variable} is not set"))
    })?;
    taken(&text)
}

/// From the keyboard, without echo. `None` if nothing was entered.
pub fn from_keyboard(question: &str) -> anyhow::Result<Option<Secret>> {
    let stdin = io::stdin();
    let mut stderr = io::stderr();
    write!(stderr, "{question}: ")?;
    stderr.flush()?;
    let hidden = Hidden::begin();
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    drop(hidden);
    writeln!(stderr)?;
    read.context("cannot read from the keyboard")?;
    let line = line.trim_end_matches(['\n', '\r']);
    if line.is_empty() { Ok(None) } else { taken(line).map(Some) }
}

/// Whether a terminal is available for questions.
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn taken(text: &str) -> anyhow::Result<Secret> {
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(Failure::new(Exit::Usage, "the secret is empty").into());
    }
    Ok(Secret::new(text))
}

/// Disables the terminal's echo while it lives.
struct Hidden(Option<termios::Termios>);

impl Hidden {
    fn begin() -> Self {
        let Ok(before) = termios::tcgetattr(io::stdin()) else { return Self(None) };
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        // On failure the input is visible, which is no reason to reject the secret.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Flush, &quiet);
        Self(Some(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // Nothing more can be done if the terminal is gone.
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Flush, before);
        }
    }
}
