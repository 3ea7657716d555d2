//! Long tables: searchable, sortable and paginated.

use std::cmp::Ordering;

use serde::Deserialize;

use crate::labels;

/// Rows per page.
const ROWS: usize = 100;

/// The query of a table, from its address.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct TableQuery {
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

/// What a table lists, and how it is searched and sorted.
pub(crate) struct List<T: 'static> {
    /// The path of the page.
    pub path: &'static str,
    /// The singular noun for counts.
    pub one: &'static str,
    /// What the search matches, for its label.
    pub searched_by: &'static str,
    /// Whether an entry matches the query.
    pub wants: fn(&TableQuery, &T) -> bool,
    /// The first column breaks ties of the others.
    pub columns: &'static [Column<T>],
}

/// A column: its label, its name in addresses (empty if not sortable), its CSS class, and the order
/// of two entries.
pub(crate) struct Column<T>(
    pub &'static str,
    pub &'static str,
    pub &'static str,
    pub fn(&T, &T) -> Ordering,
);

/// A table, rendered by `admin/table.html`.
pub(crate) struct Table<R> {
    pub path: &'static str,
    pub searched_by: &'static str,
    pub asked: TableQuery,
    pub heads: Vec<Head>,
    pub rows: Vec<R>,
    pub found: String,
    pub pages: Pages,
}

pub(crate) struct Head {
    pub label: &'static str,
    pub href: String,
    pub sorted: &'static str,
    pub class: &'static str,
}

/// The shown page of a long table.
pub(crate) struct Pages {
    pub text: String,
    pub prev: Option<String>,
    pub next: Option<String>,
}

impl<T> List<T> {
    /// The entries of `all` that match the query, in order; only the shown ones become rows.
    pub fn table<R>(&self, asked: TableQuery, all: Vec<T>, row: impl Fn(&T) -> R) -> Table<R> {
        let total = all.len();
        let mut found: Vec<T> = all.into_iter().filter(|one| (self.wants)(&asked, one)).collect();
        found.sort_by(|a, b| self.order(&asked, a, b));
        let (shown, pages) = asked.part(&found);
        Table {
            path: self.path,
            searched_by: self.searched_by,
            heads: self.columns.iter().map(|column| column.head(&asked)).collect(),
            rows: shown.iter().map(row).collect(),
            found: self.found(found.len(), total),
            pages,
            asked,
        }
    }

    fn order(&self, asked: &TableQuery, a: &T, b: &T) -> Ordering {
        let by = |column: &Column<T>| column.3(a, b);
        let chosen = self.columns.iter().find(|column| column.1 == asked.sort);
        let order = chosen.map_or(Ordering::Equal, by).then_with(|| by(&self.columns[0]));
        if asked.descending() { order.reverse() } else { order }
    }

    /// `250 accounts`; when some are left out, `3 accounts match`.
    fn found(&self, number: usize, total: usize) -> String {
        let counted = labels::counted(wide(number), self.one);
        match number {
            _ if number == total => counted,
            1 => format!("{counted} matches"),
            _ => format!("{counted} match"),
        }
    }
}

impl<T> Column<T> {
    fn head(&self, asked: &TableQuery) -> Head {
        let Self(label, by, class, _) = *self;
        if by.is_empty() {
            return Head { label, href: String::new(), sorted: "none", class };
        }
        let sorted = match (asked.sort == by, asked.descending()) {
            (false, _) => "none",
            (true, false) => "ascending",
            (true, true) => "descending",
        };
        let href = asked.address(|other| {
            by.clone_into(&mut other.sort);
            let order = if sorted == "ascending" { "desc" } else { "" };
            order.clone_into(&mut other.order);
        });
        Head { label, href, sorted, class }
    }
}

impl TableQuery {
    /// Whether the order is descending.
    fn descending(&self) -> bool {
        self.order == "desc"
    }

    /// Whether a text contains the search term.
    pub fn finds(&self, text: &str) -> bool {
        text.to_lowercase().contains(&self.q.trim().to_lowercase())
    }

    /// The address of the same table with a changed query.
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

    /// The page of `rows` that is shown, with links to the previous and the next one.
    fn part<'a, T>(&self, rows: &'a [T]) -> (&'a [T], Pages) {
        let all = rows.len();
        let last = all.div_ceil(ROWS).max(1);
        let page = self.page.clamp(1, last);
        let from = (page - 1) * ROWS;
        let shown = &rows[from..all.min(from + ROWS)];
        let number = |n: usize| labels::thousands(wide(n));
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

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Percent-encodes a text for a query.
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

    /// Numbers and their squares; a search matches digits.
    const NUMBERS: List<(i32, i32)> = List {
        path: "/numbers",
        one: "number",
        searched_by: "digits",
        wants: |asked, row| asked.finds(&row.0.to_string()),
        columns: &[
            Column("Number", "number", "", |a, b| a.0.cmp(&b.0)),
            Column("Square", "square", "num", |a, b| a.1.cmp(&b.1)),
            Column("Status", "", "", |_, _| Ordering::Equal),
        ],
    };

    fn table(from: i32, to: i32, asked: TableQuery) -> Table<i32> {
        NUMBERS.table(asked, (from..to).map(|n| (n, n * n)).collect(), |row| row.0)
    }

    fn sorted(sort: &str, order: &str) -> TableQuery {
        TableQuery { sort: sort.into(), order: order.into(), ..TableQuery::default() }
    }

    #[test]
    fn a_table_is_shown_a_part_at_a_time() {
        let asked = TableQuery { page: 3, ..sorted("a b&c", "") };
        let Table { rows, pages, .. } = table(0, 250, asked);
        assert_eq!((rows.len(), rows[0]), (50, 200));
        assert_eq!(pages.text, "201 to 250 of 250");
        assert_eq!(pages.prev.as_deref(), Some("?sort=a%20b%26c&page=2"));
        assert_eq!(pages.next, None);
        let Table { rows, pages, .. } =
            table(0, 1, TableQuery { page: 99, ..TableQuery::default() });
        assert_eq!((rows.len(), pages.prev), (1, None));
        let Table { rows, pages, .. } = table(0, 0, TableQuery::default());
        assert_eq!((rows.len(), pages.text.as_str()), (0, ""));
    }

    #[test]
    fn what_is_found_is_counted_as_people_say_it() {
        let found = |to: i32, q: &str| {
            table(0, to, TableQuery { q: q.into(), ..TableQuery::default() }).found
        };
        assert_eq!(found(250, ""), "250 numbers");
        assert_eq!(found(1, ""), "1 number");
        assert_eq!(found(25, " 4 "), "3 numbers match");
        assert_eq!(found(250, "249"), "1 number matches");
        assert_eq!(found(250, "nothing"), "0 numbers match");
    }

    #[test]
    fn rows_are_put_in_order_both_ways() {
        let rows = |sort: &str, order: &str| table(-2, 3, sorted(sort, order)).rows;
        assert_eq!(rows("", ""), [-2, -1, 0, 1, 2]);
        assert_eq!(rows("unheard of", "desc"), [2, 1, 0, -1, -2]);
        assert_eq!(rows("square", ""), [0, -1, 1, -2, 2], "the first column decides at last");
        assert_eq!(rows("square", "desc"), [2, -2, 1, -1, 0]);
    }

    #[test]
    fn a_column_turns_round_when_it_is_asked_again() {
        let heads = |order: &str| {
            let heads = table(0, 1, sorted("number", order)).heads.into_iter();
            heads.map(|head| (head.sorted, head.href)).collect::<Vec<_>>()
        };
        let head = |sorted: &'static str, href: &str| (sorted, href.to_owned());
        let others = [head("none", "?sort=square"), head("none", "")];
        let up = heads("");
        assert_eq!(up[0], head("ascending", "?sort=number&order=desc"));
        assert_eq!(up[1..], others);
        let down = heads("desc");
        assert_eq!(down[0], head("descending", "?sort=number"));
        assert_eq!(down[1..], others);
    }
}
