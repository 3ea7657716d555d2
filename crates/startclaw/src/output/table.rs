//! Tables that fit the terminal.

use std::io::{self, IsTerminal};

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Row, Table,
    presets::NOTHING,
};

use super::{
    clean,
    style::{Tint, coloured},
};

/// Width of a terminal, in columns, below which a list is printed at its full width.
const NARROWEST: u16 = 40;
/// Heads of columns whose content people copy.
const COPIED: [&str; 2] = ["ID", "URL"];

/// A table.
pub struct Listing {
    table: Table,
}

impl Listing {
    /// A table with these column heads.
    pub fn new(heads: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(NOTHING);
        // A terminal that does not know its width says 0.
        let fits = table.width().is_some_and(|width| width >= NARROWEST);
        if io::stdout().is_terminal() && fits {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_truncation_indicator("…");
            if !coloured() {
                // With `force_no_tty` the table does not query the terminal, so set the width
                // explicitly.
                let width = table.width();
                table.force_no_tty();
                width.map(|width| table.set_width(width));
            }
        } else {
            table.force_no_tty();
        }
        table.set_header(heads.iter().map(|head| {
            let cell = Cell::new(head);
            if coloured() { cell.add_attribute(Attribute::Dim) } else { cell }
        }));
        // What is copied from a list is never cut.
        for (index, _) in heads.iter().enumerate().filter(|(_, head)| COPIED.contains(head)) {
            if let Some(column) = table.column_mut(index) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        Self { table }
    }

    /// Adds a row; a cell with a tint is coloured.
    pub fn row(&mut self, cells: impl IntoIterator<Item = (String, Option<Tint>)>) {
        let mut row = Row::new();
        for (text, tint) in cells {
            let mut cell = Cell::new(clean(&text)).set_alignment(CellAlignment::Left);
            if let Some(tint) = tint.filter(|_| coloured()) {
                cell = match tint {
                    Tint::Good => cell.fg(Color::Green),
                    Tint::Middling => cell.fg(Color::Yellow),
                    Tint::Bad => cell.fg(Color::Red),
                    Tint::Faint => cell.add_attribute(Attribute::Dim),
                };
            }
            row.add_cell(cell);
        }
        // One line per row: long cells are truncated; `--json` is complete.
        if io::stdout().is_terminal() {
            row.max_height(1);
        }
        self.table.add_row(row);
    }

    /// Prints it, or `none` if it has no rows.
    pub fn print(&self, none: &str) -> io::Result<()> {
        if self.table.is_empty() {
            return super::line(none);
        }
        super::line(&self.table.trim_fmt())
    }
}
