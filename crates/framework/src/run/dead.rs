//! Records that a step could not use, as rows of its `dead` output.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use crate::batch::{Batch, Origin};
use crate::clock::{Millis, said};
use crate::error::{Error, Result};
use crate::plugin::{Reject, SourceReject, dead_schema, head, row_to_json};
use crate::window::{MOST_AHEAD, window_partition};

/// The most bytes of a record that a dead letter keeps.
const LONGEST_RECORD: usize = 64 * 1024;

/// What the reason of a letter says whose record is cut.
pub(super) const CUT_SHORT: &str = "; the record is cut short here";

/// The rows that `rejects` of a step name, with the row as JSON in place of the record as it was read.
pub(crate) fn of_rows(batch: &Batch, rejects: &[Reject]) -> Vec<SourceReject> {
    rejects
        .iter()
        .filter(|r| r.row < batch.rows())
        .map(|r| {
            let offset = batch.origin().offsets[r.row];
            SourceReject {
                offset,
                place: place(batch, offset),
                reason: r.reason.clone(),
                raw: row_to_json(batch.columns(), r.row).to_string().into_bytes(),
                time: batch.times().get(r.row).copied(),
            }
        })
        .collect()
}

/// The reason of a letter, which says where the record is cut.
fn reason(reject: &SourceReject) -> Cow<'_, str> {
    if reject.raw.len() > LONGEST_RECORD {
        Cow::Owned(format!("{}{CUT_SHORT}", reject.reason))
    } else {
        Cow::Borrowed(&reject.reason)
    }
}

/// Where a row stands, for a person.
fn place(batch: &Batch, offset: i64) -> String {
    // A window's result has the end of its window for an offset.
    match batch.origin().partition == window_partition() {
        true => format!("the window that ends at {}", said(offset)),
        false => batch.place(offset),
    }
}

/// The text of a record, and whether it is escaped: bytes that are not UTF-8 stand as `\xNN` then. Only a
/// record that is longer than a letter keeps loses bytes, and then not a part of a character.
fn readable(raw: &[u8]) -> (String, bool) {
    let kept = head(raw, LONGEST_RECORD);
    match std::str::from_utf8(kept) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (kept.escape_ascii().to_string(), true),
    }
}

/// The batch of a `dead` output, of records that were read with the batch `of`.
pub(crate) fn batch(of: &Batch, rejects: &[SourceReject], now: Millis) -> Result<Batch> {
    let Origin { partition, replay, .. } = of.origin();
    let mut escaped = Vec::with_capacity(rejects.len());
    let records: Vec<String> = rejects
        .iter()
        .map(|r| {
            let (text, was_escaped) = readable(&r.raw);
            escaped.push(was_escaped);
            text
        })
        .collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rejects.iter().map(|_| &*partition.source))),
        Arc::new(Int64Array::from_iter_values(rejects.iter().map(|_| i64::from(partition.index)))),
        Arc::new(Int64Array::from_iter_values(rejects.iter().map(|r| r.offset))),
        Arc::new(StringArray::from_iter_values(rejects.iter().map(|r| &r.place))),
        Arc::new(StringArray::from_iter_values(rejects.iter().map(reason))),
        Arc::new(StringArray::from_iter_values(records)),
        Arc::new(arrow_array::BooleanArray::from(escaped)),
    ];
    let broken = |e| Error::fatal("a dead letter could not be built").caused_by(e);
    let columns = RecordBatch::try_new(dead_schema(), columns).map_err(broken)?;
    let offsets = rejects.iter().map(|r| r.offset).collect();
    let origin = Origin { partition: partition.clone(), offsets, replay: *replay };
    // A letter keeps its record's time, as what it is counted by must be the same when the record is read
    // again. But a topic takes none of before 1970, nor far ahead of the clock, and a letter must not be lost
    // for that.
    let latest = now.saturating_add(MOST_AHEAD);
    let time_of = |time: Millis| if time > latest { now } else { time.max(0) };
    let times = rejects.iter().map(|r| r.time.map_or(now, time_of));
    let batch = Batch::new(columns, times.collect(), origin).map_err(broken)?;
    Ok(batch.on_lines(of.lines().cloned()))
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;

    use super::*;
    use crate::batch::Partition;

    #[test]
    fn a_letter_keeps_every_byte_of_its_record_up_to_a_length_and_cuts_no_character() {
        let long = |tail: &[u8], before: usize| [&vec![b'x'; LONGEST_RECORD - before], tail].concat();
        let x = |count: usize| "x".repeat(LONGEST_RECORD - count);
        let cases: [(&str, Vec<u8>, String, bool); 13] = [
            ("text", b"Jos\xc3\xa9".to_vec(), "Jos\u{e9}".into(), false),
            ("nothing", Vec::new(), String::new(), false),
            ("ends in an incomplete character", b"Jos\xe9".to_vec(), r"Jos\xe9".into(), true),
            ("ends in a longer one", b"a\xf0\x9f\x98".to_vec(), r"a\xf0\x9f\x98".into(), true),
            ("not UTF-8 in the middle", b"Jos\xe9 x".to_vec(), r"Jos\xe9 x".into(), true),
            ("a backslash beside it", b"\\\xff".to_vec(), r"\\\xff".into(), true),
            ("cut between characters", long(b"\xc3\xa9y", 2), x(2) + "\u{e9}", false),
            ("cut through two bytes", long(b"\xc3\xa9", 1), x(1), false),
            ("cut through four bytes", long("\u{1f600}z".as_bytes(), 3), x(3), false),
            ("cut before three bytes", long("\u{56db}".as_bytes(), 0), x(0), false),
            ("cut, and broken there", long(b"\xe9x", 1), x(1) + r"\xe9", true),
            ("cut, and incomplete at the end", long(b"xx\xe9", 1), x(0), false),
            ("as long as it may be, and incomplete", long(b"\xe9", 1), x(1) + r"\xe9", true),
        ];
        for (name, raw, text, escaped) in cases {
            assert!(readable(&raw) == (text, escaped), "{name}: {:?}", readable(&raw).1);
        }
    }

    /// The text of the letter of a record, whether it is escaped, and the reason.
    fn letter(raw: &[u8]) -> (String, bool, String) {
        let reject = SourceReject {
            offset: 0,
            place: "x:1".into(),
            reason: "no good".into(),
            raw: raw.to_vec(),
            time: None,
        };
        let origin = Origin { partition: Partition::new("x", 0), offsets: Vec::new().into(), replay: false };
        let none = RecordBatch::new_empty(dead_schema());
        let of = Batch::new(none, Vec::new().into(), origin).unwrap();
        let batch = batch(&of, &[reject], 0).unwrap();
        let text =
            |name: &str| batch.columns().column_by_name(name).unwrap().as_string::<i32>().value(0).to_owned();
        let escaped = batch.columns().column_by_name("escaped").unwrap().as_boolean().value(0);
        (text("record"), escaped, text("reason"))
    }

    #[test]
    fn a_record_that_is_cut_is_cut_between_characters_and_says_so() {
        for (before, cut) in [("", LONGEST_RECORD - 1), ("a", LONGEST_RECORD), ("ab", LONGEST_RECORD - 2)] {
            let raw = format!("{before}{}", "\u{5317}".repeat(LONGEST_RECORD));
            let (record, escaped, reason) = letter(raw.as_bytes());
            assert_eq!((record.as_str(), escaped), (&raw[..cut], false));
            assert_eq!(reason, "no good; the record is cut short here");
        }
        let (record, escaped, _) = letter(&vec![0x80; 2 * LONGEST_RECORD]);
        assert_eq!((record.len(), escaped), (LONGEST_RECORD * 4, true));
    }
}
