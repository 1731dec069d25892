//! A batch that comes in, and which of its rows count.

use std::time::Duration;

use super::keys::NONE;
use super::operator::WindowOperator;
use crate::batch::Batch;
use crate::clock::{Millis, said};
use crate::plugin::Rejects;

/// A batch, and when and where it came.
#[derive(Clone, Copy)]
pub(super) struct Incoming<'a> {
    pub(super) batch: &'a Batch,
    /// The partition's number.
    pub(super) partition: u32,
    /// The end of the last window that was closed for the partition.
    pub(super) closed_until: Option<Millis>,
    /// How far time had come for the partition before this batch.
    pub(super) reached: Millis,
    /// Rows below this offset are in results that were given at the end of the data.
    pub(super) given_before: i64,
    pub(super) now: Duration,
    pub(super) wall: Millis,
}

impl Incoming<'_> {
    pub(super) fn replay(&self) -> bool {
        self.batch.origin().replay
    }

    pub(super) fn offset(&self, row: usize) -> i64 {
        self.batch.origin().offsets.get(row).copied().unwrap_or_default()
    }

    /// True where the row, and all before it, are in results that were given at the end of the data.
    pub(super) fn is_given(&self, row: usize) -> bool {
        self.replay() && self.offset(row) < self.given_before
    }
}

impl WindowOperator {
    /// True where a row is not too far in the future; else it is rejected. What counted before a restart
    /// counts again, whatever the clock says now.
    #[inline]
    pub(super) fn is_near(
        &mut self,
        incoming: Incoming<'_>,
        row: usize,
        t: Millis,
        latest: Millis,
        rejected: &mut Rejects,
    ) -> bool {
        let near = t <= latest || incoming.replay();
        if !near {
            let reason = format!("its time is more than `max_skew` in the future: {}", said(t));
            self.reject(incoming, row, reason, rejected);
        }
        near
    }

    /// True where a row's key has a group; else it is rejected.
    #[inline]
    pub(super) fn is_known(
        &mut self,
        incoming: Incoming<'_>,
        row: usize,
        group: u32,
        rejected: &mut Rejects,
    ) -> bool {
        if group == NONE {
            let reason = format!("no room for its key: `max_keys` is {}", self.settings.max_keys);
            self.reject(incoming, row, reason, rejected);
        }
        group != NONE
    }

    #[cold]
    fn reject(&mut self, incoming: Incoming<'_>, row: usize, reason: String, rejected: &mut Rejects) {
        rejected.push(row, reason);
        self.does_not_count(incoming, row);
    }

    /// A row does not count, though it would if it were judged anew: where it is read again, it does not
    /// count either.
    pub(super) fn does_not_count(&mut self, incoming: Incoming<'_>, row: usize) {
        let offset = incoming.offset(row);
        if let Some(assigned) = self.partitions.get_mut(&incoming.batch.origin().partition) {
            assigned.late.insert(offset);
        }
    }

    /// True where all rows counted that were read before a restart and are read again.
    pub(super) fn all_counted(&self, incoming: Incoming<'_>) -> bool {
        self.partitions.get(&incoming.batch.origin().partition).is_none_or(|assigned| {
            let first = incoming.batch.origin().offsets.first();
            assigned.late.is_empty() && first.is_none_or(|first| *first >= assigned.own_low)
        })
    }

    /// True for a row that is read again and did not count before. The time that it is of does not count
    /// either.
    #[inline]
    pub(super) fn is_passed_over(&mut self, incoming: Incoming<'_>, row: usize, t: Millis) -> bool {
        let passed = incoming.replay() && !self.counted(incoming, row);
        if passed && let Some(assigned) = self.partitions.get_mut(&incoming.batch.origin().partition) {
            assigned.did_not_count.push(t);
        }
        passed
    }

    /// False for a row that is read again and did not count before.
    pub(super) fn counted(&self, incoming: Incoming<'_>, row: usize) -> bool {
        let assigned = self.partitions.get(&incoming.batch.origin().partition);
        assigned.is_none_or(|assigned| {
            let offset = incoming.offset(row);
            offset >= assigned.own_low && !assigned.late.contains(&offset)
        })
    }
}
