//! Records that a topic does not take. Those that are too large or of too early a time are found before they
//! are sent, as a step finds any other record that it cannot use; those that a rule of the log's own refuses
//! are known once the log has refused them, and everything is sent again without them.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::{Array, BinaryArray, BooleanArray};
use arrow_select::filter::filter;

use super::dead::CUT_SHORT;
use super::encoded::Checked;
use super::refused::OfTopic;
use super::tree::Tree;
use crate::clock::{Millis, said};
use crate::error::{Error, Part, Result};
use crate::graph::NodeBody;
use crate::log::Log;
use crate::plugin::{Reject, Rejects, SourceReject, head};

/// The most bytes that a dead letter keeps of such a record: the letter must be small enough for any topic.
const KEPT: usize = 1024;

/// What a topic takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The most bytes of key and value, as far as is known.
    pub(super) largest: Option<usize>,
    /// The earliest timestamp.
    pub(super) earliest: Millis,
    /// For how many milliseconds records are kept after their timestamp.
    pub(super) kept: Option<Millis>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { largest: None, earliest: Millis::MIN, kept: None }
    }
}

impl Tree {
    /// Asks what records may be, for each sink on a topic.
    pub(crate) async fn learn_limits(&mut self, logs: &[(String, Arc<dyn Log>)]) -> Result<()> {
        self.limits = vec![Limits::default(); self.nodes.len()];
        for index in 0..self.nodes.len() {
            let NodeBody::Topic(connection, sink) = &self.nodes[index].body else { continue };
            let (connection, topic) = (*connection, sink.topic.clone());
            if let Some((_, log)) = logs.get(connection) {
                let found = log.largest_record(&topic).await;
                let largest = found.map_err(|e| e.of(Part::Connection(connection)))?;
                let kept = log.retention(&topic).await.map_err(|e| e.of(Part::Connection(connection)))?;
                let kept = kept.and_then(|kept| Millis::try_from(kept.as_millis()).ok());
                self.limits[index] = Limits { largest, earliest: log.earliest_time(), kept };
            }
        }
        Ok(())
    }
}

/// Takes out what `topic` does not take, and rejects all rows that such a record is of. Gives the rows of
/// records that are too large.
pub(super) fn take_out(
    checked: &mut Checked,
    limits: Limits,
    mut refused: Option<OfTopic<'_>>,
    topic: &str,
    rejects: &mut Rejects,
) -> Result<Vec<usize>> {
    let encoded = &checked.records;
    let held = |array: &BinaryArray| array.value_data().len();
    let header = |(name, cells): &(Arc<str>, BinaryArray)| name.len() * cells.len() + held(cells);
    let headers: usize = encoded.headers.iter().map(header).sum();
    let all = encoded.keys.as_ref().map_or(0, held) + held(&encoded.values) + headers;
    let largest = limits.largest.unwrap_or(usize::MAX);
    // Nearly always: no single record is larger than all of them.
    if refused.is_none() && all <= largest && encoded.timestamps.iter().all(|time| *time >= limits.earliest) {
        return Ok(Vec::new());
    }
    let length =
        |array: &BinaryArray, record| if array.is_null(record) { 0 } else { array.value(record).len() };
    let size = |record| {
        let headers = encoded.headers.iter().filter(|(_, cells)| cells.is_valid(record));
        encoded.keys.as_ref().map_or(0, |keys| length(keys, record))
            + length(&encoded.values, record)
            + headers.map(|(name, cells)| name.len() + length(cells, record)).sum::<usize>()
    };
    let why = |record: usize| {
        let (size, time) = (size(record), encoded.timestamps[record]);
        if size > largest {
            let sizes = format!("{size} bytes of key and value, and `{topic}` takes {largest}");
            Some(format!("larger than its topic takes: {sizes}"))
        } else if time < limits.earliest {
            Some(format!(
                "earlier than its topic takes: its time is {}, and `{topic}` takes those from {} on",
                said(time),
                said(limits.earliest)
            ))
        } else {
            let key = encoded.keys.as_ref().filter(|keys| keys.is_valid(record));
            let value = encoded.values.is_valid(record).then(|| encoded.values.value(record));
            let refused = refused.as_mut()?;
            refused.reason(key.map(|keys| keys.value(record)), value, time).map(str::to_owned)
        }
    };
    let refused: Vec<Option<String>> = (0..encoded.values.len()).map(why).collect();
    if refused.iter().all(Option::is_none) {
        return Ok(Vec::new());
    }
    let mut large = Vec::new();
    let mut rows_of = vec![0_usize; refused.len()];
    checked.written().for_each(|(_, record)| rows_of[record] += 1);
    for (row, record) in checked.written() {
        let Some(reason) = &refused[record] else { continue };
        if size(record) > largest {
            large.push(row);
        }
        let mut reason = reason.clone();
        if let others @ 1.. = rows_of[record] - 1 {
            let _ = write!(
                reason,
                "; the record is of this and {others} other rows, and `encode: json` makes one of each row"
            );
        }
        rejects.push(row, reason);
    }
    let stay: BooleanArray = refused.iter().map(|refused| Some(refused.is_none())).collect();
    let broken = |e| Error::fatal("records could not be left out").caused_by(e);
    let left = |array: &BinaryArray| -> Result<BinaryArray> {
        let left = filter(array, &stay).map_err(broken)?;
        Ok(left.as_any().downcast_ref::<BinaryArray>().cloned().unwrap_or_else(|| BinaryArray::new_null(0)))
    };
    let mut headers = encoded.headers.clone();
    let keys = encoded.keys.as_ref().map(left).transpose()?;
    let values = left(&encoded.values)?;
    let times = encoded.timestamps.iter().zip(&refused);
    let timestamps = times.filter(|(_, refused)| refused.is_none()).map(|(time, _)| *time).collect();
    checked.records.keys = keys;
    checked.records.values = values;
    checked.records.timestamps = timestamps;
    for (_, cells) in &mut headers {
        *cells = left(cells)?;
    }
    checked.records.headers = headers;
    Ok(large)
}

/// Cuts the dead letters of `rejects` short that are of the rows `large`.
pub(super) fn cut(dead: &mut [SourceReject], rejects: &[Reject], large: &[usize]) {
    let letters = dead.iter_mut().zip(rejects).filter(|(_, reject)| large.contains(&reject.row));
    for letter in letters.map(|(letter, _)| letter).filter(|letter| letter.raw.len() > KEPT) {
        let kept = head(&letter.raw, KEPT).len();
        letter.raw.truncate(kept);
        letter.reason.push_str(CUT_SHORT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Refused;
    use crate::plugin::{Encoded, RecordMap};
    use crate::run::refused::RefusedRecords;

    fn checked(
        values: &[Option<&str>],
        keys: bool,
        rows: usize,
        map: RecordMap,
        rejects: &mut Rejects,
    ) -> Checked {
        let keys = keys.then(|| values.iter().map(|_| Some("key")).collect::<BinaryArray>());
        let timestamps = (0..values.len() as i64).collect();
        let encoded = Encoded {
            keys,
            values: values.iter().copied().collect(),
            timestamps,
            headers: Vec::new(),
            rows: map,
        };
        Checked::new(encoded, rows, rejects, "test").unwrap()
    }

    fn large(bytes: usize) -> Limits {
        Limits { largest: Some(bytes), ..Limits::default() }
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
        assert_eq!(take_out(&mut records, large(10), None, "t", &mut rejects).unwrap(), [2]);
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
        assert_eq!(take_out(&mut records, large(3), None, "t", &mut rejects).unwrap(), [0, 3, 4]);
        let reason = "larger than its topic takes: 4 bytes of key and value, and `t` takes 3; the record is of this and 2 other rows, and `encode: json` makes one of each row";
        assert_eq!(rejected(&rejects, 1), [(0, reason), (3, reason), (4, reason)]);
        assert_eq!(records.records.values.iter().collect::<Vec<_>>(), [Some(b"12".as_slice())]);
    }

    #[test]
    fn what_the_log_has_refused_is_taken_out_with_the_reason_and_its_neighbours_stay() {
        let mut known = RefusedRecords::default();
        let record = |value: &str, timestamp| Refused {
            topic: "t".to_owned(),
            key: Some(b"key".to_vec()),
            value: Some(value.as_bytes().to_vec()),
            timestamp: Some(timestamp),
            reason: "a rule".to_owned(),
        };
        // The first has the time 0, and was written with 1; the last has another time.
        known.add(vec![record("a", 1), record("c", 2), record("d", 7)]);
        let mut rejects = Rejects::default();
        let values = [Some("a"), Some("b"), Some("c"), Some("d"), None];
        let mut records = checked(&values, true, 5, RecordMap::OneEach, &mut rejects);
        let taken = take_out(&mut records, Limits::default(), known.of("t"), "t", &mut rejects);
        assert_eq!(taken.unwrap(), [0; 0], "none is too large");
        assert_eq!(rejected(&rejects, 0), [(0, "a rule"), (2, "a rule")]);
        assert_eq!(&records.records.timestamps[..], [1, 3, 4]);
    }

    #[test]
    fn what_fits_is_left_alone() {
        for (largest, values) in [(None, "1234567890"), (Some(10), "1234567890"), (Some(5), "12345")] {
            let mut rejects = Rejects::default();
            let mut records = checked(&[Some(values), None], false, 2, RecordMap::OneEach, &mut rejects);
            assert_eq!(
                take_out(&mut records, Limits { largest, ..Limits::default() }, None, "t", &mut rejects)
                    .unwrap(),
                [0; 0],
                "{values}"
            );
            assert_eq!((records.records.values.len(), rejects.rows().len()), (2, 0));
        }
    }
}
