//! Labels: short texts that users choose and that terminals and pages show to other users.

/// Whether a character is displayed as itself: no control character, and no invisible one that
/// reorders or hides the text around it (bidirectional overrides, zero-width characters).
pub fn is_visible(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Whether `text` can be a label of at most `most` characters.
pub fn is_label(text: &str, most: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= most && text.chars().all(is_visible)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_visible_characters_only() {
        for good in ["sign-up site", "Ключ", "鍵 1", "a"] {
            assert!(is_label(good, 100), "{good}");
        }
        for bad in
            ["", " ", "a\nb", "a\u{1b}[2J", "a\u{202e}b", "a\u{2066}b", "a\u{200b}", "\u{feff}a"]
        {
            assert!(!is_label(bad, 100), "{bad:?}");
        }
        assert!(!is_label(&"a".repeat(101), 100));
    }
}
