//! Rows that a step cannot use.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

/// The schema of a `dead` output: `source`, `partition` and `offset` say where the record was read, `place`
/// says the same for a person (`logs/a.csv:17`, `orders[0]@1234`), `reason` why it could not be used,
/// `record` what it was. Bytes that are not UTF-8 stand in `record` as `\xNN`, and `escaped` is then true.
pub fn dead_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("source", DataType::Utf8, false),
        Field::new("partition", DataType::Int64, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("place", DataType::Utf8, false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("record", DataType::Utf8, false),
        Field::new("escaped", DataType::Boolean, false),
    ]))
}

/// The first bytes of a record, at most `most`: for a [`SourceReject`](super::SourceReject) whose record is
/// long. A character that is whole is not cut.
///
/// ```
/// use pipectl_framework::plugin::head;
/// assert_eq!(head("José, 23".as_bytes(), 5), "José".as_bytes());
/// assert_eq!(head("José, 23".as_bytes(), 4), b"Jos");
/// assert_eq!(head(b"Jos\xe9, 23", 4), b"Jos\xe9");
/// ```
pub fn head(record: &[u8], most: usize) -> &[u8] {
    let Some(kept) = record.get(..most).filter(|kept| kept.len() < record.len()) else { return record };
    // Where a character begins in the last three bytes that goes on behind them.
    let cut = (most.saturating_sub(3)..most).find(|at| {
        let next = record.get(*at..record.len().min(at + 4)).unwrap_or_default();
        let leads = next.first().is_some_and(|byte| *byte >= 0xc0);
        let whole = next.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
        leads && whole.is_some_and(|char| at + char.len_utf8() > most)
    });
    cut.map_or(kept, |at| &record[..at])
}

/// One row that a step cannot use, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The row's index in the batch that the step was given (for a format: the record's index).
    pub row: usize,
    /// Why, in one sentence without a final full stop, such as `not a number: "abc"`. What stands before the
    /// first `: ` is the kind of reason, by which rows are counted; the row's own text stands behind it.
    pub reason: String,
}

/// Collects the rows of one batch that a step cannot use. What becomes of them is the step's `on_error` in
/// the file: the run fails, or they are counted and skipped, or they go to the step's `dead` output with the
/// record as it was read. A step leaves a rejected row out of what it gives.
#[derive(Debug, Default)]
pub struct Rejects {
    rows: Vec<Reject>,
}

impl Rejects {
    /// Rejects row `row`.
    pub fn push(&mut self, row: usize, reason: impl Into<String>) {
        self.rows.push(Reject { row, reason: reason.into() });
    }

    /// Those collected so far, in the order they came.
    pub fn rows(&self) -> &[Reject] {
        &self.rows
    }

    /// True where none was rejected.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Those of a batch of `rows` rows, each row once: a row that was rejected again keeps its first reason.
    /// `Err` with a row that the batch does not have.
    pub(crate) fn settle(&mut self, rows: usize) -> Result<HashSet<usize>, usize> {
        let mut seen = HashSet::with_capacity(self.rows.len());
        self.rows.retain(|reject| seen.insert(reject.row));
        match self.rows.iter().map(|reject| reject.row).find(|row| *row >= rows) {
            Some(row) => Err(row),
            None => Ok(seen),
        }
    }

    /// Those from the `from`th on were rows of a part of the batch that begins at row `start`.
    pub(crate) fn behind(&mut self, from: usize, start: usize) {
        self.rows.iter_mut().skip(from).for_each(|reject| reject.row += start);
    }

    /// Forgets them, keeping the memory.
    pub fn clear(&mut self) {
        self.rows.clear();
    }
}
