//! How a secret comes in: from a file, stdin, the environment or the keyboard. Never as an
//! argument, which everybody on the host can see and the shell writes into its history.

use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    path::Path,
};

use anyhow::Context;
use rustix::termios::{self, LocalModes, OptionalActions};
use startclaw_model::Secret;

use crate::exit::{Exit, Failure};

/// From a file, or from stdin when it is `-`. The line end that editors add is not part of it.
pub fn from_file(file: &Path) -> anyhow::Result<Secret> {
    if file.as_os_str() == "-" {
        return from_stdin();
    }
    let text = std::fs::read_to_string(file).map_err(|e| {
        Failure::new(Exit::Usage, format!("cannot read the secret in {}: {e}", file.display()))
    })?;
    taken(&text)
}

/// All of stdin.
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

/// From the keyboard, without showing it. `None` when nothing was typed.
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

/// Whether somebody can be asked.
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

/// The terminal does not show what is typed while this lives.
struct Hidden(Option<termios::Termios>);

impl Hidden {
    fn begin() -> Self {
        let Ok(before) = termios::tcgetattr(io::stdin()) else { return Self(None) };
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        // When it fails, what is typed shows: no reason to refuse the secret.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Flush, &quiet);
        Self(Some(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // Nothing more can be done when the terminal is gone.
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Flush, before);
        }
    }
}
