//! The commit: records become visible and positions are kept, together.
//!
//! Without a journal that is one hold of the lock. With one it is three steps: the commit is checked and gets
//! its offsets (under the lock), the journal makes it durable (without the lock, on a thread that may block),
//! and it becomes visible (under the lock). So readers, and writers that append, do not wait for a disk.
//! Commits are one behind the other, in the order in which they came, as each takes the journal's lock for
//! all three steps.
//!
//! Between the first step and the last nobody is given a partition whose position is being kept: its new
//! holder would start at the old one, and write again what is about to be durable. The last step is done on
//! the journal's thread, so that a commit whose caller is gone still becomes visible once it is durable.
//!
//! # A commit in doubt
//! Where the journal fails, it may be that the commit is durable all the same. Nothing else happens until the
//! journal knows ([`Journal::settle`]): who comes next asks it, and makes the commit visible, or forgets it.
//! So what is in memory is what is on the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

use super::compaction::Cleaned;
use super::group::Place;
use super::journal::{Change, Journal, KeptBatch, KeptTopic};
use super::state::{Shared, State};
use super::storage::{PartitionLog, Segment};
use crate::error::{Error, Result};
use crate::log::{GroupPositions, Position, TopicSpec};

/// What a transaction has appended: the topic, the partition, and the records.
pub(super) type Pending = Vec<(usize, i32, Segment)>;

/// A writer's transactional id and epoch.
pub(super) type Identity = (String, u64);

/// A journal, and the commit of which it does not know whether it has kept it.
#[derive(Debug)]
pub(super) struct Keeping {
    journal: Box<dyn Journal>,
    doubt: Option<Prepared>,
}

impl Keeping {
    pub(super) fn new(journal: Box<dyn Journal>) -> Self {
        Self { journal, doubt: None }
    }
}

/// Positions that a commit is about to keep.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    group: String,
    places: Vec<Place>,
    positions: Vec<Position>,
}

impl Decided {
    pub(super) fn is_of(&self, group: &str, place: Place) -> bool {
        self.group == group && self.places.contains(&place)
    }
}

/// Records in their place.
#[derive(Debug)]
struct Placed {
    topic: usize,
    name: Arc<str>,
    partition: i32,
    first: i64,
    segment: Segment,
}

/// A commit that has been checked.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    topics: Vec<KeptTopic>,
    batches: Vec<Placed>,
    cleaned: Vec<Cleaned>,
    positions: Option<Decided>,
    /// Batches that the journal may forget: the topic and its name, the partition, the first offset.
    dropped: Vec<(usize, Arc<str>, i32, i64)>,
}

impl Prepared {
    /// The same for the journal.
    fn change(&self) -> Change {
        let mut ends = BTreeMap::new();
        for batch in &self.batches {
            ends.insert((&batch.name, batch.partition), batch.first + batch.segment.len() as i64);
        }
        let positions = self.positions.iter();
        let batch = |batch: &Placed| KeptBatch {
            topic: batch.name.to_string(),
            partition: batch.partition,
            first: batch.first,
            bytes: batch.segment.to_bytes(),
        };
        Change {
            topics: self.topics.clone(),
            batches: self.batches.iter().map(batch).collect(),
            ends: ends.into_iter().map(|((topic, index), end)| (topic.to_string(), index, end)).collect(),
            positions: positions
                .flat_map(|of| of.positions.iter().map(|p| (of.group.clone(), p.clone())))
                .collect(),
            dropped: self
                .dropped
                .iter()
                .map(|(_, name, index, at)| (name.to_string(), *index, *at))
                .collect(),
        }
    }
}

impl Shared {
    /// Makes appended batches visible and positions committed, or, where they may not be, nothing of it.
    pub(super) async fn commit(
        self: &Arc<Self>,
        writer: Option<&Identity>,
        pending: Pending,
        positions: Option<&GroupPositions>,
    ) -> Result<()> {
        let keeping = self.undoubted().await?;
        let prepared = {
            let mut state = self.lock();
            let prepared = state.prepare(writer, pending, positions)?;
            if keeping.is_some() {
                state.deciding.clone_from(&prepared.positions);
            } else {
                // In the same hold of the lock: nothing comes between.
                state.apply(prepared);
                drop(state);
                self.wake();
                return Ok(());
            }
            prepared
        };
        self.keep(keeping, prepared).await
    }

    /// Makes the topics that are not there and may be made; gives the number of partitions of each.
    pub(super) async fn ensure_topics(self: &Arc<Self>, topics: &[TopicSpec]) -> Result<Vec<u32>> {
        let keeping = self.undoubted().await?;
        let mut prepared = Prepared::default();
        let mut counts = Vec::with_capacity(topics.len());
        {
            let mut state = self.lock();
            for spec in topics {
                if let Some(changed) = prepared.topics.iter_mut().find(|topic| topic.name == spec.name) {
                    changed.compacted |= spec.keeps.is_compacted();
                    counts.push(changed.partitions);
                    continue;
                }
                let found = state.find_topic(spec)?;
                let there = found.is_some();
                let mut topic = found.unwrap_or_else(|| KeptTopic {
                    name: spec.name.clone(),
                    partitions: spec.partitions.unwrap_or(state.options.partitions).max(1),
                    compacted: spec.keeps.is_compacted(),
                });
                counts.push(topic.partitions);
                // Directories of version 0.1 do not say of a topic that it is compacted.
                let changes = spec.keeps.is_compacted() && !topic.compacted;
                topic.compacted |= spec.keeps.is_compacted();
                if changes || !there {
                    prepared.topics.push(topic);
                }
            }
            if keeping.is_none() {
                state.apply(prepared);
                return Ok(counts);
            }
        }
        self.keep(keeping, prepared).await?;
        Ok(counts)
    }

    /// The journal, once it is known of every commit whether it has happened; nothing where there is none.
    pub(super) async fn undoubted(self: &Arc<Self>) -> Result<Option<OwnedMutexGuard<Keeping>>> {
        let Some(keeping) = &self.keeping else { return Ok(None) };
        let mut keeping = Arc::clone(keeping).lock_owned().await;
        if keeping.doubt.is_none() {
            return Ok(Some(keeping));
        }
        let shared = Arc::clone(self);
        blocking(move || {
            let happened = keeping.journal.settle()?;
            if let Some(prepared) = keeping.doubt.take() {
                if happened {
                    shared.lock().apply(prepared);
                } else {
                    shared.lock().forget(prepared);
                }
                shared.wake();
            }
            Ok(Some(keeping))
        })
        .await
    }

    /// Has the journal keep a commit, and makes it visible.
    async fn keep(
        self: &Arc<Self>,
        keeping: Option<OwnedMutexGuard<Keeping>>,
        prepared: Prepared,
    ) -> Result<()> {
        let Some(mut keeping) = keeping else { return Ok(()) };
        let shared = Arc::clone(self);
        blocking(move || {
            let change = prepared.change();
            // It is in doubt from here on, also where the journal panics.
            keeping.doubt = Some(prepared);
            if !change.is_empty() {
                keeping.journal.commit(&change)?;
            }
            if let Some(prepared) = keeping.doubt.take() {
                shared.lock().apply(prepared);
                shared.wake();
            }
            Ok(())
        })
        .await
    }
}

/// Runs what may wait for a disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => {
            Err(Error::fatal("a bug in what keeps the log stopped it").caused_by(error))
        }
        Err(_) => Err(Error::retry("the process ends before the log has answered")),
    }
}

impl State {
    /// Checks a commit, and gives its records their offsets.
    fn prepare(
        &mut self,
        writer: Option<&Identity>,
        mut pending: Pending,
        positions: Option<&GroupPositions>,
    ) -> Result<Prepared> {
        if let Some((id, epoch)) = writer {
            self.check_epoch(id, *epoch)?;
        }
        let positions = match positions {
            Some(of) => {
                let (group, places) = self.check(of)?;
                Some(Decided { group, places, positions: of.positions.clone() })
            }
            None => None,
        };
        let cleaned = self.clean(&mut pending)?;
        let mut ends: BTreeMap<(usize, i32), i64> = BTreeMap::new();
        let mut batches = Vec::with_capacity(pending.len());
        for (topic, partition, segment) in pending {
            let of = &self.topics[topic];
            let end = || of.partitions.get(partition as usize).map_or(0, PartitionLog::end);
            let end = ends.entry((topic, partition)).or_insert_with(end);
            let (name, first) = (Arc::clone(&of.name), *end);
            *end += segment.len() as i64;
            batches.push(Placed { topic, name, partition, first, segment });
        }
        let mut dropped = Vec::new();
        for (index, topic) in self.topics.iter_mut().enumerate() {
            let of_topic = topic.dropped.iter_mut().flat_map(std::mem::take);
            let name = &topic.name;
            dropped.extend(of_topic.map(|(partition, first)| (index, Arc::clone(name), partition, first)));
        }
        Ok(Prepared { topics: Vec::new(), batches, cleaned, positions, dropped })
    }

    /// Makes a commit visible.
    fn apply(&mut self, prepared: Prepared) {
        for topic in &prepared.topics {
            self.add_topic(topic);
        }
        self.drop_cleaned(&prepared.cleaned);
        for batch in prepared.batches {
            self.topics[batch.topic].store(batch.partition, batch.segment);
        }
        let mut read = Vec::new();
        if let Some(of) = prepared.positions
            && let Some(group) = self.groups.get_mut(&of.group)
        {
            for (place, position) in of.places.iter().zip(of.positions) {
                group.committed.insert(*place, position);
                read.push(place.topic);
            }
        }
        read.dedup();
        for topic in read {
            self.trim(topic);
        }
        self.decided();
    }

    /// A commit has not happened.
    fn forget(&mut self, prepared: Prepared) {
        for (topic, _, partition, first) in prepared.dropped {
            if let Some(dropped) = self.topics.get_mut(topic).and_then(|topic| topic.dropped.as_mut()) {
                dropped.push((partition, first));
            }
        }
        self.decided();
    }

    /// Gives the partitions whose position was being kept to those that wait for them.
    fn decided(&mut self) {
        if let Some(decided) = self.deciding.take() {
            self.rebalance(&decided.group);
        }
    }
}
