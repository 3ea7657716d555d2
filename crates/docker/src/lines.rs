//! Converts an instance's output to lines that are safe to display.
//!
//! A tenant controls the content of its log. Displayed unfiltered, it could move the cursor, set
//! the window's title or reverse text: so everything that a terminal would interpret is removed.

/// The longest line; a longer one is split.
const LIMIT: usize = 16 * 1024;

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Adds bytes; returns the lines that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            for byte in text {
                self.rest.push(*byte);
                if self.rest.len() >= LIMIT {
                    lines.extend(self.end());
                }
            }
            if ended {
                lines.push(clean(&std::mem::take(&mut self.rest)));
            }
        }
        lines
    }

    /// The last line, if it has no end.
    pub(super) fn end(&mut self) -> Option<String> {
        (!self.rest.is_empty()).then(|| clean(&std::mem::take(&mut self.rest)))
    }
}

/// The text of a line without escape sequences and control characters.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                // A control sequence: parameters, then one final character.
                Some('[') => skip_control(&mut chars),
                // A string for the terminal: to a bell or to ESC \.
                Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut chars),
                // The choice of a character set and similar: one more character.
                Some('(' | ')' | '*' | '+' | '#' | '%' | ' ') => {
                    chars.next();
                }
                _ => {}
            },
            '\u{9b}' => skip_control(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut chars),
            '\t' => shown.push(c),
            c if c.is_control() || reorders(c) => {}
            c => shown.push(c),
        }
    }
    shown
}

fn skip_control(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(c) = chars.next_if(|c| (' '..='~').contains(c)) {
        if ('@'..='~').contains(&c) {
            break;
        }
    }
}

fn skip_string(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(c) = chars.next() {
        match c {
            '\u{7}' | '\u{9c}' => break,
            '\u{1b}' => {
                chars.next_if_eq(&'\\');
                break;
            }
            _ => {}
        }
    }
}

/// Characters that change the display order of text.
const fn reorders(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_the_bytes_come() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"on"), [""; 0]);
        assert_eq!(lines.push(b"e\ntwo\r\n\nthr"), ["one", "two", ""]);
        assert_eq!(lines.end().unwrap(), "thr");
        assert_eq!(lines.end(), None);
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let mut lines = Lines::default();
        let cut = lines.push(&vec![b'x'; LIMIT * 2 + 5]);
        assert_eq!(cut.iter().map(String::len).collect::<Vec<_>>(), [LIMIT, LIMIT]);
        assert_eq!(lines.end().unwrap().len(), 5);
    }

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        for (bytes, shown) in [
            (&b"\x1b[31mred\x1b[0m"[..], "red"),
            (b"\x1b]0;title\x07text", "text"),
            (b"\x1b]52;c;aGk=\x1b\\text", "text"),
            (b"\x1bPq#0\x1b\\text", "text"),
            (b"\x1b(Btext\x1b=", "text"),
            (b"a\x08b\x00c\x7f\r", "abc"),
            ("\u{9b}31mred\u{202e}x".as_bytes(), "redx"),
            (b"tab\tstays", "tab\tstays"),
            (b"bad \xff utf-8", "bad \u{fffd} utf-8"),
            (b"\x1b[", ""),
            (b"\x1b", ""),
        ] {
            assert_eq!(clean(bytes), shown, "{bytes:?}");
        }
    }
}
