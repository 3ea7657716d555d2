//! Long tables: searched, sorted, and shown a part at a time.

use serde::Deserialize;

use crate::{
    frame::{Column, Pages},
    words,
};

/// Rows shown at once.
const ROWS: usize = 100;

/// What is asked of a table, in its address.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    pub q: String,
    #[serde(default)]
    pub state: String,
    #[serde(default)]
    pub sort: String,
    #[serde(default)]
    pub order: String,
    #[serde(default)]
    pub page: usize,
}

impl Asked {
    /// Whether the greatest come first.
    pub fn descending(&self) -> bool {
        self.order == "desc"
    }

    /// Whether a text has what is looked for in it.
    pub fn finds(&self, text: &str) -> bool {
        text.to_lowercase().contains(&self.q.trim().to_lowercase())
    }

    /// The same table, asked for otherwise.
    pub fn address(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut other = self.clone();
        other.page = 0;
        change(&mut other);
        let mut pairs = Vec::new();
        let page = if other.page > 1 { other.page.to_string() } else { String::new() };
        for (key, value) in [
            ("q", &other.q),
            ("state", &other.state),
            ("sort", &other.sort),
            ("order", &other.order),
            ("page", &page),
        ] {
            if !value.is_empty() {
                pairs.push(format!("{key}={}", encode(value)));
            }
        }
        format!("?{}", pairs.join("&"))
    }

    /// The head of a column. `by` is what it is sorted by; nothing when it cannot be.
    pub fn column(&self, label: &'static str, by: &str, class: &'static str) -> Column {
        let current = !by.is_empty() && self.sort == by;
        let sorted = match (current, self.descending()) {
            (false, _) => "none",
            (true, false) => "ascending",
            (true, true) => "descending",
        };
        let href = if by.is_empty() {
            String::new()
        } else {
            self.address(|other| {
                by.clone_into(&mut other.sort);
                let order = if sorted == "ascending" { "desc" } else { "" };
                order.clone_into(&mut other.order);
            })
        };
        Column { label, href, sorted, class }
    }

    /// The part of `rows` that is shown, and the way to the others.
    pub fn part<T>(&self, rows: Vec<T>) -> (Vec<T>, Pages) {
        let all = rows.len();
        let last = all.div_ceil(ROWS).max(1);
        let page = self.page.clamp(1, last);
        let from = (page - 1) * ROWS;
        let shown: Vec<T> = rows.into_iter().skip(from).take(ROWS).collect();
        let number = |n: usize| words::thousands(u64::try_from(n).unwrap_or(u64::MAX));
        let text = if all == 0 {
            String::new()
        } else {
            format!("{} to {} of {}", number(from + 1), number(from + shown.len()), number(all))
        };
        let to = |page: usize| self.address(|other| other.page = page);
        let pages = Pages {
            text,
            prev: (page > 1).then(|| to(page - 1)),
            next: (page < last).then(|| to(page + 1)),
        };
        (shown, pages)
    }
}

/// A text as it can stand in a query.
fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_shown_a_part_at_a_time() {
        let asked = Asked { page: 3, q: "a b&c".into(), ..Asked::default() };
        let (rows, pages) = asked.part((0..250).collect());
        assert_eq!((rows.len(), rows[0]), (50, 200));
        assert_eq!(pages.text, "201 to 250 of 250");
        assert_eq!(pages.prev.as_deref(), Some("?q=a%20b%26c&page=2"));
        assert_eq!(pages.next, None);
        let (rows, pages) = Asked { page: 99, ..Asked::default() }.part(vec![1]);
        assert_eq!((rows.len(), pages.prev), (1, None));
    }

    #[test]
    fn a_column_turns_round_when_it_is_asked_again() {
        let by_name = Asked { sort: "name".into(), ..Asked::default() };
        let column = by_name.column("Name", "name", "");
        assert_eq!((column.sorted, column.href.as_str()), ("ascending", "?sort=name&order=desc"));
        let other = by_name.column("Owner", "owner", "");
        assert_eq!((other.sorted, other.href.as_str()), ("none", "?sort=owner"));
    }
}
