//! Time stands while a chain fails from which rows are to come.
//!
//! A window lets time pass with the clock once its partitions are read to their end. That is wrong while the
//! chain that writes them cannot: what it writes later has the times of now, and would be late. It is like a
//! log that is out of reach; only that the run knows of its own chains.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Chain;
use crate::batch::Partition;

/// How often it is looked whether the chains before this one work again.
const LOOK: Duration = Duration::from_millis(250);

/// The partitions that are read to their end.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    at_end: BTreeSet<Partition>,
    /// True while a chain fails from which rows are to come.
    held: bool,
}

impl Waiting {
    /// When to look again.
    pub(super) fn looks_at(&self, now: Duration) -> Option<Duration> {
        (self.held && !self.at_end.is_empty()).then(|| now + LOOK)
    }

    /// These partitions are this chain's no more.
    pub(super) fn forget(&mut self, partitions: &[Partition]) {
        partitions.iter().for_each(|partition| _ = self.at_end.remove(partition));
    }
}

impl Chain {
    /// A partition has, or no longer has, given all that is there.
    pub(super) fn caught_up(&mut self, partition: &Partition, caught_up: bool) {
        let known = if caught_up {
            !self.waiting.at_end.insert(partition.clone())
        } else {
            !self.waiting.at_end.remove(partition)
        };
        // Nearly always so: a batch behind others.
        if known && !caught_up {
            return;
        }
        self.tree.caught_up(partition, caught_up && !self.waiting.held, self.now());
    }

    /// Whether time may pass, as far as the chains before this one know.
    pub(super) fn look_upstream(&mut self) {
        let held = self.environment.sources.iter().any(|chain| chain.standing.holds_back());
        if std::mem::replace(&mut self.waiting.held, held) == held {
            return;
        }
        let now = self.now();
        for partition in &self.waiting.at_end {
            self.tree.caught_up(partition, !held, now);
        }
    }
}
