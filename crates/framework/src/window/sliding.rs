//! The state that overlapping windows share, so that a window costs the same however many panes it has.
//!
//! Where the aggregate can take a pane out again, the state of the window that closed last becomes that of
//! the next by taking out the oldest panes and adding the newest. Where it cannot (a minimum), two stacks do
//! it: the front holds, for each of the older panes, the merge of it and all up to the middle; the back is
//! one merge of the newer ones. A pane goes through each stack once. (Tangwongsan, Hirzel, Schneider:
//! "Low-latency sliding-window aggregation in worst-case constant time", 2017, describes both.)

use std::collections::BTreeMap;

use arrow_array::RecordBatch;

use super::assigned::Pane;
use super::tally::Tally;
use crate::clock::Millis;
use crate::plugin::{Aggregate, Groups};

/// The state of the window that closed last.
pub(super) struct Running {
    start: Millis,
    end: Millis,
    held: Held,
}

enum Held {
    /// The merge of all its panes, and the panes that no window needs any more but that are still in it.
    Whole { all: Tally, retired: Vec<Pane> },
    /// See the file's comment. The front's last is that of the oldest pane; the back begins at `middle`.
    Stacks { front: Vec<(Millis, Tally)>, back: Tally, middle: Millis },
}

/// The panes, and what makes new states of them.
#[derive(Clone, Copy)]
pub(super) struct Panes<'a> {
    pub(super) panes: &'a BTreeMap<Millis, Pane>,
    pub(super) aggregate: &'a dyn Aggregate,
    /// 0, 1, 2, ... for as many groups as there are.
    pub(super) same: &'a [u32],
}

impl Panes<'_> {
    /// The merge of the panes from `start` to `end`; of the given partitions only, where some are given.
    pub(super) fn merged(&self, start: Millis, end: Millis, partitions: Option<&[u32]>) -> Tally {
        let mut all = Tally::new(self.aggregate);
        self.merge_into(&mut all, start, end, partitions);
        all
    }

    fn merge_into(&self, all: &mut Tally, start: Millis, end: Millis, partitions: Option<&[u32]>) {
        for part in self.panes.range(start..end).flat_map(|(_, pane)| &pane.parts) {
            if partitions.is_none_or(|some| some.contains(&part.partition)) {
                all.merge(&part.tally, self.same);
            }
        }
    }
}

impl Running {
    /// The state of the window from `start` to `end`, put together from its panes.
    pub(super) fn new(panes: Panes<'_>, start: Millis, end: Millis) -> Self {
        let held = if panes.aggregate.removes() {
            Held::Whole { all: panes.merged(start, end, None), retired: Vec::new() }
        } else {
            stacks(panes, start, end)
        };
        Self { start, end, held }
    }

    /// True where rows of this pane are in the state already.
    pub(super) fn covers(&self, pane: Millis) -> bool {
        (self.start..self.end).contains(&pane)
    }

    /// True where it can become the state of the window from `start`.
    pub(super) fn reaches(&self, start: Millis) -> bool {
        self.start <= start && start < self.end
    }

    /// Takes in rows of a pane that it covers. False where it cannot, and is of no more use.
    pub(super) fn add(&mut self, pane: Millis, batch: &RecordBatch, groups: Groups<'_>) -> bool {
        match &mut self.held {
            Held::Whole { all, .. } => all.add(batch, groups),
            Held::Stacks { back, middle, .. } if pane >= *middle => back.add(batch, groups),
            Held::Stacks { .. } => return false,
        }
        true
    }

    /// Keeps a pane that was dropped while it is still in the state; gives it back where it is not.
    pub(super) fn retire(&mut self, start: Millis, pane: Pane) -> Option<Pane> {
        if let Held::Whole { retired, .. } = &mut self.held
            && start >= self.start
        {
            retired.push(pane);
            return None;
        }
        Some(pane)
    }

    /// Moves on to the window from `start` to `end`, which begins in this one.
    pub(super) fn slide(&mut self, panes: Panes<'_>, start: Millis, end: Millis) {
        match &mut self.held {
            Held::Whole { all, retired } => {
                let kept = panes.panes.range(self.start..start).map(|(_, pane)| pane);
                for part in std::mem::take(retired).iter().chain(kept).flat_map(|pane| &pane.parts) {
                    all.remove(&part.tally, panes.same);
                }
                panes.merge_into(all, self.end, end, None);
            }
            Held::Stacks { front, back, middle } => {
                while front.last().is_some_and(|(pane, _)| *pane < start) {
                    front.pop();
                }
                if *middle <= start {
                    self.held = stacks(panes, start, end);
                } else {
                    panes.merge_into(back, self.end, end, None);
                }
            }
        }
        (self.start, self.end) = (start, end);
    }

    /// Gives the window's state to `use_it`.
    pub(super) fn with<T>(&self, panes: Panes<'_>, use_it: impl FnOnce(&Tally) -> T) -> T {
        match &self.held {
            Held::Whole { all, .. } => use_it(all),
            Held::Stacks { front, back, .. } => {
                let mut all = Tally::new(panes.aggregate);
                if let Some((_, front)) = front.last() {
                    all.merge(front, panes.same);
                }
                all.merge(back, panes.same);
                use_it(&all)
            }
        }
    }
}

/// All panes of the window on the front stack.
fn stacks(panes: Panes<'_>, start: Millis, end: Millis) -> Held {
    let mut front: Vec<(Millis, Tally)> = Vec::new();
    for (pane, _) in panes.panes.range(start..end).rev() {
        let mut all = panes.merged(*pane, pane.saturating_add(1), None);
        if let Some((_, newer)) = front.last() {
            all.merge(newer, panes.same);
        }
        front.push((*pane, all));
    }
    Held::Stacks { front, back: Tally::new(panes.aggregate), middle: end }
}
