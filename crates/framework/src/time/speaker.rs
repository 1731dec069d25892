//! What those who write a repartition topic tell those who read it about time.
//!
//! A partition of such a topic has rows of several partitions of the source, each at another place in time. A
//! reader that took the greatest time it has seen for the time of all would turn the others' rows late: that
//! is what loses rows in a catch-up. So each partition of the source is a *channel* with a watermark of its
//! own, and who reads it says how far it is, in the topic itself and in the same transaction as its rows.
//! Each row says as well how far its partition was before it: rows that went to another partition of the
//! topic, or were left out, have moved time at their place among the others, and not at the next commit.

use std::collections::BTreeMap;
use std::time::Duration;

use super::passing::Passing;
use crate::batch::{Batch, Partition, Times};
use crate::clock::Millis;

/// How often it is said that a partition is still idle. Windows behind it close as much later.
pub(crate) const STILL_IDLE: Duration = Duration::from_millis(200);

/// What is said of a partition of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word {
    /// The number of the partition.
    pub(crate) origin: i32,
    /// The greatest time that was read; `None` before the first record.
    pub(crate) greatest: Option<Millis>,
    /// For how long it has been idle; `None` while it is not.
    pub(crate) idle: Option<Millis>,
}

/// Follows the partitions that a worker reads, for those who read what it writes of them.
#[derive(Debug)]
pub struct Speaker {
    idle_after: Duration,
    max_skew: Millis,
    partitions: BTreeMap<Partition, Heard>,
}

#[derive(Debug)]
struct Heard {
    greatest: Option<Millis>,
    last_record: Duration,
    caught_up: bool,
    /// What was said last, and when.
    said: Option<(Word, Duration)>,
}

impl Speaker {
    /// A partition is idle when it is read to its end and has given nothing for `idle_after`. Times more than
    /// `max_skew` in the future do not count.
    pub fn new(idle_after: Duration, max_skew: Millis) -> Self {
        Self { idle_after, max_skew, partitions: BTreeMap::new() }
    }

    pub(crate) fn assign(&mut self, partition: Partition, now: Duration) {
        let heard = Heard { greatest: None, last_record: now, caught_up: false, said: None };
        self.partitions.insert(partition, heard);
    }

    pub(crate) fn revoke(&mut self, partition: &Partition) {
        self.partitions.remove(partition);
    }

    /// Rows of these times were read, whether or not they go on.
    pub(crate) fn observe(&mut self, partition: &Partition, times: &Times, now: Duration, wall: Millis) {
        let latest = wall.saturating_add(self.max_skew);
        let Some(heard) = self.partitions.get_mut(partition) else { return };
        let usable = match times.span() {
            Some(span) if span.greatest <= latest => Some(span.greatest),
            _ => times.iter().copied().filter(|t| *t <= latest).max(),
        };
        heard.greatest = heard.greatest.max(usable);
        if usable.is_some() {
            heard.last_record = now;
        }
    }

    /// For each row of a batch that has not been observed yet, the greatest time that its partition had given
    /// before it; [`Millis::MIN`] where there was none.
    pub(crate) fn before(&self, batch: &Batch, wall: Millis) -> Vec<Millis> {
        let latest = wall.saturating_add(self.max_skew);
        let origin = batch.origin();
        let greatest = self.partitions.get(&origin.partition).and_then(|heard| heard.greatest);
        let mut greatest = greatest.unwrap_or(Millis::MIN);
        let mut passing = Passing::new(batch);
        let rows = origin.offsets.iter().zip(batch.times().iter());
        rows.map(|(offset, t)| {
            let mut pass = |time: Millis| {
                if time <= latest {
                    greatest = greatest.max(time);
                }
            };
            passing.before(*offset, *t, &mut pass);
            let before = greatest;
            if *t <= latest {
                greatest = greatest.max(*t);
            }
            before
        })
        .collect()
    }

    pub(crate) fn caught_up(&mut self, partition: &Partition, caught_up: bool, now: Duration) {
        if let Some(heard) = self.partitions.get_mut(partition) {
            if caught_up && !heard.caught_up {
                heard.last_record = heard.last_record.max(now);
            }
            heard.caught_up = caught_up;
        }
    }

    /// Since when there is something to say, or from when on there will be.
    pub(crate) fn next(&self, now: Duration) -> Option<Duration> {
        self.partitions.values().filter_map(|heard| heard.next(self.idle_after, now)).min()
    }

    /// What there is to say now; it counts as said.
    pub(crate) fn say(&mut self, now: Duration) -> Vec<Word> {
        let mut words = Vec::new();
        for (partition, heard) in &mut self.partitions {
            if heard.next(self.idle_after, now).is_some_and(|at| at <= now) {
                let word = heard.word(partition.index, self.idle_after, now);
                heard.said = Some((word, now));
                words.push(word);
            }
        }
        words
    }
}

impl Heard {
    fn idle_at(&self, idle_after: Duration) -> Option<Duration> {
        self.caught_up.then(|| self.last_record.saturating_add(idle_after))
    }

    fn word(&self, origin: i32, idle_after: Duration, now: Duration) -> Word {
        let idle = self.idle_at(idle_after).and_then(|at| now.checked_sub(at));
        Word { origin, greatest: self.greatest, idle: idle.map(|idle| idle.as_millis() as Millis) }
    }

    fn next(&self, idle_after: Duration, now: Duration) -> Option<Duration> {
        let idle_at = self.idle_at(idle_after);
        let idle = idle_at.is_some_and(|at| at <= now);
        match &self.said {
            // A new speaker says at once that it is there: what the one before it said of being idle is over.
            None => Some(now),
            Some((word, _)) if word.greatest != self.greatest || word.idle.is_some() != idle => Some(now),
            Some((_, at)) if idle => Some(at.saturating_add(STILL_IDLE)),
            Some(_) => idle_at,
        }
    }
}
