//! Records that a step could not use, as rows of its `dead` output.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use crate::batch::{Batch, Origin, Partition};
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::plugin::{Reject, SourceReject, cut_between_characters, dead_schema, row_to_json};

/// The most bytes of a record that a dead letter keeps.
const LONGEST_RECORD: usize = 64 * 1024;

/// What the reason of a letter says whose record is cut.
pub(super) const CUT_SHORT: &str = "; the record is cut short here";

/// The rows that `rejects` of a step name, with the row as JSON in place of the record as it was read.
pub(crate) fn of_rows(batch: &Batch, rejects: &[Reject]) -> Vec<SourceReject> {
    let partition = &batch.origin().partition;
    rejects
        .iter()
        .filter(|r| r.row < batch.rows())
        .map(|r| {
            let offset = batch.origin().offsets[r.row];
            SourceReject {
                offset,
                place: format!("{partition}@{offset}"),
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

/// The batch of a `dead` output; `replay` where the records are read again.
pub(crate) fn batch(
    partition: &Partition,
    rejects: &[SourceReject],
    now: Millis,
    replay: bool,
) -> Result<Batch> {
    let mut escaped = Vec::with_capacity(rejects.len());
    let records: Vec<String> = rejects
        .iter()
        .map(|r| {
            let raw = cut_between_characters(&r.raw, LONGEST_RECORD);
            let text = std::str::from_utf8(raw).ok();
            escaped.push(text.is_none());
            text.map_or_else(|| raw.escape_ascii().to_string(), str::to_owned)
        })
        .collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rejects.iter().map(|_| &*partition.source))),
        Arc::new(Int64Array::from_iter_values(rejects.iter().map(|_| i64::from(partition.index)))),
        Arc::new(Int64Array::from_iter_values(rejects.iter().map(|r| r.offset))),
        Arc::new(StringArray::from_iter_values(rejects.iter().map(reason))),
        Arc::new(StringArray::from_iter_values(records)),
        Arc::new(arrow_array::BooleanArray::from(escaped)),
    ];
    let broken = |e| Error::fatal("a dead letter could not be built").caused_by(e);
    let columns = RecordBatch::try_new(dead_schema(), columns).map_err(broken)?;
    let origin =
        Origin { partition: partition.clone(), offsets: rejects.iter().map(|r| r.offset).collect(), replay };
    // A topic takes no letter of before 1970, whatever its record's time is. One of the future keeps its time: what it is
    // counted by must be the same when its record is read again.
    let times = rejects.iter().map(|r| r.time.unwrap_or(now).max(0));
    Batch::new(columns, times.collect(), origin).map_err(broken)
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;

    use super::*;

    /// The text of the letter of a record, whether it is escaped, and the reason.
    fn letter(raw: &[u8]) -> (String, bool, String) {
        let reject = SourceReject {
            offset: 0,
            place: "x:1".into(),
            reason: "no good".into(),
            raw: raw.to_vec(),
            time: None,
        };
        let batch = batch(&Partition::new("x", 0), &[reject], 0, false).unwrap();
        let text =
            |name: &str| batch.columns().column_by_name(name).unwrap().as_string::<i32>().value(0).to_owned();
        let escaped = batch.columns().column_by_name("escaped").unwrap().as_boolean().value(0);
        (text("record"), escaped, text("reason"))
    }

    #[test]
    fn a_letter_keeps_all_bytes_of_a_record_that_ends_in_a_part_of_a_character() {
        for (raw, record, escaped) in [
            (b"Jos\xe9".as_slice(), "Jos\\xe9", true),
            (b"\xe5\x8c", "\\xe5\\x8c", true),
            (b"a\xff b", "a\\xff b", true),
            ("Jos\u{e9}".as_bytes(), "Jos\u{e9}", false),
            (b"", "", false),
        ] {
            assert_eq!(letter(raw), (record.into(), escaped, "no good".into()), "{raw:?}");
        }
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
