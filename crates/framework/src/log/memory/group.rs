//! Readers and groups: who has which partition, and how far everybody is.
//!
//! A rebalance moves only what has to move. A partition goes over in three steps: its holder is told
//! (`Revoked`), asks for its next event (which lets go), and the new holder is told (`Assigned`). Until then
//! the holder may commit.

use std::collections::{BTreeMap, BTreeSet};

use crate::log::{Gone, Position, Start};

/// A partition of this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    /// Index of the topic.
    pub(super) topic: usize,
    /// Number of the partition.
    pub(super) index: i32,
}

/// A reader's number, in the order of their opening.
pub(super) type ReaderId = u64;

/// How far a holder has been asked to let a partition go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// It is given, but the reader has not been told yet.
    Given,
    /// The reader reads it.
    Held,
    /// It shall go; the reader has not been told yet.
    Wanted,
    /// The reader has been told that it goes, and lets go when it asks for its next event.
    Going,
}

/// Where a reader stands in a partition that it has.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    /// The next offset to give.
    pub(super) next: i64,
    /// Where reading started when the partition was given.
    pub(super) started: i64,
    pub(super) hold: Hold,
    /// True once the reader knows that it has been given all.
    pub(super) told_caught_up: bool,
}

/// One open reader.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) group: Option<String>,
    /// The windows that its rows are counted in: see [`Group`](crate::log::Group).
    pub(super) windows: BTreeMap<String, String>,
    pub(super) topics: Vec<usize>,
    /// Without a group: the partitions that it reads, where that is not all of them.
    pub(super) partitions: Option<Vec<i32>>,
    pub(super) start: Start,
    pub(super) max_records: usize,
    pub(super) headers: Vec<String>,
    pub(super) cursors: BTreeMap<Place, Cursor>,
    /// Partitions that were taken away, and the reader has not been told yet.
    pub(super) lost: Vec<Place>,
    /// Records that were to be read again and are not there any more; the reader has not been told yet.
    pub(super) gone: Vec<Gone>,
    /// Rises each time that partitions are let go or lost: an older membership commits nothing.
    pub(super) generation: u64,
    /// The generation that the reader knows of; `None` while it holds nothing.
    pub(super) told: Option<u64>,
    /// Where each partition ends for this reader, once it is bounded.
    pub(super) bound: Option<BTreeMap<Place, i64>>,
    pub(super) paused: bool,
    /// False until its first `Assigned`.
    pub(super) greeted: bool,
    /// The partition that gave the last records: the others come first.
    pub(super) last: Option<Place>,
}

impl Member {
    /// Where `place` ends for this reader, `end` being where it ends for all.
    pub(super) fn limit(&self, place: Place, end: i64) -> i64 {
        match &self.bound {
            Some(bound) => bound.get(&place).map_or(end, |bound| end.min(*bound)),
            None => end,
        }
    }
}

/// A consumer group. It outlives its members: what it has not committed is kept for those that come.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// In the order of joining.
    pub(super) members: BTreeSet<ReaderId>,
    /// True once somebody has joined it in this process: otherwise a journal has kept it, and nobody may ever
    /// come.
    pub(super) joined: bool,
    /// Every topic that its (last) members read.
    pub(super) topics: BTreeSet<usize>,
    pub(super) committed: BTreeMap<Place, Position>,
    /// Where reading started in each partition: what it still needs where nothing is committed.
    pub(super) started: BTreeMap<Place, i64>,
    /// Who has each partition.
    pub(super) holders: BTreeMap<Place, ReaderId>,
    /// Who shall have each partition.
    pub(super) target: BTreeMap<Place, ReaderId>,
}

impl Group {
    /// The offset below which the group needs nothing any more.
    pub(super) fn low(&self, place: Place) -> i64 {
        let started = self.started.get(&place).copied().unwrap_or(0);
        self.committed.get(&place).map_or(started, |position| position.offset)
    }
}

/// Kafka's `range` assignment: of each topic, every member that reads it gets a run of partitions, the first
/// members one more.
pub(super) fn range(
    topics: impl IntoIterator<Item = (usize, i32)>,
    members: &[(ReaderId, &[usize])],
) -> BTreeMap<Place, ReaderId> {
    let mut target = BTreeMap::new();
    for (topic, partitions) in topics {
        let readers: Vec<ReaderId> =
            members.iter().filter(|(_, topics)| topics.contains(&topic)).map(|(id, _)| *id).collect();
        if readers.is_empty() {
            continue;
        }
        let (each, more) = (partitions as usize / readers.len(), partitions as usize % readers.len());
        let mut index = 0;
        for (rank, reader) in readers.iter().enumerate() {
            for _ in 0..each + usize::from(rank < more) {
                target.insert(Place { topic, index }, *reader);
                index += 1;
            }
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn range_gives_every_partition_once_and_evenly(partitions in 0..20i32, members in 1u64..7) {
            let topics = [0usize];
            let list: Vec<(ReaderId, &[usize])> = (0..members).map(|id| (id, &topics[..])).collect();
            let target = range([(0, partitions)], &list);
            prop_assert_eq!(target.len() as i32, partitions);
            let mut shares = vec![0usize; members as usize];
            for id in target.values() {
                shares[*id as usize] += 1;
            }
            let (most, least) = (shares.iter().max().copied(), shares.iter().min().copied());
            prop_assert!(most <= least.map(|n| n + 1));
            prop_assert!(target.values().is_sorted(), "runs, in the order of the members");
        }
    }

    #[test]
    fn who_does_not_read_a_topic_gets_none_of_it() {
        let target = range([(0, 2), (1, 1)], &[(7, &[0]), (8, &[0, 1])]);
        let at = |topic, index| target[&Place { topic, index }];
        assert_eq!((at(0, 0), at(0, 1), at(1, 0)), (7, 8, 8));
    }
}
