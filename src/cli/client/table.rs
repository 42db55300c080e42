//! Tables for people: as wide as what they hold, and no wider than the terminal.
//!
//! A column in which nothing stands is left out. Where the rest is too wide for the
//! terminal, the columns that are worth least go, then the last is shortened. Never
//! looks at what the words mean.

use std::borrow::Cow;
use std::io::{self, Write};

/// Columns between columns.
const GAP: usize = 2;

/// One column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Numbers stand to the right.
    pub(super) right: bool,
    /// What goes first where there is no room: the lowest. The highest stays always.
    pub(super) worth: u8,
}

/// Rows of words below the titles of their columns.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub(super) columns: &'a [Column],
    /// Each as long as `columns`.
    pub(super) rows: Vec<Vec<Cow<'a, str>>>,
}

impl Table<'_> {
    /// Writes the table within `width` columns of a terminal, or as wide as it is.
    pub(super) fn write(&self, width: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
        let widths = self.widths();
        let shown = self.shown(&widths, width);
        let titles: Vec<&str> = self.columns.iter().map(|column| column.title).collect();
        let mut line = String::new();
        self.line(&titles, &widths, &shown, width, &mut line);
        out.write_all(line.as_bytes())?;
        for row in &self.rows {
            line.clear();
            self.line(row, &widths, &shown, width, &mut line);
            out.write_all(line.as_bytes())?;
        }
        Ok(())
    }

    /// The width of each column; 0 where nothing stands in it.
    fn widths(&self) -> Vec<usize> {
        let of = |(index, column): (usize, &Column)| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            match cells.map(|cell| cell.chars().count()).max() {
                Some(0) => 0,
                widest => widest.unwrap_or(0).max(column.title.len()),
            }
        };
        self.columns.iter().enumerate().map(of).collect()
    }

    /// The columns that are shown.
    fn shown(&self, widths: &[usize], limit: Option<usize>) -> Vec<usize> {
        let mut shown: Vec<usize> = (0..widths.len()).filter(|index| widths[*index] > 0).collect();
        let highest = self.columns.iter().map(|column| column.worth).max();
        while let Some(limit) = limit {
            let total: usize = shown.iter().map(|index| widths[*index] + GAP).sum();
            let least = shown.iter().min_by_key(|index| self.columns[**index].worth).copied();
            match least {
                Some(least)
                    if total > limit + GAP && Some(self.columns[least].worth) != highest =>
                {
                    shown.retain(|index| *index != least);
                }
                _ => break,
            }
        }
        shown
    }

    fn line(
        &self,
        cells: &[impl AsRef<str>],
        widths: &[usize],
        shown: &[usize],
        limit: Option<usize>,
        line: &mut String,
    ) {
        for index in shown {
            let (cell, width) = (cells[*index].as_ref(), widths[*index]);
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            match self.columns[*index].right {
                true => line.extend([padding.as_str(), cell]),
                false => line.extend([cell, padding.as_str()]),
            }
            line.push_str(&" ".repeat(GAP));
        }
        line.truncate(line.trim_end().len());
        if let Some(limit) = limit
            && let Some((cut, _)) = line.char_indices().nth(limit)
            && let Some((last, _)) = line[..cut].char_indices().next_back()
        {
            line.truncate(last);
            line.push('…');
        }
        line.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column { title: "NAME", right: false, worth: 9 },
        Column { title: "N", right: true, worth: 1 },
        Column { title: "NOTHING", right: false, worth: 5 },
        Column { title: "WHY", right: false, worth: 7 },
    ];

    fn shown(width: Option<usize>) -> String {
        let row = |cells: [&'static str; 4]| cells.map(Cow::Borrowed).to_vec();
        let rows = vec![row(["alpha", "7", "", "in use"]), row(["é", "1234", "", ""])];
        let mut out = Vec::new();
        Table { columns: &COLUMNS, rows }.write(width, &mut out).expect("memory takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn columns_are_aligned_and_an_empty_one_is_left_out() {
        assert_eq!(shown(None), "NAME      N  WHY\nalpha     7  in use\né      1234\n");
        assert_eq!(shown(Some(80)), shown(None));
    }

    #[test]
    fn what_is_worth_least_goes_where_there_is_no_room() {
        assert_eq!(shown(Some(14)), "NAME   WHY\nalpha  in use\né\n");
        assert_eq!(shown(Some(4)), "NAME\nalp…\né\n");
    }

    #[test]
    fn a_table_without_rows_is_its_titles() {
        let table = Table { columns: &COLUMNS, rows: Vec::new() };
        let mut out = Vec::new();
        table.write(None, &mut out).expect("memory takes all");
        assert_eq!(String::from_utf8_lossy(&out), "NAME  N  NOTHING  WHY\n");
    }
}
