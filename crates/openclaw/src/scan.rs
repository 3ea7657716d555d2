//! How deep and how large a JSON5 text is, found out without recursion.
//!
//! The parser recurses once for each `[` or `{`, and a stack that overflows aborts the whole
//! process. So the text is measured first, by the same rules for strings and comments as the
//! parser has. Where the text is no JSON5, the count may be too high behind the first fault, but
//! never too low before it: that is as far as the parser gets.

use std::{iter::Peekable, str::Chars};

/// What a text would make a parser do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measure {
    /// The most arrays and objects that are open at the same time.
    pub depth: usize,
    /// No fewer than the values in it, the arrays and objects themselves included.
    pub values: usize,
}

/// Measures a text. Takes time in proportion to its length, and no memory.
pub fn measure(text: &str) -> Measure {
    let mut chars = text.chars().peekable();
    let mut open = 0_usize;
    let mut found = Measure { depth: 0, values: 1 };
    while let Some(c) = chars.next() {
        match c {
            '[' | '{' => {
                open += 1;
                found.depth = found.depth.max(open);
                found.values += 1;
            }
            ']' | '}' => open = open.saturating_sub(1),
            ',' => found.values += 1,
            '"' | '\'' => skip_string(&mut chars, c),
            '/' => skip_comment(&mut chars),
            _ => {}
        }
    }
    found
}

/// To the end of a string. What follows a backslash does not end it.
fn skip_string(chars: &mut Peekable<Chars<'_>>, delimiter: char) {
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            c if c == delimiter => return,
            _ => {}
        }
    }
}

/// To the end of a comment, if the slash that was read begins one.
fn skip_comment(chars: &mut Peekable<Chars<'_>>) {
    if chars.next_if_eq(&'/').is_some() {
        chars.find(|c| matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}'));
    } else if chars.next_if_eq(&'*').is_some() {
        while let Some(c) = chars.next() {
            if c == '*' && chars.next_if_eq(&'/').is_some() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_brackets_outside_strings_and_comments_count() {
        for (text, depth) in [
            ("", 0),
            ("1", 0),
            ("[]", 1),
            ("[[], {a: []}]", 3),
            (r#"["[[[", '{{{', "\"[[", '\'[[', "\\"]"#, 1),
            ("[ // [[[\n[]]", 2),
            ("[ // [[[\u{2028}[]]", 2),
            ("[/* [[ ' \" // */[/**/]]", 2),
            ("{a/*[*/:/*[*/1}", 1),
            ("]]]][", 1),
            ("[\"", 1),
            ("[/*", 1),
            ("[/", 1),
            ("\"\\", 0),
        ] {
            assert_eq!(measure(text).depth, depth, "{text}");
        }
        assert_eq!(measure("[1, 2, {a: 3, b: []}]").values, 7);
    }
}
