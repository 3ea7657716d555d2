//! Colours: on terminals only, and never if `NO_COLOR` is set.

use std::io::{self, IsTerminal};

/// The meaning of a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tint {
    Good,
    Middling,
    Bad,
    Faint,
}

/// Whether stdout shows colours.
pub fn coloured() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
    io::stdout().is_terminal() && !set("NO_COLOR") && !dumb
}

/// The text in a colour, if colours are enabled.
pub fn tint(text: &str, tint: Tint) -> String {
    if !coloured() {
        return text.to_owned();
    }
    let code = match tint {
        Tint::Good => "32",
        Tint::Middling => "33",
        Tint::Bad => "31",
        Tint::Faint => "2",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}
