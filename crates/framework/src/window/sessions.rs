//! Session windows: one per key, from its first row to a gap after its last; the end is exclusive, so a row
//! exactly a gap behind the last begins a new session.
//!
//! Rows are kept as fragments: the rows of one key and one partition that hang together. A session is the
//! fragments of a key that hang together over all partitions, found when it closes; so a partition that goes
//! to another worker takes its part with it. A session that was given is kept for another gap, as a row that
//! hangs together with it may still come in time: it then grows, and is given again, whole.
//!
//! What a row or a session costs does not depend on how many other sessions of its key are kept for late
//! rows: fragments are found by their times, and each waits by itself for when something is due.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::fragments::{
    Fragment, Placed, Spot, find, of_session, of_session_from, session, sessions, shrink,
};
use super::tally::Tally;
use crate::clock::Millis;
use crate::plugin::Aggregate;

/// What is kept of a fragment beside its key and state.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct SavedFragment {
    start: Millis,
    end: Millis,
    rows: u64,
    first_offset: i64,
}

impl SavedFragment {
    pub(super) fn rows(&self) -> i64 {
        self.rows as i64
    }
}

/// Where a row was placed.
pub(super) enum Slot {
    In(u32),
    /// The row makes two fragments one: all of the first slot goes to the second, which the row is in.
    Joins(u32, u32),
    /// There are too many sessions.
    None,
}

/// A session that is to give a result.
pub(super) struct Session {
    pub(super) end: Millis,
    pub(super) start: Millis,
    /// The key's group.
    pub(super) group: u32,
    pub(super) slots: Vec<u32>,
}

/// All sessions of a step.
pub(super) struct Sessions {
    gap: Millis,
    /// By the key's group; each in the order of partitions and starts.
    keys: Vec<VecDeque<Fragment>>,
    pub(super) tally: Tally,
    unused: Vec<u32>,
    slots: u32,
    open: usize,
    /// When something is due for a fragment: one that counts for each, and those of fragments that have
    /// become part of another.
    due: BinaryHeap<Reverse<(Millis, Spot)>>,
    /// How many fragments of a partition begin at an offset.
    offsets: BTreeMap<(u32, i64), u32>,
    /// The fragments that have changed since updates were last given.
    changed: Vec<Spot>,
}

impl Sessions {
    pub(super) fn new(gap: Millis, aggregate: &dyn Aggregate) -> Self {
        Self {
            gap,
            keys: Vec::new(),
            tally: Tally::new(aggregate),
            unused: Vec::new(),
            slots: 0,
            open: 0,
            due: BinaryHeap::new(),
            offsets: BTreeMap::new(),
            changed: Vec::new(),
        }
    }

    /// How many things of any kind are held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.open + self.due.len() + self.offsets.len() + self.changed.len()
    }

    /// The number of fragments.
    pub(super) fn len(&self) -> usize {
        self.open
    }

    /// How many groups the tally has.
    pub(super) fn slots(&self) -> usize {
        self.slots as usize
    }

    /// The bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.keys.capacity() * size_of::<VecDeque<Fragment>>()
            + self.open * (size_of::<Fragment>() + size_of::<(Millis, Spot)>() + 2 * size_of::<(u32, i64)>())
            + self.tally.bytes()
    }

    pub(super) fn next_due(&self) -> Option<Millis> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn first_offset(&self, partition: u32) -> Option<i64> {
        self.offsets
            .range((partition, i64::MIN)..=(partition, i64::MAX))
            .next()
            .map(|((_, offset), _)| *offset)
    }

    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The end of a session of one row.
    pub(super) fn end_alone(&self, t: Millis) -> Millis {
        t.saturating_add(self.gap)
    }

    /// The end of the session that goes on at time `t`; `None` where there is none.
    pub(super) fn end_at(&self, group: u32, t: Millis) -> Option<Millis> {
        session(self.keys.get(group as usize)?, t).map(|session| session.end)
    }

    /// Finds the fragment that a row belongs to, or makes one.
    pub(super) fn place(&mut self, row: Placed, most: u32, updates: bool) -> Slot {
        let Placed { group, partition, t, offset, replay, ended } = row;
        if self.keys.len() <= group as usize {
            self.keys.resize_with(group as usize + 1, VecDeque::new);
        }
        let gap = self.gap;
        let end = t.saturating_add(gap);
        let fragments = &mut self.keys[group as usize];
        let spot = Spot { within: t, group, partition };
        // Rows mostly come into the last fragment of their key; the others of its partition end before it
        // begins.
        if let Some(f) = fragments.back_mut()
            && f.partition == partition
            && f.start <= t
            && t < f.end
        {
            if updates && !replay && !f.changed {
                self.changed.push(spot);
            }
            f.take(row, end);
            if f.due > f.end {
                f.due = f.end;
                self.due.push(Reverse((f.end, spot)));
            }
            return Slot::In(f.slot);
        }
        let behind = match fragments.back() {
            Some(f) if (f.partition, f.start) < (partition, end) => fragments.len(),
            _ => fragments.partition_point(|f| (f.partition, f.start) < (partition, end)),
        };
        // A partition's fragments are apart from each other, and none is shorter than a gap: at most two
        // touch the row's.
        let touches = |i: usize| fragments.get(i).is_some_and(|f| f.partition == partition && t < f.end);
        let last = behind.checked_sub(1).filter(|i| touches(*i));
        let before = last.and_then(|i| i.checked_sub(1)).filter(|i| touches(*i));
        let Some(first) = before.or(last) else {
            // What was read again may have left more slots than there may be sessions.
            if self.open >= most as usize {
                return Slot::None;
            }
            let slot = self.unused.pop().unwrap_or(self.slots);
            self.slots = self.slots.max(slot + 1);
            self.open += 1;
            let fragment = Fragment {
                partition,
                start: t,
                end,
                slot,
                rows: 1,
                again: u64::from(replay),
                first_offset: offset,
                given: false,
                replayed: replay,
                changed: !replay,
                ended,
                due: end,
            };
            fragments.insert(behind, fragment);
            *self.offsets.entry((partition, offset)).or_default() += 1;
            self.due.push(Reverse((end, spot)));
            if updates && !replay {
                self.changed.push(spot);
            }
            return Slot::In(slot);
        };
        let second = before.and(last).and_then(|i| fragments.remove(i));
        let f = &mut fragments[first];
        if updates && !replay && !f.changed {
            self.changed.push(spot);
        }
        f.take(row, end);
        if let Some(second) = &second {
            f.due = f.due.min(second.due);
        }
        // What was given waits for when it is dropped; it is due before.
        let ends = f.end.max(second.as_ref().map_or(f.end, |second| second.end));
        if f.due > ends {
            f.due = ends;
            self.due.push(Reverse((ends, spot)));
        }
        match second {
            None => Slot::In(f.slot),
            Some(second) => {
                f.start = f.start.min(second.start);
                f.end = f.end.max(second.end);
                f.rows += second.rows;
                f.again += second.again;
                f.replayed &= second.replayed;
                f.changed |= second.changed;
                f.ended &= second.ended;
                let (kept, gone) =
                    (f.first_offset.min(second.first_offset), f.first_offset.max(second.first_offset));
                f.first_offset = kept;
                let into = f.slot;
                self.open -= 1;
                self.unused.push(second.slot);
                self.forget_offset(partition, gone);
                Slot::Joins(second.slot, into)
            }
        }
    }

    fn forget_offset(&mut self, partition: u32, offset: i64) {
        if let Some(count) = self.offsets.get_mut(&(partition, offset)) {
            *count -= 1;
            if *count == 0 {
                self.offsets.remove(&(partition, offset));
            }
        }
    }

    /// Takes out what is due at `watermark`: gives the sessions that have a result to give, in the order of
    /// their ends, starts and keys, and the slots and rows of those that are over for good after it.
    /// `given_before` says up to when a partition's sessions were given before a restart.
    pub(super) fn close(
        &mut self,
        watermark: Millis,
        lateness: Millis,
        given_before: impl Fn(u32) -> Option<Millis>,
    ) -> (Vec<Session>, Vec<(u32, u64)>) {
        let (mut given, mut over) = (Vec::new(), Vec::new());
        while self.due.peek().is_some_and(|Reverse((at, _))| *at <= watermark) {
            let Some(Reverse((at, spot))) = self.due.pop() else { break };
            let group = spot.group;
            let Some(kept) = self.keys.get_mut(group as usize) else { continue };
            let Some(f) = find(kept, spot).filter(|f| f.due == at) else { continue };
            f.due = Millis::MAX;
            let Some(Range { start, end }) = session(kept, spot.within) else { continue };
            if end > watermark {
                // Its session goes on.
                if let Some(f) = find(kept, spot) {
                    f.due = end;
                }
                self.due.push(Reverse((end, spot)));
                continue;
            }
            let mut fragments = std::mem::take(kept);
            if !of_session(&fragments, start, end).all(|i| fragments[i].is_given(end, &given_before)) {
                let slots = of_session(&fragments, start, end).map(|i| fragments[i].slot).collect();
                given.push(Session { end, start, group, slots });
            }
            let drop = end.saturating_add(lateness).saturating_add(self.gap);
            if drop <= watermark {
                while let Some(i) = of_session_from(&fragments, start, end, 0) {
                    let Some(f) = fragments.remove(i) else { break };
                    self.open -= 1;
                    self.forget_offset(f.partition, f.first_offset);
                    over.push((f.slot, f.rows));
                }
                shrink(&mut fragments);
            } else {
                let mut next = 0;
                while let Some(i) = of_session_from(&fragments, start, end, next) {
                    let f = &mut fragments[i];
                    (f.given, f.changed) = (true, false);
                    if f.due != drop {
                        f.due = drop;
                        let spot = Spot { within: f.start, group, partition: f.partition };
                        self.due.push(Reverse((drop, spot)));
                    }
                    next = i + 1;
                }
            }
            self.keys[group as usize] = fragments;
        }
        given.sort_by_key(|s| (s.end, s.start, s.group));
        (given, over)
    }

    /// The slots of sessions that are over may be given to others.
    pub(super) fn free(&mut self, slots: impl Iterator<Item = u32>) {
        for slot in slots {
            self.tally.reset(slot);
            self.unused.push(slot);
        }
    }

    /// The sessions that are still open and have changed, in the order of their ends, starts and keys.
    pub(super) fn so_far(&mut self, watermark: Millis) -> Vec<Session> {
        let mut given = Vec::new();
        for spot in std::mem::take(&mut self.changed) {
            let group = spot.group;
            let Some(fragments) = self.keys.get_mut(group as usize) else { continue };
            // It may have been given meanwhile, or with another of the list.
            if !find(fragments, spot).is_some_and(|f| f.changed) {
                continue;
            }
            let Some(Range { start, end }) = session(fragments, spot.within) else { continue };
            let mut slots = Vec::new();
            let mut next = 0;
            while let Some(i) = of_session_from(fragments, start, end, next) {
                fragments[i].changed = false;
                slots.push(fragments[i].slot);
                next = i + 1;
            }
            if end > watermark {
                given.push(Session { end, start, group, slots });
            }
        }
        given.sort_by_key(|s| (s.end, s.start, s.group));
        given
    }

    /// The sessions that have rows in no result yet, in the order of their ends, starts and keys. They stay
    /// as they are, but for that. `given_before` is as in [`close`](Self::close).
    pub(super) fn end(&mut self, given_before: impl Fn(u32) -> Option<Millis>) -> Vec<Session> {
        let mut given = Vec::new();
        for (group, fragments) in (0..).zip(&mut self.keys) {
            if fragments.iter().all(|f| f.given || f.ended) {
                continue;
            }
            for session in sessions(fragments.iter().copied().collect()) {
                let end = session.iter().map(|f| f.end).max().unwrap_or(Millis::MIN);
                if session.iter().all(|f| f.is_given(end, &given_before)) {
                    continue;
                }
                let start = session.iter().map(|f| f.start).min().unwrap_or(end);
                let slots = session.iter().map(|f| f.slot).collect();
                given.push(Session { end, start, group, slots });
            }
            fragments.iter_mut().for_each(|f| (f.ended, f.changed) = (true, false));
        }
        given.sort_by_key(|s| (s.end, s.start, s.group));
        given
    }

    /// Forgets the sessions that were over for good before the restart, and gives how many rows of the others
    /// were read again.
    pub(super) fn back(&mut self, lateness: Millis, given_before: impl Fn(u32) -> Option<Millis>) -> u64 {
        let mut back = 0;
        let mut over: Vec<Fragment> = Vec::new();
        for fragments in &mut self.keys {
            let mut kept = Vec::new();
            for mut session in sessions(std::mem::take(fragments).into()) {
                let end = session.iter().map(|f| f.end).max().unwrap_or(Millis::MIN);
                let drop = end.saturating_add(lateness).saturating_add(self.gap);
                if session.iter().all(|f| f.replayed && given_before(f.partition) >= Some(drop)) {
                    over.append(&mut session);
                } else {
                    back += session.iter_mut().map(|f| std::mem::take(&mut f.again)).sum::<u64>();
                    kept.append(&mut session);
                }
            }
            kept.sort_unstable_by_key(|f| (f.partition, f.start));
            *fragments = kept.into();
        }
        self.open -= over.len();
        over.iter().for_each(|f| self.forget_offset(f.partition, f.first_offset));
        self.free(over.iter().map(|f| f.slot));
        back
    }

    /// A partition's fragments, each with its key's group, its slot, and whether an end of the data has given
    /// all its rows.
    pub(super) fn of_partition(
        &self,
        partition: u32,
    ) -> impl Iterator<Item = (u32, u32, SavedFragment, bool)> + '_ {
        (0..).zip(&self.keys).flat_map(move |(group, fragments)| {
            fragments.iter().filter(move |f| f.partition == partition).map(move |f| {
                let saved =
                    SavedFragment { start: f.start, end: f.end, rows: f.rows, first_offset: f.first_offset };
                (group, f.slot, saved, f.ended)
            })
        })
    }

    /// Puts a fragment in its place whose rows were read before a restart, as if they were read again;
    /// `ended` where an end of the data has given them. Gives its slot.
    pub(super) fn load(&mut self, group: u32, partition: u32, saved: SavedFragment, ended: bool) -> u32 {
        let slot = self.unused.pop().unwrap_or(self.slots);
        self.slots = self.slots.max(slot + 1);
        self.open += 1;
        let SavedFragment { start, end, rows, first_offset } = saved;
        let fragment = Fragment {
            partition,
            start,
            end,
            slot,
            rows,
            again: rows,
            first_offset,
            given: false,
            replayed: true,
            changed: false,
            ended,
            due: end,
        };
        if self.keys.len() <= group as usize {
            self.keys.resize_with(group as usize + 1, VecDeque::new);
        }
        let fragments = &mut self.keys[group as usize];
        let at = fragments.partition_point(|f| (f.partition, f.start) < (partition, start));
        fragments.insert(at, fragment);
        *self.offsets.entry((partition, first_offset)).or_default() += 1;
        self.due.push(Reverse((end, Spot { within: start, group, partition })));
        slot
    }

    /// Drops a partition's fragments; gives how many rows they had, and how many of these were read again and
    /// do not count yet.
    pub(super) fn revoke(&mut self, partition: u32) -> (u64, u64) {
        let mut dropped = Vec::new();
        for fragments in &mut self.keys {
            fragments.retain(|f| {
                if f.partition == partition {
                    dropped.push(*f);
                }
                f.partition != partition
            });
        }
        self.open -= dropped.len();
        self.offsets.retain(|(of, _), _| *of != partition);
        self.due.retain(|Reverse((_, spot))| spot.partition != partition);
        self.changed.retain(|spot| spot.partition != partition);
        self.free(dropped.iter().map(|f| f.slot));
        dropped.iter().fold((0, 0), |(rows, again), f| (rows + f.rows, again + f.again))
    }

    /// Marks the groups that have a session.
    pub(super) fn live(&self, live: &mut [bool]) {
        for (live, fragments) in live.iter_mut().zip(&self.keys) {
            *live |= !fragments.is_empty();
        }
    }

    /// The keys have got other groups.
    pub(super) fn renumber(&mut self, into: &[u32]) {
        let mut keys = Vec::new();
        for (fragments, group) in std::mem::take(&mut self.keys).into_iter().zip(into) {
            let group = *group as usize;
            if fragments.is_empty() {
                continue;
            }
            if keys.len() <= group {
                keys.resize_with(group + 1, VecDeque::new);
            }
            keys[group] = fragments;
        }
        self.keys = keys;
        let live = |spot: &Spot| self.keys.get(spot.group as usize).is_some_and(|f| !f.is_empty());
        let moved =
            |spot: Spot| Spot { group: into.get(spot.group as usize).copied().unwrap_or(spot.group), ..spot };
        let due = std::mem::take(&mut self.due).into_iter();
        self.due = due
            .map(|Reverse((at, spot))| (at, moved(spot)))
            .filter(|(_, spot)| live(spot))
            .map(Reverse)
            .collect();
        self.changed.iter_mut().for_each(|spot| *spot = moved(*spot));
    }
}
