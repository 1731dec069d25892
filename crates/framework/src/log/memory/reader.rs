//! The reading end.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::group::{Hold, Member, Place, ReaderId};
use super::state::{Shared, State, moved_on};
use crate::batch::Partition;
use crate::error::{Error, Result};
use crate::log::{
    Assignment, Gone, GroupPositions, LogReader, Membership, Position, ReadEvent, ReaderOptions, Records,
};

/// A reader of a [`MemoryLog`](super::MemoryLog); dropping it is closing it.
#[derive(Debug)]
pub(super) struct MemoryReader {
    shared: Arc<Shared>,
    id: ReaderId,
}

impl MemoryReader {
    pub(super) async fn open(shared: Arc<Shared>, options: ReaderOptions) -> Result<Self> {
        drop(shared.undoubted().await?);
        let mut state = shared.lock();
        let mut topics =
            options.topics.iter().map(|name| state.topic(name)).collect::<Result<Vec<usize>>>()?;
        topics.sort_unstable();
        topics.dedup();
        if let Some(group) = &options.group {
            state.agrees(group)?;
        }
        let (group, windows) = options.group.map(|group| (group.name, group.windows)).unzip();
        let id = state.join(Member {
            group,
            windows: windows.unwrap_or_default(),
            topics,
            partitions: options.partitions,
            start: options.start,
            max_records: options.max_records,
            headers: options.headers,
            cursors: BTreeMap::new(),
            lost: Vec::new(),
            gone: Vec::new(),
            generation: 0,
            told: None,
            bound: None,
            paused: false,
            greeted: false,
            last: None,
        });
        drop(state);
        shared.wake();
        Ok(Self { shared, id })
    }
}

impl Drop for MemoryReader {
    fn drop(&mut self) {
        self.shared.lock().leave(self.id);
        self.shared.wake();
    }
}

#[async_trait]
impl LogReader for MemoryReader {
    async fn next(&mut self) -> Result<ReadEvent> {
        loop {
            let mut bell = std::pin::pin!(self.shared.bell());
            bell.as_mut().enable();
            let (released, event) = {
                let mut state = self.shared.lock();
                (state.release(self.id), state.next_event(self.id)?)
            };
            // Records that were given may make room for a writer; partitions that were let go have a new
            // holder.
            if released || matches!(event, Some(ReadEvent::Records(_))) {
                self.shared.wake();
            }
            match event {
                Some(event) => return Ok(event),
                None if released => {}
                None => bell.await,
            }
        }
    }

    fn membership(&self) -> Option<Membership> {
        self.shared.lock().membership(self.id)
    }

    async fn is_new(&mut self) -> Result<bool> {
        let state = self.shared.lock();
        let Some(member) = state.readers.get(&self.id) else { return Ok(false) };
        let Some(group) = member.group.as_ref().and_then(|name| state.groups.get(name)) else {
            return Ok(false);
        };
        Ok(!group.committed.keys().any(|place| member.topics.contains(&place.topic)))
    }

    async fn committed(&mut self) -> Result<Vec<Assignment>> {
        let state = self.shared.lock();
        let Some(member) = state.readers.get(&self.id) else { return Ok(Vec::new()) };
        let held = member.cursors.iter().filter(|(_, cursor)| cursor.hold != Hold::Given);
        Ok(held.map(|(place, cursor)| state.assignment(member, *place, cursor)).collect())
    }

    async fn commit(&mut self, positions: &[Position]) -> Result<()> {
        let Some(membership) = self.membership() else {
            let state = self.shared.lock();
            let in_group = state.readers.get(&self.id).is_some_and(|member| member.group.is_some());
            return if in_group { Err(moved_on()) } else { Ok(()) };
        };
        let positions = GroupPositions { membership, positions: positions.to_vec() };
        self.shared.commit(None, Vec::new(), Some(&positions)).await
    }

    async fn seek(&mut self, partition: &Partition, offset: i64) -> Result<()> {
        let mut state = self.shared.lock();
        let place = state.place(partition);
        let ends = place.and_then(|place| state.log(place)).map(|log| (log.start(), log.end()));
        let cursor = state
            .readers
            .get_mut(&self.id)
            .and_then(|member| place.and_then(|place| member.cursors.get_mut(&place)))
            .filter(|cursor| cursor.hold != Hold::Given);
        let (Some(cursor), Some((low, end))) = (cursor, ends) else {
            return Err(Error::abort(format!("{partition} is not this reader's, it cannot seek there")));
        };
        cursor.next = offset.clamp(low, end);
        cursor.told_caught_up = false;
        if offset < low
            && let Some(member) = state.readers.get_mut(&self.id)
        {
            member.gone.push(Gone { partition: partition.clone(), from: offset, to: low });
        }
        drop(state);
        self.shared.wake();
        Ok(())
    }

    fn pause(&mut self, paused: bool) {
        if let Some(member) = self.shared.lock().readers.get_mut(&self.id) {
            member.paused = paused;
        }
    }

    async fn bound(&mut self) -> Result<()> {
        let mut state = self.shared.lock();
        let topics = state.readers.get(&self.id).map(|member| member.topics.clone()).unwrap_or_default();
        let mut bound = BTreeMap::new();
        for topic in topics {
            for (index, log) in state.topics[topic].partitions.iter().enumerate() {
                bound.insert(Place { topic, index: index as i32 }, log.end());
            }
        }
        if let Some(member) = state.readers.get_mut(&self.id) {
            member.bound = Some(bound);
        }
        Ok(())
    }

    fn lag(&self) -> u64 {
        let state = self.shared.lock();
        let Some(member) = state.readers.get(&self.id) else { return 0 };
        let behind = |place: &Place, next: i64| state.log(*place).map_or(0, |log| log.end() - next);
        member.cursors.iter().map(|(place, cursor)| behind(place, cursor.next).max(0) as u64).sum()
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl State {
    /// What the reader has to be told next; `None` where there is nothing.
    fn next_event(&mut self, id: ReaderId) -> Result<Option<ReadEvent>> {
        if let Some(event) = self.membership_event(id) {
            return Ok(Some(event));
        }
        let Some(member) = self.readers.get(&id) else {
            return Err(Error::fatal("the reader is closed"));
        };
        // Each held partition, with where it ends for this reader and how far it is given.
        let held: Vec<(Place, i64, i64, bool)> = member
            .cursors
            .iter()
            .filter(|(_, cursor)| cursor.hold == Hold::Held)
            .filter_map(|(place, cursor)| {
                let log = self.log(*place)?;
                // What is below its start is not there any more.
                let next = cursor.next.max(log.start());
                Some((*place, next, member.limit(*place, log.end()), cursor.told_caught_up))
            })
            .collect();

        let caught_up: Vec<Place> =
            held.iter().filter(|(_, next, end, told)| next >= end && !told).map(|(p, ..)| *p).collect();
        if !caught_up.is_empty() {
            if let Some(member) = self.readers.get_mut(&id) {
                for place in &caught_up {
                    if let Some(cursor) = member.cursors.get_mut(place) {
                        cursor.told_caught_up = true;
                    }
                }
            }
            return Ok(Some(ReadEvent::CaughtUp(self.named(caught_up))));
        }
        let at_end = held.iter().all(|(_, next, end, _)| next >= end);
        if member.bound.is_some() && at_end && self.settled(id, member) {
            return Ok(Some(ReadEvent::End));
        }
        if member.paused || at_end {
            return Ok(None);
        }
        // In turn: first the partitions after the one that gave last.
        let (last, max, headers) = (member.last, member.max_records, member.headers.as_slice());
        let turn = held.iter().position(|(place, ..)| Some(*place) > last).unwrap_or(0);
        let ready = held[turn..].iter().chain(&held[..turn]).find(|(_, next, end, _)| next < end);
        let Some((place, next, end, _)) = ready else { return Ok(None) };
        let records = match self.log(*place) {
            Some(log) => log.read(&self.partition(*place), *next, *end, max, headers)?,
            None => None,
        };
        Ok(records.map(|records| self.given(id, *place, records)))
    }

    /// Notes that records have been given.
    fn given(&mut self, id: ReaderId, place: Place, records: Records) -> ReadEvent {
        let mut alone = false;
        if let Some(member) = self.readers.get_mut(&id) {
            alone = member.group.is_none();
            member.last = Some(place);
            if let (Some(cursor), Some(last)) = (member.cursors.get_mut(&place), records.offsets.last()) {
                cursor.next = last + 1;
                cursor.told_caught_up = false;
            }
        }
        if alone {
            self.trim(place.topic);
        }
        ReadEvent::Records(records)
    }

    /// What has changed in what the reader holds.
    fn membership_event(&mut self, id: ReaderId) -> Option<ReadEvent> {
        let member = self.readers.get_mut(&id)?;
        let lost = std::mem::take(&mut member.lost);
        if !lost.is_empty() {
            member.told = None;
            return Some(ReadEvent::Lost(self.named(lost)));
        }
        let wanted = turn(member, Hold::Wanted, Hold::Going);
        if !wanted.is_empty() {
            return Some(ReadEvent::Revoked(self.named(wanted)));
        }
        let given = turn(member, Hold::Given, Hold::Held);
        let greeted = member.greeted;
        let member = self.readers.get(&id)?;
        if given.is_empty() && (greeted || !member.cursors.is_empty() || !self.settled(id, member)) {
            let gone = std::mem::take(&mut self.readers.get_mut(&id)?.gone);
            return (!gone.is_empty()).then_some(ReadEvent::Gone(gone));
        }
        let assigned = given
            .iter()
            .filter_map(|place| Some(self.assignment(member, *place, member.cursors.get(place)?)))
            .collect();
        if let Some(member) = self.readers.get_mut(&id) {
            member.greeted = true;
            member.told = Some(member.generation);
        }
        Some(ReadEvent::Assigned(assigned))
    }

    fn named(&self, places: Vec<Place>) -> Vec<Partition> {
        places.into_iter().map(|place| self.partition(place)).collect()
    }
}

/// Takes every partition from one step of its hand-over to the next, and gives those that went.
fn turn(member: &mut Member, from: Hold, to: Hold) -> Vec<Place> {
    let mut went = Vec::new();
    for (place, cursor) in member.cursors.iter_mut().filter(|(_, cursor)| cursor.hold == from) {
        cursor.hold = to;
        went.push(*place);
    }
    went
}
