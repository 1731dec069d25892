//! Closes windows.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, RecordBatch, TimestampMillisecondArray};

use super::keys::NO_OWNER;
use super::operator::{Pane, WindowOperator, WindowOutput};
use crate::batch::{Batch, Origin, Partition};
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::plugin::{AggregateState, Groups};
use crate::time::NextMove;

/// The most windows that one call closes; the rest follow in the next, so that a long gap does not hold the chain up.
const MOST_AT_ONCE: usize = 1024;

/// The longest gap without a record, in windows, that is filled with zeros. Beyond it nobody wants to read them all.
const LONGEST_GAP: Millis = 100_000;

/// The state of the window that closed last, kept for sliding windows: the next one is this one, less its oldest pane, plus the
/// newest.
pub(super) struct Running {
    start: Millis,
    end: Millis,
    state: Box<dyn AggregateState>,
    /// Panes that no window needs any more, but that are still in `state`.
    retired: Vec<Pane>,
}

impl Running {
    pub(super) fn covers(&self, pane: Millis) -> bool {
        (self.start..self.end).contains(&pane)
    }

    /// Takes in rows of a pane that it covers, so that taking the pane out again leaves nothing of them.
    pub(super) fn add(&mut self, batch: &Batch, groups: Groups<'_>) {
        self.state.add(batch.columns(), groups);
    }
}

impl WindowOperator {
    /// Lets time pass, and closes the windows that are due.
    ///
    /// # Errors
    /// `Fatal` where the aggregate cannot give its result.
    pub fn tick(&mut self, now: Duration, wall: Millis, out: &mut WindowOutput) -> Result<()> {
        match self.advance(now, wall) {
            Some(watermark) => self.close_until(watermark, out),
            None => Ok(()),
        }
    }

    /// Nothing follows: closes every window that has a row.
    ///
    /// # Errors
    /// As [`tick`](Self::tick).
    pub fn finish(&mut self, out: &mut WindowOutput) -> Result<()> {
        while let Some((last, _)) = self.panes.last_key_value() {
            let grid = &self.settings.grid;
            let end = grid.last_end(last.saturating_add(grid.pane_length() - 1));
            self.close_windows(end, out)?;
            self.drop_panes(end.saturating_add(self.settings.lateness), out);
        }
        Ok(())
    }

    /// When [`tick`](Self::tick) should be called though nothing was read; `None` while only a record can close a window.
    pub fn next_wakeup(&self, now: Duration) -> Option<Duration> {
        let due = self.next_end()?;
        let watermark = self.watermark()?;
        if due <= watermark {
            return Some(now);
        }
        match self.next_move(now) {
            NextMove::Never => None,
            NextMove::At(at) => Some(at),
            NextMove::Resting => Some(now + Duration::from_millis((due - watermark) as u64)),
        }
    }

    fn close_until(&mut self, watermark: Millis, out: &mut WindowOutput) -> Result<()> {
        self.close_due(watermark, out)?;
        self.drop_panes(watermark, out);
        Ok(())
    }

    /// Closes windows that are due, up to a number; true when all are closed. Those without a row are closed too: a row that comes
    /// for one of them is late.
    pub(super) fn close_due(&mut self, watermark: Millis, out: &mut WindowOutput) -> Result<bool> {
        if self.close_windows(watermark, out)? {
            return Ok(false);
        }
        let grid = &self.settings.grid;
        let closed = Some(grid.end_after(watermark).saturating_sub(grid.slide()));
        for assigned in self.partitions.values_mut() {
            assigned.closed_until = assigned.closed_until.max(closed);
        }
        Ok(true)
    }

    /// Closes windows that are due, up to a number. True where some may be left.
    fn close_windows(&mut self, watermark: Millis, out: &mut WindowOutput) -> Result<bool> {
        for _ in 0..MOST_AT_ONCE {
            let Some(end) = self.next_end().filter(|end| *end <= watermark) else { return Ok(false) };
            let end = self.skip_gap(end, watermark);
            if let Some(batch) = self.window(end, true)? {
                out.results.push(batch);
            }
            for assigned in self.partitions.values_mut() {
                assigned.closed_until = assigned.closed_until.max(Some(end));
            }
        }
        Ok(true)
    }

    /// The end of the next window to close.
    pub(super) fn next_end(&self) -> Option<Millis> {
        let grid = &self.settings.grid;
        let oldest = self.panes.first_key_value().map(|(start, _)| grid.first_end(*start));
        let after_closed = match self.partitions.values().map(|a| a.closed_until).min()? {
            Some(closed) => Some(grid.end_after(closed)),
            // A partition that is new beside others begins with its first row.
            None => self.partitions.values().filter_map(|a| a.closed_until).max().map(|c| grid.end_after(c)),
        };
        let fresh = self.partitions.values().any(|a| a.closed_until.is_none());
        if self.settings.keep_seen {
            let first = grid.first_end(self.first?);
            let next = after_closed.map_or(first, |a| a.max(first));
            return Some(if fresh { oldest.map_or(next, |o| o.min(next)) } else { next });
        }
        let oldest = oldest?;
        let open = self.partitions.values().map(|a| a.closed_until).min().flatten();
        match open {
            // Panes stay while a late row may come, or for windows that overlap: the next window is after the closed ones.
            Some(closed) => {
                let next = grid.end_after(closed).max(oldest);
                self.has_rows_for(next).then_some(next).or_else(|| self.next_with_rows(closed))
            }
            None => Some(oldest),
        }
    }

    fn has_rows_for(&self, end: Millis) -> bool {
        self.panes.range(end.saturating_sub(self.settings.grid.size())..end).next().is_some()
    }

    /// The first window after `closed` that has a row.
    fn next_with_rows(&self, closed: Millis) -> Option<Millis> {
        let grid = &self.settings.grid;
        let next = grid.end_after(closed);
        let (pane, _) = self.panes.range(next.saturating_sub(grid.size())..).next()?;
        Some(grid.first_end(*pane).max(next))
    }

    /// Jumps over a silence that is too long to be filled with zeros.
    fn skip_gap(&self, end: Millis, watermark: Millis) -> Millis {
        let grid = &self.settings.grid;
        let reach = grid.slide().saturating_mul(LONGEST_GAP);
        if !self.settings.keep_seen || watermark.saturating_sub(end) <= reach || self.has_rows_for(end) {
            return end;
        }
        let from = end.saturating_sub(grid.size());
        let next_row = self.panes.range(from..).next().map(|(pane, _)| grid.first_end(*pane));
        let target = next_row.unwrap_or(Millis::MAX).min(grid.end_after(watermark.saturating_sub(reach)));
        if target > end {
            tracing::warn!(
                "a gap of {} windows without a record is not filled with zeros",
                (target - end) / grid.slide()
            );
        }
        target.max(end)
    }

    /// The result of the window that ends at `end`; `None` where it has no row to give.
    ///
    /// With `advance` false it gives a closed window's whole result again, with late rows in it.
    pub(super) fn window(&mut self, end: Millis, advance: bool) -> Result<Option<Batch>> {
        let start = end.saturating_sub(self.settings.grid.size());
        // Partitions for which this window was closed by another worker take no part.
        let open: Vec<u32> = self
            .partitions
            .values()
            .filter(|a| !advance || a.closed_until.is_none_or(|c| c < end))
            .map(|a| a.number)
            .collect();
        let all = open.len() == self.partitions.len();
        let running = if advance { self.running.take() } else { None };
        let state = match running.filter(|_| all) {
            Some(running) if running.start < start && start < running.end => self.slide(running, start, end),
            _ => None,
        };
        let state = state.unwrap_or_else(|| {
            let mut state = self.aggregate.state();
            self.merge_into(state.as_mut(), start, end, Some(&open));
            state
        });
        let groups = self.groups_of(state.as_ref(), &open);
        let batch =
            if groups.is_empty() { None } else { Some(self.result(state.as_ref(), &groups, start, end)?) };
        if advance && all && self.settings.grid.slide() < self.settings.grid.size() {
            self.running = Some(Running { start, end, state, retired: Vec::new() });
        }
        Ok(batch)
    }

    /// The last window's state moved on to the next window; `None` where the aggregate cannot take panes out.
    fn slide(&self, mut running: Running, start: Millis, end: Millis) -> Option<Box<dyn AggregateState>> {
        let kept = self.panes.range(running.start..start).map(|(_, pane)| pane);
        let retired = std::mem::take(&mut running.retired);
        let same: Vec<u32> = (0..self.keys.len() as u32).collect();
        for pane in retired.iter().chain(kept) {
            for part in &pane.parts {
                if !running.state.remove(part.state.as_ref(), &same) {
                    return None;
                }
            }
        }
        self.merge_into(running.state.as_mut(), running.end, end, None);
        Some(running.state)
    }

    fn merge_into(&self, state: &mut dyn AggregateState, start: Millis, end: Millis, open: Option<&[u32]>) {
        let same: Vec<u32> = (0..self.keys.len() as u32).collect();
        for part in self.panes.range(start..end).flat_map(|(_, pane)| &pane.parts) {
            if open.is_none_or(|open| open.contains(&part.partition)) {
                state.merge(part.state.as_ref(), &same);
            }
        }
    }

    /// The groups that a result has a row for, in the order in which the keys were first seen.
    ///
    /// A key is kept from the first window that has a row of it, not from when it was read: how the input is cut into batches
    /// changes no result.
    fn groups_of(&mut self, state: &dyn AggregateState, open: &[u32]) -> Vec<u32> {
        let named = self.settings.keys.len() as u32;
        let mut groups = Vec::new();
        for group in 0..self.keys.len() as u32 {
            let owner = self.keys.owner(group);
            let filled = !state.is_empty(group);
            let kept = self.settings.keep_seen
                && if group < named {
                    owner == NO_OWNER || open.contains(&owner)
                } else {
                    open.contains(&owner) && self.keys.seen(group, filled)
                };
            if filled || kept {
                groups.push(group);
            }
        }
        groups
    }

    fn result(
        &self,
        state: &dyn AggregateState,
        groups: &[u32],
        start: Millis,
        end: Millis,
    ) -> Result<Batch> {
        let rows = groups.len();
        let times = |t: Millis| -> ArrayRef {
            Arc::new(TimestampMillisecondArray::from(vec![t; rows]).with_timezone("UTC"))
        };
        let mut columns = vec![times(start), times(end), Arc::new(self.keys.column(groups)) as ArrayRef];
        columns.extend(state.finish(groups)?.columns);
        let broken = |e| Error::fatal("an aggregate's result does not fit its schema").caused_by(e);
        let columns = RecordBatch::try_new(self.schema.clone(), columns).map_err(broken)?;
        let origin =
            Origin { partition: Partition::new("window", 0), offsets: vec![end; rows].into(), replay: false };
        Batch::new(columns, vec![end - 1; rows].into(), origin).map_err(broken)
    }

    /// Drops the panes that no window needs any more.
    fn drop_panes(&mut self, watermark: Millis, out: &mut WindowOutput) {
        let grid = self.settings.grid;
        let closed = self.partitions.values().map(|a| a.closed_until).min().flatten();
        while let Some(entry) = self.panes.first_entry() {
            let end = grid.last_end(entry.key().saturating_add(grid.pane_length() - 1));
            // A window that has still to be closed, in the next call, keeps its panes.
            let done =
                end.saturating_add(self.settings.lateness) <= watermark && closed.is_some_and(|c| end <= c);
            if !done {
                break;
            }
            let (start, pane) = entry.remove_entry();
            let rows: u64 = pane.parts.iter().map(|p| p.rows).sum();
            out.closed_rows += rows;
            self.in_flight -= rows;
            self.may_forget = true;
            if let Some(running) = self.running.as_mut().filter(|r| start >= r.start) {
                running.retired.push(pane);
            }
        }
        if self.panes.is_empty() && !self.settings.keep_seen {
            self.keys.clear();
            self.running = None;
        }
    }
}
