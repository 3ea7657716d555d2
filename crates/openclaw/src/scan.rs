//! Measures depth and size of a JSON5 text without recursion.
//!
//! The parser recurses once for each `[` or `{`, and a stack overflow aborts the whole process. So
//! the text is measured first, with the parser's rules for strings and comments. If the text is
//! invalid JSON5, the count may be too high after the first error, but never too low before it,
//! which is as far as the parser gets.

use std::{iter::Peekable, str::Chars};

/// Size of a text for a parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measure {
    /// Maximum number of nested arrays and objects.
    pub depth: usize,
    /// Upper bound of the number of values, including arrays and objects.
    pub values: usize,
}

/// Measures a text, in linear time and constant memory.
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

/// Skips to the end of a string. An escaped delimiter does not end it.
fn skip_string(chars: &mut Peekable<Chars<'_>>, delimiter: char) {
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            c if c == delimiter => return,
            _ => {}
        }
    }
}

/// Skips a comment, if the slash that was read starts one.
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
