//! Where the partitions end: the bound of a reader that shall end there, the lag, and whether the brokers can
//! be reached at all.

use std::time::{Duration, Instant};

use pipectl_framework::batch::Partition;
use pipectl_framework::error::Result;

use super::{Part, Poller};
use crate::kafka::log::assignment::{TIMEOUT, ends, settling};
use crate::kafka::log::errors::error;
use crate::kafka::log::handoff::Item;
use crate::kafka::log::topics;

/// How often where the partitions end is looked up while records come, for the lag alone: the answer waits
/// behind fetched records.
const LOOK_AT_LAG: Duration = Duration::from_secs(5);
/// How long transactions may keep a bounded reader from its end before that is told.
const UNDECIDED: Duration = Duration::from_secs(10);
/// How often where the partitions end is looked up, and how long the brokers may take to tell. Less than the
/// idle time of most windows: until it is known that the brokers are away, time passes as if nothing were
/// written.
const LOOK_AT_ENDS: Duration = Duration::from_millis(500);

/// Where reading shall end.
///
/// A commit returns once its outcome is decided; the brokers write the markers that let readers past its
/// records a little later. So the end is where the partition's records end, committed or not, and reading
/// goes on until the outcome of all of them is known.
pub(super) struct Bound {
    /// For each partition, one more than its last record.
    pub(super) ends: Vec<i64>,
    /// True once a reader of committed records gets as far.
    pub(super) decided: bool,
    since: Instant,
    told: bool,
}

/// Whether the brokers tell where the partitions end.
pub(super) struct Reach {
    looked: Instant,
    /// When the last records came.
    heard: Instant,
    lost: bool,
}

impl Reach {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { looked: now, heard: now, lost: false }
    }

    /// Records came: the brokers are there.
    pub(super) fn heard(&mut self) {
        self.heard = Instant::now();
    }
}

impl Poller {
    pub(super) fn set_bound(&mut self) -> Result<()> {
        let ends = topics::ends(&self.setup.settings, &self.setup.topic)?;
        self.bound = Some(Bound { ends, decided: false, since: Instant::now(), told: false });
        self.finish_bounded();
        self.wait_for_outcomes();
        Ok(())
    }

    /// Looks whether a reader of committed records gets to the bound by now.
    pub(super) fn wait_for_outcomes(&mut self) {
        let Some(bound) = self.bound.as_mut().filter(|bound| !bound.decided) else { return };
        let all: Vec<i32> = (0..bound.ends.len() as i32).collect();
        let found = match ends(&self.consumer, &self.setup.topic, &all, TIMEOUT) {
            Ok(found) => found,
            Err(e) if settling(&e) => return,
            Err(e) => {
                let failed = error(&self.doing(), e);
                return self.fail(failed);
            }
        };
        bound.decided = bound.ends.iter().zip(found).all(|(end, decided)| decided >= *end);
        if !bound.decided {
            if bound.since.elapsed() > UNDECIDED && !std::mem::replace(&mut bound.told, true) {
                tracing::warn!(
                    "topic `{}` ends in a transaction that is still open: reading to its end waits for it",
                    self.setup.topic
                );
            }
            return;
        }
        // The end may be more than the last record (a marker takes an offset too), so that only librdkafka's
        // word tells who is there. Who has been there says so no more, and a word from before the outcome may
        // be on its way.
        self.ask_anew();
    }

    /// Finishes the partitions that are at their bound already.
    pub(super) fn finish_bounded(&mut self) {
        let Some(bound) = self.bound.as_ref().filter(|_| self.search.is_none()) else { return };
        let at = |p: &Part| bound.ends.get(p.partition.index as usize).is_none_or(|end| p.next >= *end);
        let finished: Vec<usize> = self
            .parts
            .iter()
            .flatten()
            .filter(|part| !part.done && at(part))
            .map(|part| part.partition.index as usize)
            .collect();
        for index in finished {
            self.finish(index);
        }
        self.check_end();
    }

    /// Looks up where the partitions end: for the lag, and to know that whoever has read all that is there
    /// would hear of more.
    pub(super) fn look_at_ends(&mut self) {
        let every = if self.reach.heard.elapsed() < LOOK_AT_ENDS { LOOK_AT_LAG } else { LOOK_AT_ENDS };
        if self.reach.looked.elapsed() < every {
            return;
        }
        let held: Vec<Partition> =
            self.parts.iter().flatten().filter(|p| !p.done).map(|p| p.partition.clone()).collect();
        let indexes: Vec<i32> = held.iter().map(|partition| partition.index).collect();
        let found = ends(&self.consumer, &self.setup.topic, &indexes, LOOK_AT_ENDS);
        self.reach.looked = Instant::now();
        match found {
            Ok(found) => {
                let behind = held.into_iter().zip(found).filter(|(partition, _)| {
                    self.parts
                        .get(partition.index as usize)
                        .is_some_and(|p| p.as_ref().is_some_and(|p| !p.at_end))
                });
                let ends: Vec<_> = behind.collect();
                if !ends.is_empty() {
                    self.handoff.push(Item::Ends { ends });
                }
                if std::mem::take(&mut self.reach.lost) {
                    self.ask_anew();
                }
            }
            Err(_) if self.reach.lost => {}
            Err(e) => {
                tracing::debug!("{}: out of reach: {e}", self.doing());
                self.reach.lost = true;
                for part in self.parts.iter_mut().flatten() {
                    part.at_end = false;
                }
                self.handoff.push(Item::OutOfReach { partitions: held });
            }
        }
    }

    /// Makes librdkafka say again of each partition when it is read to its end.
    fn ask_anew(&mut self) {
        let unfinished: Vec<(i32, i64)> = self
            .parts
            .iter()
            .flatten()
            .filter(|part| !part.done)
            .map(|part| (part.partition.index, part.next))
            .collect();
        for (index, next) in unfinished {
            if let Err(failed) = self.librdkafka_seek(index, next) {
                self.fail(failed);
            }
        }
    }
}
