//! The watermark of a reader of several partitions.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::batch::Partition;
use crate::clock::Millis;

/// How far event time has come: no record before it is expected any more.
///
/// Per partition it is the greatest time seen, less the out-of-orderness; over all, the least of the
/// partitions that are not idle. A partition is idle once it is caught up and has given nothing for the idle
/// time, nor since it was assigned: one without any record holds the others up for as long, because its first
/// records may be as old as theirs. While every partition is idle, event time goes on from where it stood as
/// fast as the clock, so that the last window closes without a newer record. It goes back only for a
/// partition that another worker had and that stood further back: its records are not late for having waited.
///
/// ```
/// use std::time::Duration;
/// use pipectl_framework::{batch::Partition, time::Watermark};
/// let (a, b, s) = (Partition::new("t", 0), Partition::new("t", 1), Duration::from_secs);
/// let mut watermark = Watermark::new(0, s(5));
/// watermark.assign(a.clone(), None, s(0));
/// watermark.assign(b.clone(), None, s(0));
/// watermark.observe(&a, 10_000, s(0));
/// assert_eq!(watermark.advance(s(0)), None);            // nothing is known of b
/// watermark.caught_up(&b, true, s(1));
/// assert_eq!(watermark.advance(s(1)), None);            // b is empty, so far
/// assert_eq!(watermark.advance(s(6)), Some(10_000));    // b is idle
/// watermark.caught_up(&a, true, s(6));
/// assert_eq!(watermark.advance(s(10)), Some(10_000));   // a may still give something
/// assert_eq!(watermark.advance(s(13)), Some(12_000));   // idle since 11 s: time goes on
/// watermark.observe(&a, 9_000, s(14));
/// assert_eq!(watermark.advance(s(14)), Some(12_000));   // never back
/// watermark.assign(Partition::new("t", 2), Some(4_000), s(14));
/// assert_eq!(watermark.advance(s(14)), Some(4_000));    // but for a partition that stood there
/// ```
#[derive(Debug)]
pub struct Watermark {
    out_of_orderness: Millis,
    idle_after: Duration,
    partitions: BTreeMap<Partition, Seen>,
    now: Option<Millis>,
    /// Since when every partition has been idle, and the watermark at that moment.
    resting: Option<(Duration, Millis)>,
}

#[derive(Debug)]
struct Seen {
    greatest: Option<Millis>,
    last_record: Duration,
    caught_up: bool,
    /// For a channel of a repartition topic: what its writer says takes the place of the clock.
    said: Option<Said>,
}

/// What the writer of a channel says.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    /// For how long the source's partition has been idle; `None` while it is not.
    idle: Option<Millis>,
    /// The watermark when it said so last. Time does not pass it until the writer speaks again: whoever has
    /// died says nothing.
    bound: Option<Millis>,
}

impl Watermark {
    /// A watermark before the first record.
    pub fn new(out_of_orderness: Millis, idle_after: Duration) -> Self {
        Self { out_of_orderness, idle_after, partitions: BTreeMap::new(), now: None, resting: None }
    }

    /// Adds a partition; `restored` is the watermark that was committed for it, `None` where nothing was:
    /// time waits for its first record, or until it is idle.
    pub fn assign(&mut self, partition: Partition, restored: Option<Millis>, now: Duration) {
        self.now = self.now.min(restored);
        let greatest = restored.map(|w| w.saturating_add(self.out_of_orderness));
        let seen = Seen { greatest, last_record: now, caught_up: false, said: None };
        self.partitions.insert(partition, seen);
        self.resting = None;
    }

    /// Adds a channel: one of the several partitions whose rows are mixed in a partition of a repartition
    /// topic. It is idle when its writer says so, and not by the clock: that nothing comes through may be
    /// because nobody reads its source.
    pub(crate) fn assign_channel(&mut self, channel: Partition, restored: Option<Millis>) {
        self.assign(channel.clone(), restored, Duration::ZERO);
        if let Some(seen) = self.partitions.get_mut(&channel) {
            seen.said = Some(Said::default());
        }
    }

    /// What the writer of a channel says: the greatest time that it has read, and for how long its partition
    /// has been idle.
    pub(crate) fn says(
        &mut self,
        channel: &Partition,
        greatest: Option<Millis>,
        idle: Option<Millis>,
        now: Duration,
    ) {
        if !self.partitions.contains_key(channel) {
            self.assign_channel(channel.clone(), None);
        }
        let Some(seen) = self.partitions.get_mut(channel) else { return };
        seen.greatest = seen.greatest.max(greatest);
        let before = seen.said.unwrap_or_default();
        seen.said = Some(Said { idle, ..before });
        if idle.is_some() {
            let bound = self.unbounded(now);
            if let Some(Seen { said: Some(said), .. }) = self.partitions.get_mut(channel) {
                said.bound = said.bound.max(bound);
            }
        }
    }

    /// Takes a partition away.
    pub fn revoke(&mut self, partition: &Partition) {
        self.partitions.remove(partition);
        self.resting = None;
        if self.partitions.is_empty() {
            self.now = None;
        }
    }

    /// A record of time `time` was read.
    pub fn observe(&mut self, partition: &Partition, time: Millis, now: Duration) {
        if let Some(seen) = self.partitions.get_mut(partition) {
            seen.greatest = seen.greatest.max(Some(time));
            seen.last_record = now;
            if let Some(said) = &mut seen.said {
                said.idle = None;
            }
        }
    }

    /// A record of time `time` had been read before a restart.
    pub(crate) fn has_seen(&mut self, partition: &Partition, time: Millis) {
        if let Some(seen) = self.partitions.get_mut(partition) {
            seen.greatest = seen.greatest.max(Some(time));
        }
    }

    /// The partition has, or no longer has, given all that is there.
    pub fn caught_up(&mut self, partition: &Partition, caught_up: bool, now: Duration) {
        if let Some(seen) = self.partitions.get_mut(partition) {
            if caught_up && !seen.caught_up {
                seen.last_record = seen.last_record.max(now);
            }
            seen.caught_up = caught_up;
        }
    }

    /// The watermark now; `None` before the first record.
    pub fn advance(&mut self, now: Duration) -> Option<Millis> {
        let advanced = self.unbounded(now);
        let bounds = self.partitions.values().filter_map(Seen::idle_by_word).map(|said| said.bound);
        self.now = self.now.max(bounds.fold(advanced, Option::min));
        self.now
    }

    /// Where the watermark would be if all idle channels had spoken just now.
    fn unbounded(&mut self, now: Duration) -> Option<Millis> {
        let active = |seen: &&Seen| !seen.is_idle(self.idle_after, now);
        let mut least = Some(Millis::MAX);
        let mut any = false;
        for seen in self.partitions.values().filter(active) {
            any = true;
            least = least.min(seen.greatest);
        }
        if any {
            self.resting = None;
            return self.now.max(least.map(|least| least.saturating_sub(self.out_of_orderness)));
        }
        let greatest = self.partitions.values().filter_map(|s| s.greatest).max()?;
        // The one that became idle last.
        let by_word = self.partitions.values().filter_map(|s| s.said?.idle).min();
        let since = self.partitions.values().filter_map(|s| s.idle_at(self.idle_after)).max();
        let (since, now) = match by_word {
            // It counts from when all were idle, as those who write have clocks of their own and may have
            // begun anew.
            Some(idle) => {
                (Duration::from_millis(idle.max(0) as u64), Duration::from_millis(idle.max(0) as u64))
            }
            None => (since?, now),
        };
        let (since, from) = *self.resting.get_or_insert_with(|| {
            let from = self.now.max(Some(greatest.saturating_sub(self.out_of_orderness)));
            (since, from.unwrap_or(greatest))
        });
        let rested = now.saturating_sub(since).as_millis() as Millis;
        self.now.max(Some(from.saturating_add(rested)))
    }

    /// The greatest time that a partition, or a channel, has given.
    pub(crate) fn greatest(&self, partition: &Partition) -> Option<Millis> {
        self.partitions.get(partition)?.greatest
    }

    /// How far time has come by these channels alone; `None` where one of them has given nothing.
    pub(crate) fn of(&self, channels: &[Partition]) -> Option<Millis> {
        let greatest = channels.iter().map(|channel| self.greatest(channel));
        greatest.min().flatten().map(|greatest| greatest.saturating_sub(self.out_of_orderness))
    }

    /// The watermark as it was last given.
    pub fn current(&self) -> Option<Millis> {
        self.now
    }

    /// What the watermark would be if `partition` had seen `time`: for the order inside a batch. `alone` says
    /// whether its rows are late by what it has given by itself, where it is a channel: see [`Ahead::here`].
    pub(crate) fn with(&self, partition: &Partition, alone: bool, now: Duration) -> Ahead {
        let (mut others, mut here) = (Some(Millis::MAX), Some(Millis::MAX));
        let is_channel = self.partitions.get(partition).is_some_and(|seen| seen.said.is_some());
        let alone = alone && is_channel;
        for (other, seen) in &self.partitions {
            if other == partition {
                continue;
            }
            let counts = match (seen.is_idle(self.idle_after, now), seen.idle_by_word()) {
                (false, _) => seen.greatest,
                (true, Some(said)) => said.bound.map(|bound| bound.saturating_add(self.out_of_orderness)),
                (true, None) => continue,
            };
            others = others.min(counts);
            if !alone || other.source == partition.source {
                here = here.min(counts);
            }
        }
        let own = self.partitions.get(partition).and_then(|s| s.greatest).unwrap_or(Millis::MIN);
        Ahead {
            others: others.unwrap_or(Millis::MIN),
            here: here.unwrap_or(Millis::MIN),
            own,
            floor: self.now,
            slack: self.out_of_orderness,
        }
    }

    /// When the watermark may move without a record: at the time given, or, while every partition is idle, by
    /// the clock (`Resting`).
    pub fn next_move(&self, now: Duration) -> NextMove {
        if self.partitions.is_empty() || self.partitions.values().all(|s| s.greatest.is_none()) {
            return NextMove::Never;
        }
        let mut earliest: Option<Duration> = None;
        for seen in self.partitions.values() {
            // A channel's time passes when its writer speaks, which is an event.
            if seen.said.is_some() {
                return NextMove::Never;
            }
            match seen.idle_at(self.idle_after) {
                Some(at) if at > now => earliest = Some(earliest.map_or(at, |e| e.min(at))),
                Some(_) => {}
                None => return earliest.map_or(NextMove::Never, NextMove::At),
            }
        }
        earliest.map_or(NextMove::Resting, NextMove::At)
    }
}

/// See [`Watermark::next_move`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextMove {
    /// Only a record moves it.
    Never,
    /// A partition becomes idle then.
    At(Duration),
    /// It moves with the clock.
    Resting,
}

/// The watermark that grows with each row of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ahead {
    others: Millis,
    /// The least of those others by which rows are late.
    here: Millis,
    own: Millis,
    floor: Option<Millis>,
    slack: Millis,
}

impl Ahead {
    /// A row of time `t` goes by.
    #[inline]
    pub(crate) fn pass(&mut self, t: Millis) {
        self.own = self.own.max(t);
    }

    /// The watermark before the next row.
    #[inline]
    pub(crate) fn now(&self) -> Millis {
        self.least_with(self.others)
    }

    /// The watermark by which the next row is late. Where windows do not overlap it does not wait for the
    /// other partitions of a repartition topic: which of them is read first is chance.
    #[inline]
    pub(crate) fn here(&self) -> Millis {
        self.least_with(self.here)
    }

    #[inline]
    fn least_with(&self, others: Millis) -> Millis {
        let least = self.own.min(others).saturating_sub(self.slack);
        self.floor.map_or(least, |f| f.max(least))
    }
}

impl Seen {
    fn is_idle(&self, idle_after: Duration, now: Duration) -> bool {
        match self.said {
            Some(said) => said.idle.is_some(),
            None => self.idle_at(idle_after).is_some_and(|at| now >= at),
        }
    }

    /// What the writer of an idle channel has said: it lets time go as far as its bound.
    fn idle_by_word(&self) -> Option<Said> {
        self.said.filter(|said| said.idle.is_some())
    }

    /// When it is idle, unless a record comes; `None` while there is more to read.
    fn idle_at(&self, idle_after: Duration) -> Option<Duration> {
        self.caught_up.then(|| self.last_record.saturating_add(idle_after))
    }
}
