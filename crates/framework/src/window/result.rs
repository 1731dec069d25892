//! Puts results together.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, TimestampMillisecondArray, UInt32Array};
use arrow_schema::SchemaRef;

use super::keys::KeyTable;
use super::settings::WindowSettings;
use super::tally::Tally;
use crate::batch::{Batch, Origin, Partition};
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::plugin::Aggregate;

/// What is needed to give a result.
pub(super) struct Give<'a> {
    pub(super) aggregate: &'a dyn Aggregate,
    pub(super) settings: &'a WindowSettings,
    pub(super) schema: &'a SchemaRef,
    /// The partitions that take part.
    pub(super) open: &'a [u32],
    /// For each key that `zero_fill` names whether it is given without a row.
    pub(super) named: &'a [bool],
    /// True where the window is still open.
    pub(super) early: bool,
    /// The clock, where it is known.
    pub(super) clock: Option<Millis>,
}

/// A row of a result before it is one: a group, its key's group where that is another, and its window.
pub(super) struct Slots<'a> {
    /// The groups in the tally.
    pub(super) groups: &'a [u32],
    /// Their keys' groups.
    pub(super) keys: &'a [u32],
    pub(super) starts: &'a [Millis],
    pub(super) end: Millis,
}

impl Give<'_> {
    /// The result of a window that all keys share; `None` where it has no row.
    pub(super) fn window(
        &self,
        keys: &mut KeyTable,
        tally: &Tally,
        start: Millis,
        end: Millis,
    ) -> Result<Option<Batch>> {
        let groups = self.groups(keys, tally);
        if groups.is_empty() {
            return Ok(None);
        }
        let starts = vec![start; groups.len()];
        self.batch(keys, tally, &Slots { groups: &groups, keys: &groups, starts: &starts, end })
    }

    /// The groups that a result has a row for, in the order in which the keys were first seen.
    ///
    /// A key is kept from the first window that has a row of it, not from when it was read: how the input is
    /// cut into batches changes no result.
    fn groups(&self, keys: &mut KeyTable, tally: &Tally) -> Vec<u32> {
        if !self.settings.keep_seen {
            return tally.counts().filled().collect();
        }
        let mut groups = Vec::new();
        for group in 0..keys.len() as u32 {
            let owner = keys.owner(group);
            let filled = tally.rows(group) > 0;
            // What is in a window that is still open may yet be taken back by a restart.
            let kept = match self.named.get(group as usize) {
                Some(here) => *here,
                None => self.open.contains(&owner) && keys.seen(group, filled && !self.early),
            };
            if filled || kept {
                groups.push(group);
            }
        }
        groups
    }

    /// The rows of some groups; `None` where the aggregate gives none.
    pub(super) fn batch(&self, keys: &KeyTable, tally: &Tally, slots: &Slots<'_>) -> Result<Option<Batch>> {
        let broken = |e| Error::fatal("an aggregate's result does not fit its schema").caused_by(e);
        let results = tally
            .finish(self.aggregate, slots.groups)
            .map_err(|error| self.of_its_window(error, keys, tally, slots))?;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        columns.push(times(slots.starts.to_vec()));
        columns.push(times(vec![slots.end; slots.groups.len()]));
        let mut given: Vec<Millis> = slots.starts.iter().map(|start| self.time(*start, slots.end)).collect();
        let keys = keys.columns(slots.keys).map_err(broken)?;
        columns.extend(keys.into_iter().map(|column| Arc::new(column) as ArrayRef));
        if let Some(rows) = results.rows {
            given = rows.iter().map(|row| given.get(*row as usize).copied().unwrap_or(slots.end)).collect();
            let rows = UInt32Array::from(rows);
            for column in &mut columns {
                *column = arrow_select::take::take(column, &rows, None).map_err(broken)?;
            }
        }
        columns.extend(results.columns);
        let rows = columns.last().map_or(0, Array::len);
        if self.settings.every.is_some() {
            columns.push(Arc::new(BooleanArray::from(vec![self.early; rows])));
        }
        if rows == 0 {
            return Ok(None);
        }
        let columns = RecordBatch::try_new(self.schema.clone(), columns).map_err(broken)?;
        let origin =
            Origin { partition: window_partition(), offsets: vec![slots.end; rows].into(), replay: false };
        Batch::new(columns, given.into(), origin).map(Some).map_err(broken)
    }

    /// The time of a result.
    fn time(&self, start: Millis, end: Millis) -> Millis {
        result_time(start, end, self.clock, self.early)
    }
}

/// How far ahead of the clock a time may be that a record is given: the last millisecond of a window, the
/// time of a dead letter. Kafka takes what is an hour ahead at most, by its own clock and when it arrives.
pub(crate) const MOST_AHEAD: Millis = 30 * 60 * 1000;

/// The time of a result: the last millisecond of its window, so that windows over results find it there.
/// Where that is far ahead of the clock, as in the middle of a day's window, it is the moment at which it is
/// given, and so it always is of an update; in any case it is inside of the window, so that a further window
/// that holds the whole of this one holds the result.
fn result_time(start: Millis, end: Millis, clock: Option<Millis>, early: bool) -> Millis {
    let last = end.saturating_sub(1);
    let Some(clock) = clock else { return last };
    let ahead = if early { 0 } else { MOST_AHEAD };
    if last <= clock.saturating_add(ahead) { last } else { clock.clamp(start.min(last), last) }
}

impl Give<'_> {
    /// An error of an aggregate, with the key and the window that it is of.
    fn of_its_window(&self, error: Error, keys: &KeyTable, tally: &Tally, slots: &Slots<'_>) -> Error {
        let wrong = |group: &u32| tally.finish(self.aggregate, &[*group]).is_err();
        let Some(row) = slots.groups.iter().position(wrong) else { return error };
        let time = |t: Millis| {
            chrono::DateTime::from_timestamp_millis(t).map_or_else(
                || format!("{t} ms"),
                |time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            )
        };
        let start = slots.starts.get(row).copied().unwrap_or_default();
        let window = format!("the window from {} to {}", time(start), time(slots.end));
        let fields = slots.keys.get(row).and_then(|key| keys.columns(&[*key]).ok()).unwrap_or_default();
        let key: Vec<&str> =
            fields.iter().map(|field| if field.is_null(0) { "null" } else { field.value(0) }).collect();
        if key.is_empty() {
            error.at(window)
        } else {
            error.at(format!("key `{}` in {window}", key.join("`, `")))
        }
    }
}

/// The partition that results come from; their offset is the end of their window.
pub(crate) fn window_partition() -> Partition {
    Partition::new("window", 0)
}

fn times(times: Vec<Millis>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from(times).with_timezone("UTC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_lies_ahead_has_the_time_at_which_it_is_given() {
        const H: Millis = 3_600_000;
        const DAY: Millis = 24 * H;
        let (start, end) = (10 * DAY, 11 * DAY);
        for (clock, early, time, why) in [
            (None, false, end - 1, "no clock"),
            (Some(20 * DAY), false, end - 1, "the window is past"),
            (Some(20 * DAY), true, end - 1, "the window is past, an update"),
            (Some(end - 1), true, end - 1, "its last millisecond"),
            (Some(end - H / 2), false, end - 1, "little ahead"),
            (Some(end - H / 2), true, end - H / 2, "little ahead, an update"),
            (Some(start + H), false, start + H, "the middle of the day"),
            (Some(start + H), true, start + H, "the middle of the day, an update"),
            (Some(start - H), false, start, "rows that are ahead: not before the window"),
            (Some(start - H), true, start, "rows that are ahead, an update"),
            (Some(Millis::MAX), true, end - 1, "no overflow"),
            (Some(Millis::MIN), false, start, "no overflow"),
        ] {
            assert_eq!(result_time(start, end, clock, early), time, "{why}");
        }
        assert_eq!(result_time(Millis::MIN, Millis::MIN, Some(0), false), Millis::MIN);
    }
}
