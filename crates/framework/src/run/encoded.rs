//! What a format has encoded, held to what it says: each row is in a record, or was rejected.

use std::collections::HashSet;

use arrow_array::Array;

use super::promises::Promiser;
use crate::error::Result;
use crate::plugin::{Encoded, RecordMap, Rejects};

/// Encoded records of which it is known which rows each is of.
pub(super) struct Checked {
    pub(super) records: Encoded,
    /// The rows of the batch that were rejected while it was encoded.
    rejected: HashSet<usize>,
    rows: usize,
}

impl Checked {
    /// Checks what the format `format` made of a batch of `rows` rows.
    ///
    /// # Errors
    /// Where it is not what the contract says: rows would be lost or counted twice.
    pub(super) fn new(records: Encoded, rows: usize, rejects: &mut Rejects, format: &str) -> Result<Self> {
        let format = Promiser::of("format", format);
        let rejected = rejects.settle(rows).map_err(|row| format.rejected(row, rows))?;
        let checked = Self { records, rejected, rows };
        match checked.fault() {
            None => Ok(checked),
            Some(fault) => Err(format.broke(fault)),
        }
    }

    /// What is wrong.
    fn fault(&self) -> Option<String> {
        let Self { records, rejected, rows } = self;
        let count = records.values.len();
        if records.timestamps.len() != count {
            let times = records.timestamps.len();
            return Some(format!("gave {} for {}", number(times, "timestamp"), number(count, "record")));
        }
        if let Some(keys) = records.keys.as_ref().map(Array::len).filter(|keys| *keys != count) {
            return Some(format!("gave {} for {}", number(keys, "key"), number(count, "record")));
        }
        let left = rows - rejected.len();
        let map = match &records.rows {
            RecordMap::OneEach if count == left => return None,
            RecordMap::OneEach => {
                let (records, rows) = (number(count, "record"), number(left, "row"));
                return Some(format!("gave {records} for {rows} that it did not reject"));
            }
            RecordMap::Rows(map) => map,
        };
        if map.len() != left {
            let said = number(map.len(), "row");
            return Some(format!(
                "says of {said} which record it is in, and there are {left} that it did not reject"
            ));
        }
        let mut filled = vec![false; count];
        for record in map {
            match filled.get_mut(*record as usize) {
                Some(filled) => *filled = true,
                None => {
                    return Some(format!(
                        "put a row into record {record}, and there are {count}: records are counted from 0"
                    ));
                }
            }
        }
        let empty = filled.iter().position(|filled| !filled)?;
        Some(format!("gave records that stand for nothing: record {empty} is of no row"))
    }

    /// The rows that were not rejected while the batch was encoded, each with its record.
    pub(super) fn written(&self) -> impl Iterator<Item = (usize, usize)> {
        let rows = (0..self.rows).filter(|row| !self.rejected.contains(row));
        rows.enumerate().map(|(at, row)| match &self.records.rows {
            RecordMap::OneEach => (row, at),
            RecordMap::Rows(map) => (row, map.get(at).map_or(0, |record| *record as usize)),
        })
    }
}

fn number(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
