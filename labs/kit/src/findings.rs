//! What a lab concludes from its record: figures, tables, and claims with verdicts.

use serde::{Deserialize, Serialize};

use crate::{answer::Answer, claim::Claim, figure::Figure, stats::Estimate};

/// Everything a lab's `explain` returns.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The result in one sentence, with its figures.
    pub headline: String,
    /// Charts, in the order of the report.
    pub figures: Vec<Figure>,
    /// Tables, in the order of the report; the first one is shown after a run.
    pub tables: Vec<Table>,
    /// What theory says beside what was measured.
    pub claims: Vec<Claim>,
    /// Of everything that the reader is asked to predict, what came out and what theory says.
    pub answers: Vec<Answer>,
}

impl Findings {
    /// The answer to the question of this key.
    pub fn answer(&self, key: &str) -> Option<&Answer> {
        self.answers.iter().find(|answer| answer.key == key)
    }
}

/// A table of text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Heads of the columns, with units.
    pub columns: Vec<String>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
    /// Written below: what the reader must know.
    pub note: String,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(title: &str, columns: &[&str]) -> Table {
        let columns = columns.iter().map(|c| c.to_string()).collect();
        Table {
            title: title.into(),
            columns,
            ..Table::default()
        }
    }

    /// A table with a row for each of these, column by column.
    pub fn of<R>(title: impl Into<String>, rows: impl IntoIterator<Item = R>) -> Columns<R> {
        let of: Vec<R> = rows.into_iter().collect();
        let table = Table {
            title: title.into(),
            rows: of.iter().map(|_| vec![]).collect(),
            ..Table::default()
        };
        Columns { of, table }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// When it has not a cell for each column, which is a slip in the lab.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let row: Vec<String> = cells.into_iter().collect();
        assert_eq!(row.len(), self.columns.len(), "cells of \"{}\"", self.title);
        self.rows.push(row);
    }

    /// The same table with this written below.
    pub fn note(self, note: impl Into<String>) -> Table {
        Table {
            note: note.into(),
            ..self
        }
    }

    /// Nothing, when nothing is in it.
    pub fn unless_empty(self) -> Option<Table> {
        (!self.rows.is_empty()).then_some(self)
    }
}

/// A table that grows by columns, so that a head and its cells stand together.
#[derive(Debug)]
#[must_use]
pub struct Columns<R> {
    of: Vec<R>,
    table: Table,
}

impl<R> Columns<R> {
    /// A column: its head, with the unit, and its cell in each row.
    pub fn column(mut self, head: impl Into<String>, cell: impl Fn(&R) -> String) -> Columns<R> {
        self.table.columns.push(head.into());
        for (row, of) in self.table.rows.iter_mut().zip(&self.of) {
            row.push(cell(of));
        }
        self
    }

    /// A column of estimates that may be missing.
    pub fn cells(
        self,
        head: impl Into<String>,
        write: impl Fn(f64) -> String,
        read: impl Fn(&R) -> Option<Estimate>,
    ) -> Columns<R> {
        self.column(head, |of| cell(read(of), &write))
    }

    /// The table.
    pub fn done(self) -> Table {
        self.table
    }

    /// The table, with this written below.
    pub fn note(self, note: impl Into<String>) -> Table {
        self.table.note(note)
    }
}

/// A number as people write it: three to four significant digits, no needless zeros.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    let size = value.abs();
    let decimals = match size {
        s if s >= 100.0 || s == 0.0 => 0,
        s if s >= 10.0 => 1,
        s if s >= 1.0 => 2,
        s if s >= 0.01 => 3,
        s if s >= 1e-6 => 6,
        _ => return format!("{value:.1e}"),
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_string();
    }
    text
}

/// A count as people write it: "9999", "50,000".
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Seconds as people write them: "850 µs", "12.3 ms", "1.05 s".
pub fn seconds(value: f64) -> String {
    match value.abs() {
        s if !s.is_finite() => "–".into(),
        0.0 => "0 s".into(),
        s if s < 1e-3 => format!("{:.0} µs", value * 1e6),
        s if s < 0.1 => format!("{} ms", number((value * 1e4).round() / 10.0)),
        s if s < 1.0 => format!("{:.0} ms", value * 1e3),
        s if s < 100.0 => format!("{value:.2} s"),
        _ => format!("{value:.0} s"),
    }
}

/// A share in percent: "57.4 %".
pub fn percent(share: f64) -> String {
    if share.is_finite() {
        format!("{:.1} %", share * 100.0)
    } else {
        "–".into()
    }
}

/// A table cell for an estimate that may be missing.
pub fn cell(estimate: Option<Estimate>, write: impl Fn(f64) -> String) -> String {
    estimate.map_or("–".into(), |e| write(e.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_read_well() {
        for (v, text) in [
            (1234.56, "1235"),
            (12.34, "12.3"),
            (1.0, "1"),
            (0.0, "0"),
            (0.1234, "0.123"),
            (-2.5, "-2.5"),
            (f64::NAN, "–"),
            (100.0, "100"),
        ] {
            assert_eq!(number(v), text);
        }
        for (v, text) in [
            (0.0105, "10.5 ms"),
            (0.5254, "525 ms"),
            (1.05, "1.05 s"),
            (4e-5, "40 µs"),
        ] {
            assert_eq!(seconds(v), text);
        }
    }

    proptest! {
        #[test]
        fn writing_numbers_never_panics(v: f64) { let _ = (number(v), seconds(v), percent(v)); }
    }
}
