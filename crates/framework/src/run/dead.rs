//! Records that a step could not use, as rows of its `dead` output.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use crate::batch::{Batch, Origin, Partition};
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::plugin::{Reject, SourceReject, dead_schema, row_to_json};

/// The most bytes of a record that a dead letter keeps.
const LONGEST_RECORD: usize = 64 * 1024;

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
            let raw = &r.raw[..r.raw.len().min(LONGEST_RECORD)];
            let text = match std::str::from_utf8(raw) {
                Ok(text) => Some(text.to_owned()),
                // Cut in the middle of a character.
                Err(e) if e.error_len().is_none() => {
                    std::str::from_utf8(&raw[..e.valid_up_to()]).ok().map(str::to_owned)
                }
                Err(_) => None,
            };
            escaped.push(text.is_none());
            text.unwrap_or_else(|| raw.escape_ascii().to_string())
        })
        .collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rejects.iter().map(|_| &*partition.source))),
        Arc::new(Int64Array::from_iter_values(rejects.iter().map(|_| i64::from(partition.index)))),
        Arc::new(Int64Array::from_iter_values(rejects.iter().map(|r| r.offset))),
        Arc::new(StringArray::from_iter_values(rejects.iter().map(|r| &r.reason))),
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
