//! Texts for messages: on one line, bounded, without what rustic adds for its developers.

/// The longest name of a file in a message, in characters.
const NAME: usize = 80;

/// A name of a tenant's file: on one line and short.
pub(crate) fn name(bytes: &[u8]) -> String {
    bounded(&String::from_utf8_lossy(bytes), NAME)
}

/// The text without control characters, cut in the middle to `longest` characters. Both ends stay:
/// the beginning says what failed, the end what to do.
pub(crate) fn bounded(text: &str, longest: usize) -> String {
    let escaped: Vec<char> = text.chars().take(longest * 100).flat_map(escape).collect();
    if escaped.len() <= longest {
        return escaped.into_iter().collect();
    }
    let tail = longest / 4;
    let head = longest - tail - 1;
    let (begin, end) = (&escaped[..head], &escaped[escaped.len() - tail..]);
    begin.iter().chain(&['…']).chain(end).collect()
}

fn escape(c: char) -> impl Iterator<Item = char> {
    let plain = matches!(c, '\'' | '"' | '\\');
    let escaped = (!plain).then(|| c.escape_debug());
    escaped.into_iter().flatten().chain(plain.then_some(c))
}

/// A message of rustic, for people: on one line, without its classification.
pub(crate) fn plain(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = line.as_str();
    let mut parts: Vec<&str> = Vec::new();
    while let Some((before, after)) = rest.split_once(" (kind: related to ") {
        parts.push(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    parts.push(rest);
    parts.concat().replace("Error: ", "").replace(": caused by: :", ":").trim().to_owned()
}

/// A finding of a check of rustic, on one line. One that has a cause explains rustic's own errors in
/// several paragraphs.
pub(crate) fn finding(text: &str) -> String {
    let cause = text.split_once("\nMessage:\n").and_then(|(_, after)| after.lines().next());
    let what = text.split("`rustic_core` experienced").next().unwrap_or(text);
    let what = what.split(" To repair:").next().unwrap_or(what);
    let what = [" marked to-delete: false", " marked to delete: false"]
        .into_iter()
        .fold(what.to_owned(), |text, mark| text.replace(mark, ""));
    let what = what.trim().replace(" : ", ": ");
    match cause {
        Some(cause) => format!("{}: {}", what.trim_end_matches([' ', ':']), cause.trim()),
        None => what,
    }
}

/// What a panic is about: rustic panics on an error of its own or of the system, which it prints
/// like a value of a program.
pub(crate) fn of_panic(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let field = |name: &str| {
        let texts = line.split(name).skip(1).filter_map(|rest| rest.split('"').next());
        texts.map(str::to_owned).collect::<Vec<_>>()
    };
    let guidance = field("guidance: \"");
    let cause = guidance.iter().find(|text| text.starts_with("cannot "));
    let found = cause.or(guidance.first()).cloned().or(field("message: \"").pop());
    match found {
        Some(text) => text,
        None if line.contains("::unwrap()") => "a stored file has an invalid content".to_owned(),
        None => line,
    }
}

/// Whether a message of the system says that a disk is full.
pub(crate) fn is_disk_full(text: &str) -> bool {
    let text = text.to_lowercase();
    text.contains("no space left") || text.contains("disk quota") || text.contains("disk is full")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_tenant_stays_on_one_line_and_short() {
        assert_eq!(name(b"a\nStartClaw: over\x1b[0m\xff"), "a\\nStartClaw: over\\u{1b}[0m\u{fffd}");
        assert_eq!(name("it's \"é\" \\".as_bytes()), "it's \"é\" \\");
        let long = name("x".repeat(5000).as_bytes());
        assert_eq!(long.chars().count(), NAME);
        assert!(!name("\u{202e}evil\u{2028}".as_bytes()).contains(['\u{202e}', '\u{2028}']));
    }

    #[test]
    fn a_message_keeps_its_beginning_and_its_end() {
        let text = format!("cannot read {}; free some space", "\n".repeat(2000));
        let cut = bounded(&text, 600);
        assert_eq!(cut.chars().count(), 600);
        assert!(cut.starts_with("cannot read \\n") && cut.ends_with("; free some space"), "{cut}");
        assert_eq!(bounded("short", 600), "short");
    }

    #[test]
    fn a_finding_is_one_line() {
        let with_cause = "error checking pack 455f5d6d : `rustic_core` experienced an error related \
                          to `cryptographic operations`.\n\nMessage:\nMAC check failed.\n\nFor more \
                          information, see: https://example.org\n\nBacktrace:\ndisabled\n";
        assert_eq!(finding(with_cause), "error checking pack 455f5d6d: MAC check failed.");
        let missing = "pack 5e274451 marked to-delete: false is referenced by the index with size 5 \
                       but not present! To repair: 'rustic repair index'.";
        assert_eq!(
            finding(missing),
            "pack 5e274451 is referenced by the index with size 5 but not present!"
        );
    }

    #[test]
    fn what_rustic_says_to_its_developers_is_left_out() {
        let error = "Error: error processing x (kind: related to cryptography, code: C001): caused \
                     by: Data decryption failed";
        assert_eq!(plain(error), "error processing x: caused by: Data decryption failed");
        let panic = "called `Result::unwrap()` on an `Err` value: RusticError { kind: Backend, \
                     guidance: \"cannot read /data/5e: it is missing\", source: None }";
        assert_eq!(of_panic(panic), "cannot read /data/5e: it is missing");
        assert_eq!(
            of_panic("called `Option::unwrap()` on a `None` value"),
            "a stored file has an invalid content"
        );
        assert_eq!(of_panic("index out of range"), "index out of range");
        let full = "called `Result::unwrap()` on an `Err` value: Os { code: 28, kind: StorageFull, \
                    message: \"No space left on device\" }";
        assert!(is_disk_full(&of_panic(full)));
    }
}
