//! Compacted topics: the last record of each key is kept.
//!
//! A batch stays as it was appended, so records in its middle cannot go. Instead a partition that has grown
//! to more than twice what is live is cleaned with the next commit that adds to it: what is still the last of
//! its key is written again, in front of the commit's own records, and all older batches are dropped. Each
//! record is so written again once, on average, and a reader finds the last record of every key wherever it
//! starts. A partition that somebody reads up to a bound is cleaned once that reader is there.

use std::collections::HashSet;

use super::commit::Pending;
use super::group::Place;
use super::state::State;
use super::storage::{PartitionLog, Segment};
use crate::error::Result;

/// A partition below this many bytes is left alone.
const LEAST: usize = 4 << 20;

/// A partition that a commit cleans: its topic, its number, and the offset below which everything is dropped.
pub(super) type Cleaned = (usize, i32, i64);

impl State {
    /// Adds to a commit the records that must be written again, and says what can be dropped once it has
    /// happened.
    pub(super) fn clean(&mut self, pending: &mut Pending) -> Result<Vec<Cleaned>> {
        let mut places: Vec<(usize, i32)> =
            pending.iter().map(|(topic, index, _)| (*topic, *index)).collect();
        places.sort_unstable();
        places.dedup();
        let mut cleaned = Vec::new();
        for (topic, index) in places {
            if self.is_half_read(Place { topic, index }) {
                continue;
            }
            let Some(of) = self.topics.get_mut(topic).filter(|of| of.compacted) else { continue };
            let Some(partition) = of.partitions.get_mut(index as usize) else { continue };
            if partition.held() <= partition.clean_at.max(LEAST) {
                continue;
            }
            let newer = pending.iter().filter(|(t, i, _)| (*t, *i) == (topic, index)).map(|(.., s)| s);
            let live = survivors(partition, newer)?;
            let bytes: usize = live.iter().map(Segment::bytes).sum();
            partition.clean_at = LEAST + 2 * bytes;
            cleaned.push((topic, index, partition.end()));
            pending.splice(0..0, live.into_iter().map(|segment| (topic, index, segment)));
        }
        Ok(cleaned)
    }

    /// True while a reader reads a partition up to a bound and is not there yet: what is written again would
    /// lie behind its bound, and it would not hear of keys that are no more.
    fn is_half_read(&self, place: Place) -> bool {
        self.readers.values().any(|member| {
            let bound = member.bound.as_ref().and_then(|bound| bound.get(&place));
            let next = member.cursors.get(&place).map(|cursor| cursor.next);
            bound.zip(next).is_some_and(|(bound, next)| next < *bound)
        })
    }

    /// Drops what a commit has made superfluous.
    pub(super) fn drop_cleaned(&mut self, cleaned: &[Cleaned]) {
        for (topic, index, end) in cleaned {
            let Some(of) = self.topics.get_mut(*topic) else { continue };
            let older = |p: &PartitionLog| p.start() < *end;
            while of.partitions.get(*index as usize).is_some_and(older) && of.drop_first(*index as usize) {}
        }
    }
}

/// The records that are the last of their key, in their order, leaving out keys that come again in `newer`,
/// tombstones, and records without a key.
fn survivors<'a>(
    partition: &'a PartitionLog,
    newer: impl Iterator<Item = &'a Segment>,
) -> Result<Vec<Segment>> {
    let mut seen: HashSet<&[u8]> = newer.flat_map(|segment| segment.keys().iter().flatten()).collect();
    let mut live = Vec::new();
    for segment in partition.segments().rev() {
        let mut rows = Vec::new();
        for (row, key) in segment.keys().iter().enumerate().rev() {
            if key.is_some_and(|key| seen.insert(key)) && !segment.is_tombstone(row) {
                rows.push(row as u32);
            }
        }
        if !rows.is_empty() {
            rows.reverse();
            live.push(segment.take(rows)?);
        }
    }
    live.reverse();
    Ok(live)
}
