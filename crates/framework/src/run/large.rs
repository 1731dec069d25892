//! Records that are larger than a topic takes: found before they are sent, as a step finds any other record that it cannot use.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{Array, BinaryArray, BooleanArray};
use arrow_select::filter::filter;

use super::tree::Tree;
use crate::error::{Error, Part, Result};
use crate::graph::NodeBody;
use crate::log::Log;
use crate::plugin::{Encoded, Rejects, SourceReject};

/// The most bytes that a dead letter keeps of such a record: the letter must be small enough for any topic.
const KEPT: usize = 1024;

impl Tree {
    /// Asks how large records may be, for each sink on a topic.
    pub(crate) async fn learn_largest(&mut self, logs: &[(String, Arc<dyn Log>)]) -> Result<()> {
        self.largest = vec![None; self.nodes.len()];
        for index in 0..self.nodes.len() {
            let NodeBody::Topic(connection, sink) = &self.nodes[index].body else { continue };
            let (connection, topic) = (*connection, sink.topic.clone());
            if let Some((_, log)) = logs.get(connection) {
                let found = log.largest_record(&topic).await;
                self.largest[index] = found.map_err(|e| e.of(Part::Connection(connection)))?;
            }
        }
        Ok(())
    }
}

/// Takes out what is larger than `topic` takes, and rejects its rows: those of a batch of `rows`, less those that are rejected already, are what was
/// encoded. Gives how many it took out.
pub(super) fn take_out(
    encoded: &mut Encoded,
    largest: Option<usize>,
    topic: &str,
    rows: usize,
    rejects: &mut Rejects,
) -> Result<usize> {
    let held = |array: &BinaryArray| array.value_data().len();
    let all = encoded.keys.as_ref().map_or(0, held) + held(&encoded.values);
    // Nearly always: no single record is larger than all of them.
    let Some(largest) = largest.filter(|largest| all > *largest) else { return Ok(0) };
    let length =
        |array: &BinaryArray, record| if array.is_null(record) { 0 } else { array.value(record).len() };
    let size = |record| {
        encoded.keys.as_ref().map_or(0, |keys| length(keys, record)) + length(&encoded.values, record)
    };
    let large: Vec<(usize, usize)> = (0..encoded.values.len())
        .map(|record| (record, size(record)))
        .filter(|(_, size)| *size > largest)
        .collect();
    if large.is_empty() {
        return Ok(0);
    }
    let rejected: HashSet<usize> = rejects.rows().iter().map(|reject| reject.row).collect();
    let written: Vec<usize> = (0..rows).filter(|row| !rejected.contains(row)).collect();
    for (record, size) in &large {
        let row = written.get(*record).copied();
        let row = row.ok_or_else(|| Error::fatal("a format gave more records than it has rows"))?;
        rejects.push(
            row,
            format!(
                "larger than its topic takes: {size} bytes of key and value, and `{topic}` takes {largest}"
            ),
        );
    }
    let taken: HashSet<usize> = large.iter().map(|(record, _)| *record).collect();
    let stay: BooleanArray = (0..encoded.values.len()).map(|record| Some(!taken.contains(&record))).collect();
    let broken = |e| Error::fatal("records could not be left out").caused_by(e);
    let left = |array: &BinaryArray| -> Result<BinaryArray> {
        let left = filter(array, &stay).map_err(broken)?;
        Ok(left.as_any().downcast_ref::<BinaryArray>().cloned().unwrap_or_else(|| BinaryArray::new_null(0)))
    };
    encoded.keys = encoded.keys.as_ref().map(left).transpose()?;
    encoded.values = left(&encoded.values)?;
    let times = encoded.timestamps.iter().enumerate();
    encoded.timestamps =
        times.filter(|(record, _)| !taken.contains(record)).map(|(_, time)| *time).collect::<Vec<_>>().into();
    Ok(large.len())
}

/// Cuts the last `count` dead letters short.
pub(super) fn cut(dead: &mut [SourceReject], count: usize) {
    for letter in dead.iter_mut().rev().take(count) {
        letter.raw.truncate(KEPT);
        letter.reason.push_str("; the record is cut short here");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(values: &[Option<&str>], keys: bool) -> Encoded {
        let keys = keys.then(|| values.iter().map(|_| Some("key")).collect::<BinaryArray>());
        let times: Vec<i64> = (0..values.len() as i64).collect();
        Encoded { keys, values: values.iter().copied().collect(), timestamps: times.into() }
    }

    #[test]
    fn only_what_is_too_large_is_taken_out_and_its_rows_are_named() {
        let mut rejects = Rejects::default();
        // Row 1 was rejected before: the records are of rows 0, 2, 3 and 4.
        rejects.push(1, "no");
        let mut records = encoded(&[Some("12345"), Some("123456789"), None, Some("1234567")], true);
        assert_eq!(take_out(&mut records, Some(10), "t", 5, &mut rejects).unwrap(), 1);
        let named: Vec<_> = rejects.rows()[1..].iter().map(|r| (r.row, r.reason.as_str())).collect();
        assert_eq!(named, [(2, "larger than its topic takes: 12 bytes of key and value, and `t` takes 10")]);
        let left: Vec<_> = records.values.iter().collect();
        assert_eq!(left, [Some(b"12345".as_slice()), None, Some(b"1234567")]);
        assert_eq!(records.keys.unwrap().len(), 3);
        assert_eq!(&records.timestamps[..], [0, 2, 3]);
    }

    #[test]
    fn what_fits_is_left_alone() {
        for (largest, values) in [(None, "1234567890"), (Some(10), "1234567890"), (Some(5), "12345")] {
            let mut records = encoded(&[Some(values), None], false);
            let mut rejects = Rejects::default();
            assert_eq!(take_out(&mut records, largest, "t", 2, &mut rejects).unwrap(), 0, "{values}");
            assert_eq!((records.values.len(), rejects.rows().len()), (2, 0));
        }
    }
}
