//! Fragments of sessions: how they are found by their times.

use std::collections::VecDeque;
use std::ops::Range;

use super::work;
use crate::clock::Millis;

/// The rows of one key and one partition that hang together.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and they come in any mix")]
pub(super) struct Fragment {
    pub(super) partition: u32,
    /// The time of the first row, and a gap after the last.
    pub(super) start: Millis,
    pub(super) end: Millis,
    /// The group of its rows in the tally.
    pub(super) slot: u32,
    pub(super) rows: u64,
    /// How many of the rows were read again and do not count as in flight yet.
    pub(super) again: u64,
    pub(super) first_offset: i64,
    /// True where all its rows are part of a result that was given when the session closed.
    pub(super) given: bool,
    /// True where all its rows were read again: they may be part of a result that was given before a restart.
    pub(super) replayed: bool,
    /// True where rows came since it last gave a result of any kind.
    pub(super) changed: bool,
    /// True where all its rows are in results that were given at the end of the data.
    pub(super) ended: bool,
    /// When it is looked at next: not after its session is due. Of what waits for it, only what says so
    /// counts.
    pub(super) due: Millis,
}

impl Fragment {
    /// A row of it comes in, which covers the time up to `end`.
    #[inline]
    pub(super) fn take(&mut self, row: Placed, end: Millis) {
        self.start = self.start.min(row.t);
        self.end = self.end.max(end);
        self.rows += 1;
        self.again += u64::from(row.replay);
        self.given = false;
        self.replayed &= row.replay;
        self.changed |= !row.replay;
        self.ended &= row.ended;
    }

    /// True where all its rows are in a result of its session, which ends at `end`. `given_before` says up to
    /// when a partition's sessions were given before a restart.
    pub(super) fn is_given(&self, end: Millis, given_before: impl Fn(u32) -> Option<Millis>) -> bool {
        self.given || self.ended || (self.replayed && given_before(self.partition) >= Some(end))
    }
}

/// A row to be placed.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    pub(super) group: u32,
    pub(super) partition: u32,
    pub(super) t: Millis,
    pub(super) offset: i64,
    pub(super) replay: bool,
    /// True where it is in a result that was given at the end of the data.
    pub(super) ended: bool,
}

/// Where a fragment is found, also once it has grown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// A time that it covers.
    pub(super) within: Millis,
    pub(super) group: u32,
    pub(super) partition: u32,
}

/// Where the first of a partition's fragments stands that ends after `start`, and the first that begins at
/// `end` or after.
pub(super) fn reaching(
    fragments: &VecDeque<Fragment>,
    partition: u32,
    start: Millis,
    end: Millis,
) -> Range<usize> {
    let from = fragments
        .partition_point(|f| f.partition < partition || (f.partition == partition && f.end <= start));
    let to = fragments.partition_point(|f| (f.partition, f.start) < (partition, end));
    from..to.max(from)
}

/// The fragment at a spot, if it is still there.
pub(super) fn find(fragments: &mut VecDeque<Fragment>, spot: Spot) -> Option<&mut Fragment> {
    let Range { start, end } =
        reaching(fragments, spot.partition, spot.within, spot.within.saturating_add(1));
    work::count(1);
    fragments.range_mut(start..end).next()
}

/// From when to when the session goes on that covers time `t`, over all partitions; `None` where none does.
pub(super) fn session(fragments: &VecDeque<Fragment>, t: Millis) -> Option<Range<Millis>> {
    let mut session: Option<Range<Millis>> = None;
    // Fragments of several partitions may hang together in any order.
    loop {
        let before = session.clone();
        let mut next = 0;
        while let Some(partition) = fragments.get(next).map(|f| f.partition) {
            let reach = before.clone().unwrap_or(t..t.saturating_add(1));
            let Range { start, end } = reaching(fragments, partition, reach.start, reach.end);
            if start < end {
                work::count(end - start);
                let (first, last) = (fragments[start].start, fragments[end - 1].end);
                session = Some(match session {
                    None => first..last,
                    Some(session) => session.start.min(first)..session.end.max(last),
                });
            }
            next = fragments.partition_point(|f| f.partition <= partition);
        }
        if session == before {
            return session;
        }
    }
}

/// Where the first fragment stands, at `next` or behind, that is of the session from `start` to `end`.
pub(super) fn of_session_from(
    fragments: &VecDeque<Fragment>,
    start: Millis,
    end: Millis,
    mut next: usize,
) -> Option<usize> {
    while let Some(partition) = fragments.get(next).map(|f| f.partition) {
        let reach = reaching(fragments, partition, start, end);
        let first = reach.start.max(next);
        if first < reach.end {
            work::count(1);
            return Some(first);
        }
        next = fragments.partition_point(|f| f.partition <= partition);
    }
    None
}

/// Where the fragments of the session from `start` to `end` stand.
pub(super) fn of_session(
    fragments: &VecDeque<Fragment>,
    start: Millis,
    end: Millis,
) -> impl Iterator<Item = usize> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let found = of_session_from(fragments, start, end, next)?;
        next = found + 1;
        Some(found)
    })
}

/// Gives back memory that was for many more fragments.
pub(super) fn shrink(fragments: &mut VecDeque<Fragment>) {
    if fragments.len() < fragments.capacity() / 4 {
        fragments.shrink_to(fragments.len() * 2);
    }
}

/// Fragments of one key, those that hang together put together, in the order of their starts.
pub(super) fn sessions(mut fragments: Vec<Fragment>) -> Vec<Vec<Fragment>> {
    fragments.sort_by_key(|f| (f.start, f.partition));
    let mut sessions: Vec<Vec<Fragment>> = Vec::new();
    let mut reach = Millis::MIN;
    for fragment in fragments {
        match sessions.last_mut() {
            Some(session) if fragment.start < reach => session.push(fragment),
            _ => sessions.push(vec![fragment]),
        }
        reach = reach.max(fragment.end);
    }
    sessions
}
