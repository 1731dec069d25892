//! Records that are larger than a topic takes: found before they are sent, as a step finds any other record that it cannot use.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::{Array, BinaryArray, BooleanArray};
use arrow_select::filter::filter;

use super::encoded::Checked;
use super::tree::Tree;
use crate::error::{Error, Part, Result};
use crate::graph::NodeBody;
use crate::log::Log;
use crate::plugin::{Rejects, SourceReject};

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

/// Takes out what is larger than `topic` takes, and rejects all rows that such a record is of. Gives how many rows it rejected.
pub(super) fn take_out(
    checked: &mut Checked,
    largest: Option<usize>,
    topic: &str,
    rejects: &mut Rejects,
) -> Result<usize> {
    let encoded = &checked.records;
    let held = |array: &BinaryArray| array.value_data().len();
    let all = encoded.keys.as_ref().map_or(0, held) + held(&encoded.values);
    // Nearly always: no single record is larger than all of them.
    let Some(largest) = largest.filter(|largest| all > *largest) else { return Ok(0) };
    let length =
        |array: &BinaryArray, record| if array.is_null(record) { 0 } else { array.value(record).len() };
    let size = |record| {
        encoded.keys.as_ref().map_or(0, |keys| length(keys, record)) + length(&encoded.values, record)
    };
    let sizes: Vec<usize> = (0..encoded.values.len()).map(size).collect();
    if sizes.iter().all(|size| *size <= largest) {
        return Ok(0);
    }
    let before = rejects.rows().len();
    let mut rows_of = vec![0_usize; sizes.len()];
    checked.written().for_each(|(_, record)| rows_of[record] += 1);
    for (row, record) in checked.written().filter(|(_, record)| sizes[*record] > largest) {
        let size = sizes[record];
        let mut reason = format!(
            "larger than its topic takes: {size} bytes of key and value, and `{topic}` takes {largest}"
        );
        if let others @ 1.. = rows_of[record] - 1 {
            let _ = write!(
                reason,
                "; the record is of this and {others} other rows, and `encode: json` makes one of each row"
            );
        }
        rejects.push(row, reason);
    }
    let stay: BooleanArray = sizes.iter().map(|size| Some(*size <= largest)).collect();
    let broken = |e| Error::fatal("records could not be left out").caused_by(e);
    let left = |array: &BinaryArray| -> Result<BinaryArray> {
        let left = filter(array, &stay).map_err(broken)?;
        Ok(left.as_any().downcast_ref::<BinaryArray>().cloned().unwrap_or_else(|| BinaryArray::new_null(0)))
    };
    let keys = encoded.keys.as_ref().map(left).transpose()?;
    let values = left(&encoded.values)?;
    let times = encoded.timestamps.iter().zip(&sizes);
    let timestamps = times.filter(|(_, size)| **size <= largest).map(|(time, _)| *time).collect();
    checked.records.keys = keys;
    checked.records.values = values;
    checked.records.timestamps = timestamps;
    Ok(rejects.rows().len() - before)
}

/// Cuts the last `count` dead letters short.
pub(super) fn cut(dead: &mut [SourceReject], count: usize) {
    for letter in dead.iter_mut().rev().take(count).filter(|letter| letter.raw.len() > KEPT) {
        letter.raw.truncate(KEPT);
        letter.reason.push_str("; the record is cut short here");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{Encoded, RecordMap};

    fn checked(
        values: &[Option<&str>],
        keys: bool,
        rows: usize,
        map: RecordMap,
        rejects: &mut Rejects,
    ) -> Checked {
        let keys = keys.then(|| values.iter().map(|_| Some("key")).collect::<BinaryArray>());
        let timestamps = (0..values.len() as i64).collect();
        let encoded = Encoded { keys, values: values.iter().copied().collect(), timestamps, rows: map };
        Checked::new(encoded, rows, rejects, "test").unwrap()
    }

    fn rejected(rejects: &Rejects, from: usize) -> Vec<(usize, &str)> {
        rejects.rows()[from..].iter().map(|r| (r.row, r.reason.as_str())).collect()
    }

    #[test]
    fn only_what_is_too_large_is_taken_out_and_its_rows_are_named() {
        let mut rejects = Rejects::default();
        // Row 1 was rejected before: the records are of rows 0, 2, 3 and 4.
        rejects.push(1, "no");
        let values = [Some("12345"), Some("123456789"), None, Some("1234567")];
        let mut records = checked(&values, true, 5, RecordMap::OneEach, &mut rejects);
        assert_eq!(take_out(&mut records, Some(10), "t", &mut rejects).unwrap(), 1);
        let reason = "larger than its topic takes: 12 bytes of key and value, and `t` takes 10";
        assert_eq!(rejected(&rejects, 1), [(2, reason)]);
        let left: Vec<_> = records.records.values.iter().collect();
        assert_eq!(left, [Some(b"12345".as_slice()), None, Some(b"1234567")]);
        assert_eq!(records.records.keys.unwrap().len(), 3);
        assert_eq!(&records.records.timestamps[..], [0, 2, 3]);
    }

    #[test]
    fn all_rows_of_a_record_go_with_it() {
        let mut rejects = Rejects::default();
        rejects.push(2, "no");
        let map = RecordMap::Rows(vec![1, 0, 1, 1, 0]);
        let mut records = checked(&[Some("12"), Some("1234")], false, 6, map, &mut rejects);
        assert_eq!(take_out(&mut records, Some(3), "t", &mut rejects).unwrap(), 3);
        let reason = "larger than its topic takes: 4 bytes of key and value, and `t` takes 3; the record is of this and 2 other rows, and `encode: json` makes one of each row";
        assert_eq!(rejected(&rejects, 1), [(0, reason), (3, reason), (4, reason)]);
        assert_eq!(records.records.values.iter().collect::<Vec<_>>(), [Some(b"12".as_slice())]);
    }

    #[test]
    fn what_fits_is_left_alone() {
        for (largest, values) in [(None, "1234567890"), (Some(10), "1234567890"), (Some(5), "12345")] {
            let mut rejects = Rejects::default();
            let mut records = checked(&[Some(values), None], false, 2, RecordMap::OneEach, &mut rejects);
            assert_eq!(take_out(&mut records, largest, "t", &mut rejects).unwrap(), 0, "{values}");
            assert_eq!((records.records.values.len(), rejects.rows().len()), (2, 0));
        }
    }
}
