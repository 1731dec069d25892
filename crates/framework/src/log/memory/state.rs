//! All that the log knows, behind one lock that is held for a batch at most.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::MemoryOptions;
use super::commit::{Decided, Keeping};
use super::group::{Cursor, Group, Hold, Member, Place, ReaderId, range};
use super::journal::{Change, Journal, KeptTopic};
use super::storage::{PartitionLog, Segment, Topic};
use crate::batch::Partition;
use crate::error::{Error, Result};
use crate::log::{Assignment, GroupPositions, MAX_METADATA, Membership, Position, TopicSpec};

/// The log's state, and the bell that rings when it has changed.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Wakes in the order of the waiting, so that a run on a paused clock has one outcome.
    changed: Notify,
    /// What makes it outlive the process. Its lock is taken in the order of asking, and before the state's.
    pub(super) keeping: Option<Arc<tokio::sync::Mutex<Keeping>>>,
}

impl Shared {
    pub(super) fn new(options: MemoryOptions) -> Self {
        Self { state: Mutex::new(State::new(options)), changed: Notify::new(), keeping: None }
    }

    /// With what a journal has kept, and what it will keep.
    pub(super) fn open(options: MemoryOptions, mut journal: Box<dyn Journal>) -> Result<Self> {
        let mut state = State::new(options);
        state.kept = true;
        state.restore(journal.load()?)?;
        let keeping = Some(Arc::new(tokio::sync::Mutex::new(Keeping::new(journal))));
        Ok(Self { state: Mutex::new(state), changed: Notify::new(), keeping })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes every reader and writer that waits.
    pub(super) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// What rings with the next change. Make it, and `enable` it, before looking, so that nothing rings
    /// unheard between the look and the wait.
    pub(super) fn bell(&self) -> Notified<'_> {
        self.changed.notified()
    }
}

/// What the log holds.
#[derive(Debug)]
pub(super) struct State {
    pub(super) options: MemoryOptions,
    pub(super) topics: Vec<Topic>,
    names: HashMap<Arc<str>, usize>,
    pub(super) readers: BTreeMap<ReaderId, Member>,
    pub(super) groups: BTreeMap<String, Group>,
    /// The newest writer of each transactional id.
    epochs: HashMap<String, u64>,
    next_reader: ReaderId,
    /// True where a journal keeps it.
    kept: bool,
    /// The positions that a journal is about to keep: until that is decided, their partitions are given to
    /// nobody.
    pub(super) deciding: Option<Decided>,
}

/// What stands behind a [`Membership`] of this log.
#[derive(Debug)]
struct Token {
    reader: ReaderId,
    generation: u64,
}

impl State {
    fn new(options: MemoryOptions) -> Self {
        Self {
            options,
            topics: Vec::new(),
            names: HashMap::new(),
            readers: BTreeMap::new(),
            groups: BTreeMap::new(),
            epochs: HashMap::new(),
            next_reader: 0,
            kept: false,
            deciding: None,
        }
    }

    /// Takes up what a journal has kept.
    fn restore(&mut self, kept: Change) -> Result<()> {
        for topic in &kept.topics {
            self.add_topic(topic);
        }
        for batch in kept.batches {
            let topic = self.topic(&batch.topic)?;
            let segment = Segment::from_bytes(&batch.bytes)?;
            self.topics[topic].restore(batch.partition, batch.first, segment)?;
        }
        for (topic, partition, end) in kept.ends {
            let topic = self.topic(&topic)?;
            self.topics[topic].restore_end(partition, end);
        }
        for (name, position) in kept.positions {
            if let Some(place) = self.place(&position.partition) {
                let group = self.groups.entry(name).or_default();
                group.topics.insert(place.topic);
                group.committed.insert(place, position);
            }
        }
        Ok(())
    }

    /// Makes a topic, or makes one that is there compacted.
    pub(super) fn add_topic(&mut self, kept: &KeptTopic) {
        if let Some(index) = self.names.get(kept.name.as_str()) {
            self.topics[*index].compacted |= kept.compacted;
            return;
        }
        let mut topic = Topic::new(&kept.name, kept.partitions, kept.compacted);
        topic.dropped = self.kept.then(Vec::new);
        self.names.insert(Arc::clone(&topic.name), self.topics.len());
        self.topics.push(topic);
    }

    // Topics.

    /// A topic that is there, as it is; for one that may be made, `None`.
    pub(super) fn find_topic(&self, spec: &TopicSpec) -> Result<Option<KeptTopic>> {
        if let Some(index) = self.names.get(spec.name.as_str()) {
            let topic = &self.topics[*index];
            let (name, partitions) = (spec.name.clone(), topic.partitions.len() as u32);
            return Ok(Some(KeptTopic { name, partitions, compacted: topic.compacted }));
        }
        if !spec.create {
            return Err(missing(&spec.name));
        }
        // Kafka's rule for names, so that a pipeline that runs here runs there.
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if spec.name.is_empty() || spec.name.len() > 249 || !spec.name.chars().all(legal) {
            return Err(Error::fatal(format!("`{}` cannot be the name of a topic", spec.name))
                .remedy("use at most 249 of the characters a-z, A-Z, 0-9, `.`, `_` and `-`"));
        }
        Ok(None)
    }

    pub(super) fn topic(&self, name: &str) -> Result<usize> {
        self.names.get(name).copied().ok_or_else(|| missing(name))
    }

    pub(super) fn partition(&self, place: Place) -> Partition {
        Partition { source: Arc::clone(&self.topics[place.topic].name), index: place.index }
    }

    pub(super) fn place(&self, partition: &Partition) -> Option<Place> {
        let topic = *self.names.get(&partition.source)?;
        let place = Place { topic, index: partition.index };
        self.log(place).map(|_| place)
    }

    pub(super) fn log(&self, place: Place) -> Option<&PartitionLog> {
        self.topics.get(place.topic)?.partitions.get(usize::try_from(place.index).ok()?)
    }

    // Readers.

    /// Whether a member that joins counts each window as the others of its group do.
    pub(super) fn agrees(&self, joins: &crate::log::Group) -> Result<()> {
        let others = self.readers.values().filter(|member| member.group.as_ref() == Some(&joins.name));
        match others.into_iter().find_map(|other| joins.differs(&other.windows)) {
            Some(window) => Err(joins.refused(window, "another chain of this run")),
            None => Ok(()),
        }
    }

    pub(super) fn join(&mut self, mut member: Member) -> ReaderId {
        let id = self.next_reader;
        self.next_reader += 1;
        let group = member.group.clone();
        if group.is_none() {
            for topic in &member.topics {
                for (index, log) in self.topics[*topic].partitions.iter().enumerate() {
                    if member.partitions.as_ref().is_some_and(|some| !some.contains(&(index as i32))) {
                        continue;
                    }
                    let next = log.begins(member.start);
                    let place = Place { topic: *topic, index: index as i32 };
                    let cursor = Cursor { next, started: next, hold: Hold::Given, told_caught_up: false };
                    member.cursors.insert(place, cursor);
                }
            }
        }
        self.readers.insert(id, member);
        if let Some(name) = group {
            let group = self.groups.entry(name.clone()).or_default();
            group.members.insert(id);
            group.joined = true;
            self.rebalance(&name);
        }
        id
    }

    pub(super) fn leave(&mut self, id: ReaderId) {
        let Some(member) = self.readers.remove(&id) else { return };
        if let Some(name) = &member.group
            && let Some(group) = self.groups.get_mut(name)
        {
            group.members.remove(&id);
            group.holders.retain(|_, holder| *holder != id);
            // The group stays, with what it still needs: a chain that starts again finds it.
            self.rebalance(name);
        }
        for topic in member.topics {
            self.trim(topic);
        }
    }

    pub(super) fn expel(&mut self, name: &str) {
        let Some(group) = self.groups.get_mut(name) else { return };
        group.holders.clear();
        for id in &group.members {
            if let Some(member) = self.readers.get_mut(id) {
                member.lost.extend(std::mem::take(&mut member.cursors).into_keys());
                member.generation += 1;
            }
        }
        self.rebalance(name);
    }

    /// Works out anew who shall have which partition, and starts what has to move.
    pub(super) fn rebalance(&mut self, name: &str) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let members: Vec<(ReaderId, &[usize])> = group
            .members
            .iter()
            .filter_map(|id| self.readers.get(id).map(|member| (*id, member.topics.as_slice())))
            .collect();
        if members.is_empty() {
            group.target.clear();
            return;
        }
        group.topics = members.iter().flat_map(|(_, topics)| topics.iter().copied()).collect();
        let counts = group.topics.iter().map(|t| (*t, self.topics[*t].partitions.len() as i32));
        group.target = range(counts, &members);
        let mut free = Vec::new();
        for (place, target) in &group.target {
            let Some(holder) = group.holders.get(place).copied() else {
                free.push(*place);
                continue;
            };
            let Some(member) = self.readers.get_mut(&holder) else { continue };
            let Some(cursor) = member.cursors.get_mut(place) else { continue };
            match (holder == *target, cursor.hold) {
                (true, Hold::Wanted) => cursor.hold = Hold::Held,
                (false, Hold::Held) => cursor.hold = Hold::Wanted,
                (false, Hold::Given) => {
                    member.cursors.remove(place);
                    group.holders.remove(place);
                    free.push(*place);
                }
                _ => {}
            }
        }
        for place in free {
            self.give(name, place);
        }
    }

    /// Gives a partition that nobody has to the member that shall have it.
    fn give(&mut self, name: &str, place: Place) {
        // Where it starts is not known yet; it is given once that is.
        if self.deciding.as_ref().is_some_and(|decided| decided.is_of(name, place)) {
            return;
        }
        let Some(log) = self.log(place) else { return };
        let (start, end) = (log.start(), log.end());
        let Some(id) = self.groups.get(name).and_then(|group| group.target.get(&place)).copied() else {
            return;
        };
        let Some(member) = self.readers.get(&id) else { return };
        let first = log.begins(member.start);
        let Some(group) = self.groups.get_mut(name) else { return };
        group.started.entry(place).or_insert(first);
        group.holders.insert(place, id);
        let Some(member) = self.readers.get_mut(&id) else { return };
        let next = group.low(place).clamp(start, end);
        let cursor = Cursor { next, started: next, hold: Hold::Given, told_caught_up: false };
        member.cursors.insert(place, cursor);
    }

    /// Lets go of what the reader has been told that it goes.
    pub(super) fn release(&mut self, id: ReaderId) -> bool {
        let Some(member) = self.readers.get_mut(&id) else { return false };
        let going: Vec<Place> = member
            .cursors
            .iter()
            .filter(|(_, cursor)| cursor.hold == Hold::Going)
            .map(|(place, _)| *place)
            .collect();
        if going.is_empty() {
            return false;
        }
        member.generation += 1;
        for place in &going {
            member.cursors.remove(place);
        }
        // It lets go itself, and so knows; what it has beside that stays its own.
        let holds = member.cursors.values().any(|cursor| cursor.hold != Hold::Given);
        member.told = member.told.filter(|_| holds).map(|_| member.generation);
        let Some(name) = member.group.clone() else { return false };
        for place in going {
            if let Some(group) = self.groups.get_mut(&name) {
                group.holders.remove(&place);
            }
            self.give(&name, place);
        }
        true
    }

    /// True where no partition is on its way to this reader.
    pub(super) fn settled(&self, id: ReaderId, member: &Member) -> bool {
        let Some(group) = member.group.as_ref().and_then(|name| self.groups.get(name)) else { return true };
        group.target.iter().all(|(place, target)| *target != id || group.holders.get(place) == Some(&id))
    }

    /// What a reader has, as it was assigned or as it would be assigned now.
    pub(super) fn assignment(&self, member: &Member, place: Place, cursor: &Cursor) -> Assignment {
        let group = member.group.as_ref().and_then(|name| self.groups.get(name));
        let committed = group.and_then(|group| group.committed.get(&place)).cloned();
        let start = committed.as_ref().map_or(cursor.started, |position| position.offset);
        let (low, end) = self.log(place).map_or((start, start), |log| (log.start(), log.end()));
        Assignment { partition: self.partition(place), committed, start: start.clamp(low, end) }
    }

    // Positions and transactions.

    pub(super) fn membership(&self, id: ReaderId) -> Option<Membership> {
        let member = self.readers.get(&id)?;
        member.group.as_ref()?;
        Some(Membership::new(Token { reader: id, generation: member.told? }))
    }

    /// The group and the place of each position, where this reader may commit them.
    pub(super) fn check(&self, positions: &GroupPositions) -> Result<(String, Vec<Place>)> {
        let Some(token) = positions.membership.token::<Token>() else {
            return Err(Error::fatal("the positions come from a reader of another log"));
        };
        let member = self.readers.get(&token.reader).ok_or_else(moved_on)?;
        let name = member.group.clone().ok_or_else(moved_on)?;
        if member.generation != token.generation {
            return Err(moved_on());
        }
        let mut places = Vec::with_capacity(positions.positions.len());
        for Position { partition, metadata, .. } in &positions.positions {
            if metadata.len() > MAX_METADATA {
                return Err(Error::fatal(format!(
                    "the metadata of the position in {partition} has {} bytes, {MAX_METADATA} are the most",
                    metadata.len()
                )));
            }
            let place = self.place(partition).ok_or_else(moved_on)?;
            match member.cursors.get(&place) {
                Some(cursor) if cursor.hold != Hold::Given => places.push(place),
                _ => return Err(moved_on()),
            }
        }
        Ok((name, places))
    }

    /// Makes a writer the newest of its id.
    pub(super) fn new_epoch(&mut self, id: &str) -> u64 {
        let epoch = self.epochs.entry(id.to_owned()).or_default();
        *epoch += 1;
        *epoch
    }

    pub(super) fn check_epoch(&self, id: &str, epoch: u64) -> Result<()> {
        if self.epochs.get(id) == Some(&epoch) {
            return Ok(());
        }
        Err(Error::new(
            crate::error::Consequence::Fenced,
            format!("another writer has taken the transactional id `{id}`"),
        )
        .remedy("run only one process with this pipeline's `name:`, or give each file a name of its own"))
    }
}

/// The answer to who commits what it does not hold.
pub(super) fn moved_on() -> Error {
    Error::abort("the group has moved on: this reader no longer holds what it commits")
        .remedy("nothing to do: the chain reads the committed positions again and goes on from there")
}

fn missing(topic: &str) -> Error {
    Error::fatal(format!("topic `{topic}` is not there"))
        .remedy("create it, or let the sink that writes it do so with `create: true`")
}
