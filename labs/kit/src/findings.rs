//! What a lab concludes from its record: figures, tables, and claims with verdicts.

use serde::{Deserialize, Serialize};

use crate::{answer::Answer, claim::Claim, figure::Figure, stats::Estimate, text::cell};

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
        Table { title: title.into(), columns, ..Table::default() }
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
        Table { note: note.into(), ..self }
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
