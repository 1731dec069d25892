//! The independent check: recomputes every window from the input as it stands in Kafka, and compares.

use std::collections::HashMap;

use rdkafka::message::Message;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::reading::{text, whole};
use crate::{Error, KEYS, OUTPUTS, PARTITIONS, Result};

/// The length of a window in milliseconds.
const SIZE: i64 = 1000;

/// A window and a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Cell {
    start: i64,
    pub(crate) key: usize,
}

impl Cell {
    /// The cell that a record of the input belongs to.
    fn of_record(value: &str, time: i64) -> Option<Self> {
        Some(Self { start: time - time.rem_euclid(SIZE), key: Self::key_of_record(value)? })
    }

    /// The key of a record of the input.
    pub(crate) fn key_of_record(value: &str) -> Option<usize> {
        key(&serde_json::from_str(value).ok()?)
    }

    /// A result's cell and count.
    pub(crate) fn of_result(value: &str) -> Option<(Self, u64)> {
        let value: Value = serde_json::from_str(value).ok()?;
        let start = value["window_start"].as_i64()?;
        Some((Self { start, key: key(&value)? }, value["count"].as_u64()?))
    }

    /// When its window ends.
    pub(crate) fn end(&self) -> i64 {
        self.start + SIZE
    }
}

fn key(value: &Value) -> Option<usize> {
    value["key"].as_str()?.strip_prefix('k')?.parse().ok().filter(|key| *key < KEYS)
}

fn id(value: &str) -> Option<usize> {
    serde_json::from_str::<Value>(value).ok()?["id"].as_u64().map(|id| id as usize)
}

/// The topics of a run.
#[derive(Debug, Clone)]
pub(crate) struct Topics {
    pub(crate) input: String,
    pub(crate) counts: String,
    pub(crate) late: String,
    pub(crate) copies: String,
}

/// What stands in the topics.
#[derive(Debug, Default)]
pub(crate) struct Found {
    cells: HashMap<Cell, u64>,
    results: HashMap<Cell, Vec<u64>>,
    late: HashMap<Cell, u64>,
    /// How often each id is in the input, and in the copies.
    ids: Vec<(u32, u32)>,
    /// The results as they stand.
    pub(crate) lines: Vec<String>,
}

/// What is wrong, and how much there was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Verdict {
    pub(crate) records: u64,
    pub(crate) cells: u64,
    pub(crate) late: u64,
    pub(crate) cells_lost: u64,
    pub(crate) cells_twice: u64,
    pub(crate) cells_wrong: u64,
    pub(crate) cells_invented: u64,
    pub(crate) ids_lost: u64,
    pub(crate) ids_twice: u64,
    pub(crate) acknowledged_lost: u64,
    /// Some of what is wrong, for a person.
    pub(crate) examples: Vec<String>,
}

impl Verdict {
    /// How many things are wrong.
    pub(crate) fn wrong(&self) -> u64 {
        self.cells_lost
            + self.cells_twice
            + self.cells_wrong
            + self.cells_invented
            + self.ids_lost
            + self.ids_twice
            + self.acknowledged_lost
    }
}

fn strange(topic: &str, value: &str) -> Error {
    Error::from(format!("topic {topic} has a record that nobody wrote: {value}"))
}

impl Found {
    /// Reads everything.
    pub(crate) fn read(cluster: &Cluster, topics: &Topics) -> Result<Self> {
        let mut found = Self::default();
        whole(cluster, &topics.input, PARTITIONS, |message| {
            let (value, time) = (text(message), message.timestamp().to_millis().unwrap_or(0));
            let cell = Cell::of_record(&value, time).ok_or_else(|| strange(&topics.input, &value))?;
            *found.cells.entry(cell).or_default() += 1;
            found.seen(id(&value).ok_or_else(|| strange(&topics.input, &value))?).0 += 1;
            Ok(())
        })?;
        whole(cluster, &topics.copies, OUTPUTS, |message| {
            let value = text(message);
            found.seen(id(&value).ok_or_else(|| strange(&topics.copies, &value))?).1 += 1;
            Ok(())
        })?;
        whole(cluster, &topics.late, OUTPUTS, |message| {
            let (value, time) = (text(message), message.timestamp().to_millis().unwrap_or(0));
            let cell = Cell::of_record(&value, time).ok_or_else(|| strange(&topics.late, &value))?;
            *found.late.entry(cell).or_default() += 1;
            Ok(())
        })?;
        whole(cluster, &topics.counts, OUTPUTS, |message| {
            let value = text(message);
            let (cell, count) = Cell::of_result(&value).ok_or_else(|| strange(&topics.counts, &value))?;
            found.results.entry(cell).or_default().push(count);
            found.lines.push(value);
            Ok(())
        })?;
        Ok(found)
    }

    fn seen(&mut self, id: usize) -> &mut (u32, u32) {
        if self.ids.len() <= id {
            self.ids.resize(id + 1, (0, 0));
        }
        &mut self.ids[id]
    }

    /// True once nothing is missing; what is there may still be wrong.
    pub(crate) fn whole(&self) -> bool {
        self.ids.iter().all(|(made, copied)| copied >= made)
            && self.cells.keys().all(|cell| self.results.contains_key(cell) || self.late.contains_key(cell))
    }

    /// Compares. `acknowledged` says of each id whether the brokers took it.
    pub(crate) fn judge(&self, acknowledged: &[bool]) -> Verdict {
        let mut verdict = Verdict {
            records: self.cells.values().sum(),
            cells: self.cells.len() as u64,
            late: self.late.values().sum(),
            ..Verdict::default()
        };
        let mut examples = Vec::new();
        let mut cells: Vec<(&Cell, u64)> = self.cells.iter().map(|(cell, made)| (cell, *made)).collect();
        cells.sort_unstable();
        for (cell, made) in cells {
            let late = self.late.get(cell).copied().unwrap_or(0);
            let results = self.results.get(cell).map_or(&[][..], Vec::as_slice);
            let wrong = match results {
                [] if late == made => None,
                [] => Some(&mut verdict.cells_lost),
                [count] if count + late == made => None,
                [_] => Some(&mut verdict.cells_wrong),
                _ => Some(&mut verdict.cells_twice),
            };
            if let Some(wrong) = wrong {
                *wrong += 1;
                examples.push(format!("{cell:?}: {made} records, {late} late, results {results:?}"));
            }
        }
        for cell in self.results.keys().chain(self.late.keys()).filter(|c| !self.cells.contains_key(c)) {
            verdict.cells_invented += 1;
            examples.push(format!("{cell:?}: no record, and a result"));
        }
        for (id, (made, copied)) in self.ids.iter().enumerate() {
            if copied < made {
                verdict.ids_lost += u64::from(made - copied);
            } else if copied > made {
                verdict.ids_twice += u64::from(copied - made);
            }
            if copied != made {
                examples.push(format!("id {id}: {made} in the input, {copied} copies"));
            }
        }
        let lost = |id: &usize| acknowledged[*id] && self.ids.get(*id).is_none_or(|(made, _)| *made == 0);
        verdict.acknowledged_lost = (0..acknowledged.len()).filter(lost).count() as u64;
        examples.truncate(20);
        verdict.examples = examples;
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(start: i64) -> Cell {
        Cell { start, key: 1 }
    }

    #[test]
    fn every_kind_of_wrong_is_found() {
        let mut found = Found::default();
        for (start, made, results, late) in [
            (1000, 3, vec![3], 0),
            (2000, 3, vec![2], 1),
            (3000, 2, vec![], 2),
            (4000, 3, vec![], 0),
            (5000, 3, vec![3, 3], 0),
            (6000, 3, vec![2], 0),
            (7000, 0, vec![1], 0),
        ] {
            if made > 0 {
                found.cells.insert(cell(start), made);
            }
            if !results.is_empty() {
                found.results.insert(cell(start), results);
            }
            if late > 0 {
                found.late.insert(cell(start), late);
            }
        }
        found.ids = vec![(1, 1), (1, 0), (1, 2), (0, 0)];
        assert!(!found.whole());
        let verdict = found.judge(&[true, true, true, true, false]);
        assert_eq!((verdict.records, verdict.cells, verdict.late), (17, 6, 3));
        assert_eq!((verdict.cells_lost, verdict.cells_twice), (1, 1));
        assert_eq!((verdict.cells_wrong, verdict.cells_invented), (1, 1));
        assert_eq!((verdict.ids_lost, verdict.ids_twice, verdict.acknowledged_lost), (1, 1, 1));
        assert_eq!(verdict.wrong(), 7);
        assert_eq!(verdict.examples.len(), 6);
    }

    #[test]
    fn a_result_and_a_record_of_one_window_have_one_cell() {
        let result = r#"{"window_start":2000,"window_end":3000,"key":"k3","count":7}"#;
        let (of_result, count) = Cell::of_result(result).unwrap();
        let of_record = Cell::of_record(r#"{"id":5,"key":"k3"}"#, 2999).unwrap();
        assert_eq!((of_result, count, of_result.end()), (of_record, 7, 3000));
        assert_ne!(Cell::of_record(r#"{"id":5,"key":"k3"}"#, 3000), Some(of_record));
        assert_eq!(id(r#"{"id":5,"key":"k3"}"#), Some(5));
        assert_eq!(Cell::of_record(r#"{"id":5,"key":"k99"}"#, 0), None, "no such key");
    }
}
