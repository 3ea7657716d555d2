//! Output for people and programs.

mod progress;
mod style;
mod table;
mod time;

use std::io::{self, Write};

use serde::Serialize;

pub use progress::Shown;
pub use style::{Tint, tint};
pub use table::Listing;
pub use time::{ago, took};

/// Prints a line. Returns an error instead of panicking when stdout is closed.
pub fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// A size in bytes, in a readable unit.
pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// Prints a value as one line of JSON.
pub fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    Ok(line(&serde_json::to_string(value)?)?)
}

/// Prints a line for people to stderr, where it does not mix with the output for programs.
pub fn note(text: &str) {
    // A closed stderr is no failure of the command.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Makes control characters visible: texts from instances are untrusted, and could move the cursor
/// or colour the terminal.
pub fn clean(text: &str) -> String {
    let strange = |c: char| c.is_control() && c != '\t';
    if !text.contains(strange) {
        return text.to_owned();
    }
    text.chars().map(|c| if strange(c) { '\u{b7}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_cannot_write_to_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\tc\u{7}"), "a·[2Jb\tc·");
    }
}
