//! The first record of a time or later.
//!
//! The brokers know a place that is not behind it (KIP-79). It may be before it, as they count the marks that
//! end transactions too, each with the time of its commit: in a topic of old times that was written in
//! transactions, the first mark is what they find. So records are passed over from there on, before the chain
//! is told where it begins.

use std::collections::BTreeMap;

use pipectl_framework::clock::Millis;
use pipectl_framework::error::Result;
use rdkafka::consumer::Consumer;

use super::{Begin, Poller};
use crate::kafka::log::errors::error;

/// Partitions of which the chain has not been told, as where some of them begin is being looked for.
pub(super) struct Search {
    begins: Vec<Begin>,
    /// The time that is looked for in each of these partitions.
    left: BTreeMap<usize, Millis>,
}

impl Poller {
    /// Looks where these partitions begin, and tells the chain of them then: at once, where nothing need be
    /// looked for.
    pub(super) fn search(&mut self, begins: Vec<Begin>) -> Result<()> {
        let number = |begin: &Begin| begin.assignment.partition.index as usize;
        let left: BTreeMap<usize, Millis> =
            begins.iter().filter_map(|begin| Some((number(begin), begin.since?))).collect();
        self.take_up(&begins);
        if left.is_empty() {
            self.tell(begins);
            return Ok(());
        }
        // What they have waits until the chain knows of them.
        let known = self.list(|part| !left.contains_key(&(part.partition.index as usize)));
        self.search = Some(Search { begins, left });
        self.consumer.pause(&known).map_err(|e| error(&self.doing(), e))
    }

    /// True where nothing is taken yet. The next record of a partition is at `offset`, or it has none where
    /// there is no offset.
    pub(super) fn searches(&mut self, index: usize, next: Option<(i64, Option<Millis>)>) -> bool {
        let Some(search) = &mut self.search else { return false };
        let (Some(since), Some(Some(part))) = (search.left.get(&index), self.parts.get_mut(index)) else {
            return true;
        };
        match next {
            Some((offset, _)) if offset < part.next => return true,
            Some((offset, time)) if time.is_none_or(|time| time < *since) => {
                part.next = offset + 1;
                return true;
            }
            Some((offset, _)) => part.next = offset,
            None => {}
        }
        search.left.remove(&index);
        if search.left.is_empty()
            && let Err(failed) = self.found()
        {
            self.fail(failed);
        }
        true
    }

    /// Tells the chain of the partitions, and reads from where they begin.
    fn found(&mut self) -> Result<()> {
        let Some(Search { mut begins, .. }) = self.search.take() else { return Ok(()) };
        for begin in &mut begins {
            let index = begin.assignment.partition.index;
            let Some(Some(part)) = self.parts.get(index as usize) else { continue };
            begin.assignment.start = part.next;
            self.librdkafka_seek(index, begin.assignment.start)?;
        }
        self.consumer.resume(&self.list(|_| true)).map_err(|e| error(&self.doing(), e))?;
        self.tell(begins);
        Ok(())
    }
}
