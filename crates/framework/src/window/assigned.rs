//! What is held for a partition, and of its rows in a pane.

use std::collections::{BTreeMap, BTreeSet};

use super::restored::Given;
use super::tally::Tally;
use crate::batch::Partition;
use crate::clock::Millis;

/// One partition's part of a pane.
pub(super) struct Part {
    pub(super) partition: u32,
    pub(super) tally: Tally,
    pub(super) rows: u64,
    pub(super) first_offset: i64,
    /// True where the changelog has all of it.
    pub(super) saved: bool,
    /// True where all its rows are in results that were given at the end of the data.
    pub(super) given: bool,
}

/// The rows of a stretch of time that no window cuts.
#[derive(Default)]
pub(super) struct Pane {
    pub(super) parts: Vec<Part>,
}

/// What is known of a partition.
pub(super) struct Assigned {
    pub(super) number: u32,
    /// The end of the last window that was closed for it.
    pub(super) closed_until: Option<Millis>,
    /// The offset up to which its rows had been dealt with before it was assigned.
    pub(super) dealt_with: i64,
    /// Rows that are read again before this offset are in windows that were closed: see
    /// [`Restored::own_low`].
    pub(super) own_low: i64,
    /// The greatest watermark that its rows were held against: it stays where the watermark goes back for
    /// another partition.
    pub(super) reached: Option<Millis>,
    /// True while rows are read again; they do not move the watermark, or windows could close before the last
    /// of them is back.
    pub(super) replaying: bool,
    /// The greatest time seen meanwhile.
    pub(super) held: Option<Millis>,
    /// The same of each channel.
    pub(super) channels: BTreeMap<Partition, Millis>,
    /// The changelog has the state as of this offset: rows before it need not be read again.
    pub(super) saved: Option<i64>,
    /// True where the changelog has keys that were seen.
    pub(super) keys_saved: bool,
    /// The watermark that was committed.
    pub(super) restored: Option<Millis>,
    /// The times of those in the last batch.
    pub(super) did_not_count: Vec<Millis>,
    /// The offsets of rows that did not count, and would if they were judged anew: they were late for a
    /// session, had no room, or were too far in the future. Where they are read again, they do not count
    /// either.
    pub(super) late: BTreeSet<i64>,
    /// What was given at the end of the data, of windows that are open still. After
    /// [`finish`](super::WindowOperator::finish) that is all rows so far, and the offset is the greatest that
    /// there is.
    pub(super) given: Option<Given>,
}

impl Assigned {
    /// Rows that are read again below this offset are in results that were given at the end of the data.
    pub(super) fn given_before(&self) -> i64 {
        self.given.map_or(i64::MIN, |given| given.offset)
    }
}

/// The end of the last window that was closed for the partition of this number.
pub(super) fn closed_until(partitions: &BTreeMap<Partition, Assigned>, number: u32) -> Option<Millis> {
    partitions.values().find(|assigned| assigned.number == number)?.closed_until
}
