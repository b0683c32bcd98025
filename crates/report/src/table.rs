//! Tables on a terminal: columns are aligned by the cells that characters take there, not by their number.

use std::io::{self, Write};
use unicode_width::UnicodeWidthStr;

/// The gap between two columns.
const GAP: &str = "  ";

/// The number of terminal cells that `text` takes: two for a CJK character or an emoji, none for a combining mark.
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// `text` with spaces behind it, to at least `cells` terminal cells.
pub fn padded(text: &str, cells: usize) -> String {
    let missing = cells.saturating_sub(width(text));
    format!("{text}{:missing$}", "")
}

/// To which side of its column a cell is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Align {
    /// To the left, as text is.
    #[default]
    Left,
    /// To the right, as numbers are.
    Right,
}

/// One cell: its text, and how it is printed where that differs, as in colour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    styled: Option<String>,
}

impl Cell {
    /// A cell whose `styled` form takes as many terminal cells as its `text`.
    pub fn styled(text: impl Into<String>, styled: impl Into<String>) -> Cell {
        Cell { text: text.into(), styled: Some(styled.into()) }
    }

    fn shown(&self) -> &str {
        self.styled.as_deref().unwrap_or(&self.text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell { text, styled: None }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        text.to_owned().into()
    }
}

/// One column: heading, alignment and width.
#[derive(Debug, Clone)]
struct Column {
    heading: String,
    align: Align,
    /// The widest cell so far, in terminal cells.
    width: usize,
    /// The widest that the column gets; longer cells push the rest of their line to the right.
    most: usize,
}

/// The columns of a table. Rows are either written all at once with [`Table::write`], or measured and written one
/// by one where there are too many to be held.
#[derive(Debug, Clone, Default)]
pub struct Table {
    columns: Vec<Column>,
    indent: usize,
}

impl Table {
    /// A table without columns.
    pub fn new() -> Table {
        Table::default()
    }

    /// Adds a column.
    #[must_use]
    pub fn column(self, heading: &str, align: Align) -> Table {
        self.column_up_to(heading, align, usize::MAX)
    }

    /// Adds a column that gets no wider than `most` terminal cells; longer cells are printed whole.
    #[must_use]
    pub fn column_up_to(mut self, heading: &str, align: Align, most: usize) -> Table {
        let width = width(heading).min(most);
        self.columns.push(Column { heading: heading.to_owned(), align, width, most });
        self
    }

    /// Begins each line with so many spaces.
    #[must_use]
    pub fn indented(mut self, indent: usize) -> Table {
        self.indent = indent;
        self
    }

    /// Makes the columns as wide as this row needs.
    pub fn measure(&mut self, row: &[Cell]) {
        for (column, cell) in self.columns.iter_mut().zip(row) {
            column.width = column.width.max(width(&cell.text).min(column.most));
        }
    }

    /// Writes the headings.
    ///
    /// # Errors
    /// Returns the errors of `out`.
    pub fn write_head(&self, out: &mut dyn Write) -> io::Result<()> {
        let head: Vec<Cell> =
            self.columns.iter().map(|column| column.heading.as_str().into()).collect();
        self.write_row(&head, out)
    }

    /// Writes one row, aligned by what was measured.
    ///
    /// # Errors
    /// Returns the errors of `out`.
    pub fn write_row(&self, row: &[Cell], out: &mut dyn Write) -> io::Result<()> {
        let mut line = " ".repeat(self.indent);
        for (index, (column, cell)) in self.columns.iter().zip(row).enumerate() {
            if index > 0 {
                line += GAP;
            }
            let missing = " ".repeat(column.width.saturating_sub(width(&cell.text)));
            match column.align {
                Align::Left => line += &format!("{}{missing}", cell.shown()),
                Align::Right => line += &format!("{missing}{}", cell.shown()),
            }
        }
        writeln!(out, "{}", line.trim_end())
    }

    /// Writes headings, if any column has one, and all rows. Columns that are empty in every row are left out.
    ///
    /// # Errors
    /// Returns the errors of `out`.
    pub fn write(mut self, rows: &[Vec<Cell>], out: &mut dyn Write) -> io::Result<()> {
        let used = |index: usize| {
            rows.iter().any(|row| row.get(index).is_some_and(|cell| !cell.text.is_empty()))
        };
        let used: Vec<bool> = (0..self.columns.len()).map(used).collect();
        self.columns = kept(self.columns, &used);
        let rows: Vec<Vec<Cell>> = rows.iter().map(|row| kept(row.clone(), &used)).collect();
        rows.iter().for_each(|row| self.measure(row));
        if self.columns.iter().any(|column| !column.heading.is_empty()) {
            self.write_head(out)?;
        }
        rows.iter().try_for_each(|row| self.write_row(row, out))
    }
}

/// Returns the items of columns that are used.
fn kept<T>(items: Vec<T>, used: &[bool]) -> Vec<T> {
    items.into_iter().zip(used).filter_map(|(item, used)| used.then_some(item)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(table: Table, rows: &[[&str; 2]]) -> String {
        let rows: Vec<Vec<Cell>> = rows.iter().map(|row| row.map(Cell::from).to_vec()).collect();
        let mut out = Vec::new();
        table.write(&rows, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn named() -> Table {
        Table::new().column("name", Align::Left).column("size", Align::Right)
    }

    #[test]
    fn numbers_are_aligned_to_the_right() {
        let text = written(named(), &[["a", "1"], ["weight", "12345"]]);
        assert_eq!(text, "name     size\na           1\nweight  12345\n");
    }

    #[test]
    fn wide_and_zero_width_characters_keep_columns_straight() {
        // Six cells of CJK, five of "e" with a combining accent, an emoji of two, a zero-width joiner of none.
        let rows =
            [["模型层", "1"], ["cafe\u{301}x", "2"], ["\u{1f600}", "3"], ["a\u{200d}b", "4"]];
        let text = written(named(), &rows);
        let mut ends = text.lines().map(width);
        let first = ends.next().unwrap();
        assert_eq!(first, "name  ".len() + "  size".len());
        assert!(ends.all(|end| end == first), "{text}");
        assert_eq!(width("模型层"), 6);
        assert_eq!(width("cafe\u{301}x"), 5);
        assert_eq!(width("a\u{200d}b"), 2);
        assert_eq!(padded("模", 4), "模  ");
    }

    #[test]
    fn empty_columns_are_left_out() {
        assert_eq!(written(named(), &[["a", ""], ["b", ""]]), "name\na\nb\n");
        assert_eq!(written(named(), &[["a", ""], ["b", "1"]]), "name  size\na\nb        1\n");
    }

    #[test]
    fn cells_that_are_too_wide_push_their_line_only() {
        let table =
            Table::new().column_up_to("", Align::Left, 4).column("", Align::Left).indented(1);
        let text = written(table, &[["abcdefgh", "x"], ["ab", "y"]]);
        assert_eq!(text, " abcdefgh  x\n ab    y\n");
    }

    #[test]
    fn colour_takes_no_room() {
        let red = Cell::styled("bad", "\u{1b}[31mbad\u{1b}[0m");
        let rows = [vec![red, "1".into()], vec!["worse".into(), "2".into()]];
        let mut out = Vec::new();
        named().write(&rows, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("\u{1b}[31mbad\u{1b}[0m       1\n"), "{text:?}");
    }
}
