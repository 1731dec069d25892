//! Closes windows.

use std::time::Duration;

use super::assigned::Assigned;
use super::operator::{Ran, WindowOperator, WindowOutput};
use super::restored::Given;
use super::result::Give;
use super::sliding::{Panes, Running};
use crate::batch::Batch;
use crate::clock::Millis;
use crate::error::Result;
use crate::time::NextMove;

/// The most windows that one call closes; the rest follow in the next, so that a long gap does not hold the
/// chain up.
const MOST_AT_ONCE: usize = 1024;

/// About how many bytes of results one call gives: those of an hour's windows with zeros for all keys would
/// be more than fits in memory.
const BYTES_AT_ONCE: usize = 8 << 20;

/// The longest gap without a record, in windows, that is filled with zeros. Beyond it nobody wants to read
/// them all.
const LONGEST_GAP: Millis = 100_000;

/// How far the end of the data has been dealt with.
pub(super) struct Ending {
    /// The end of the next window to give.
    next: Option<Millis>,
    /// The keys that were in a closed window before.
    seen: (Vec<bool>, Vec<u32>),
}

/// Why a window gives its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is due.
    Close,
    /// A late row has come: the whole result of a window that was closed.
    Again,
    /// It is still open, and gives what it has so far.
    Early,
    /// The data is at its end, and time stands still: it gives what it has, and stays open for a later run.
    End,
}

impl WindowOperator {
    /// Lets time pass, and closes the windows that are due: about 8 MiB of results at once. `More` where
    /// others are still due; they are closed by the next call.
    ///
    /// # Errors
    /// `Fatal` where the aggregate cannot give its result.
    pub fn tick(&mut self, now: Duration, wall: Millis, out: &mut WindowOutput) -> Result<Ran> {
        self.clock = Some(wall);
        if std::mem::take(&mut self.nothing_to_wait_for) {
            self.sessions_are_back();
        }
        out.again_rows += std::mem::take(&mut self.again);
        if !self.give_deferred(out)? {
            return Ok(Ran::More);
        }
        if let Some(watermark) = self.advance(now, wall)
            && !self.close_until(watermark, out)?
        {
            return Ok(Ran::More);
        }
        self.give_updates(now, out)?;
        Ok(Ran::All)
    }

    /// The data is at its end: every open window that has a row gives its result, unless an earlier end of
    /// the data gave it with the same rows. Nothing closes, as time does not move: a later run goes on with
    /// these windows, and gives again, whole, those that get more rows.
    ///
    /// Where the rows' times are those of this run (`time: processing`,
    /// [`close_at_end`](Self::close_at_end)), their rows are dropped after that: read again they would count
    /// in other windows.
    ///
    /// # Errors
    /// As [`tick`](Self::tick).
    pub fn finish(&mut self, out: &mut WindowOutput) -> Result<Ran> {
        self.partitions.values_mut().for_each(|assigned| assigned.replaying = false);
        self.sessions_are_back();
        out.again_rows += std::mem::take(&mut self.again);
        if !self.give_deferred(out)? {
            return Ok(Ran::More);
        }
        if self.sessions.is_some() {
            if let Some(until) = self.end_sessions(out)? {
                self.given_until(until);
            }
        } else if self.end_windows(out)? == Ran::More {
            return Ok(Ran::More);
        }
        if self.closes_at_end {
            self.drop_all(out);
        }
        Ok(Ran::All)
    }

    /// Says what time it is before [`finish`](Self::finish): a result that lies ahead has this time.
    pub(crate) fn hear_clock(&mut self, wall: Millis) {
        self.clock = Some(wall);
    }

    /// Drops every row, as all of them have been given: a later run reads none of them again.
    fn drop_all(&mut self, out: &mut WindowOutput) {
        let mut rows: u64 = self.panes.values().flat_map(|pane| &pane.parts).map(|part| part.rows).sum();
        self.panes.clear();
        self.pane_bytes = 0;
        if let Some(sessions) = &mut self.sessions {
            let dropped = self.partitions.values().map(|assigned| sessions.revoke(assigned.number).0);
            rows += dropped.sum::<u64>();
        }
        self.partitions.values_mut().for_each(|assigned| assigned.given = None);
        out.closed_rows += rows;
        self.in_flight -= rows;
        self.may_forget = true;
    }

    /// The end of the data has given the windows that end at `until` or before.
    fn given_until(&mut self, until: Millis) {
        for assigned in self.partitions.values_mut() {
            let until = assigned.given.map_or(until, |given| given.until.max(until));
            assigned.given = Some(Given { offset: i64::MAX, until });
        }
    }

    /// Gives the windows that are open at the end of the data, up to a number of bytes.
    fn end_windows(&mut self, out: &mut WindowOutput) -> Result<Ran> {
        let grid = self.grid;
        let Some((last, _)) = self.panes.last_key_value() else { return Ok(Ran::All) };
        let last = grid.last_end(last.saturating_add(grid.pane_length() - 1));
        let mut ending = match self.ending.take() {
            Some(ending) => ending,
            // Which keys a window has is settled when it closes.
            None => Ending { next: self.next_end(), seen: self.keys.what_is_seen() },
        };
        let mut bytes = 0;
        while let Some(end) = ending.next.filter(|end| *end <= last) {
            if bytes >= BYTES_AT_ONCE {
                self.ending = Some(ending);
                return Ok(Ran::More);
            }
            let end = self.skip_gap(end, last);
            if self.is_new(end)
                && let Some(batch) = self.window(end, Purpose::End)?
            {
                bytes += batch.columns().get_array_memory_size();
                out.results.push(batch);
            }
            self.given_until(end);
            ending.next = match self.settings.keep_seen {
                true => Some(grid.end_after(end)),
                false => self.next_with_rows(end),
            };
        }
        if !self.closes_at_end {
            self.keys.is_seen(ending.seen);
        }
        self.running = None;
        for part in self.panes.values_mut().flat_map(|pane| &mut pane.parts) {
            // What the changelog says of it changes as well.
            part.saved &= part.given;
            part.given = true;
        }
        Ok(Ran::All)
    }

    /// False where an end of the data has given this window's result, and no row has come since.
    fn is_new(&self, end: Millis) -> bool {
        let open = || self.partitions.values().filter(|a| a.closed_until.is_none_or(|closed| closed < end));
        // Zeros are given without a row.
        let zeros = |a: &Assigned| a.given.is_none_or(|given| given.until < end);
        if self.settings.keep_seen && open().any(zeros) {
            return true;
        }
        let start = end.saturating_sub(self.grid.size());
        let mut parts = self.panes.range(start..end).flat_map(|(_, pane)| &pane.parts);
        parts.any(|part| !part.given && open().any(|a| a.number == part.partition))
    }

    /// Gives what waited for rows that are read again, up to a number of bytes; true when there is no more to
    /// give now.
    fn give_deferred(&mut self, out: &mut WindowOutput) -> Result<bool> {
        let mut bytes = 0;
        while !self.deferred.is_empty() && !self.is_replaying() {
            if bytes >= BYTES_AT_ONCE {
                return Ok(false);
            }
            let Some((end, partitions)) = self.deferred.pop_first() else { break };
            if let Some(batch) = self.window_of(end, Purpose::Again, &partitions)? {
                bytes += batch.columns().get_array_memory_size();
                out.results.push(batch);
            }
        }
        Ok(true)
    }

    /// When [`tick`](Self::tick) should be called though nothing was read; `None` while only a record can
    /// close a window.
    pub fn next_wakeup(&self, now: Duration) -> Option<Duration> {
        let update = self.next_update(now);
        self.next_due(now).map_or(update, |due| Some(update.map_or(due, |update| update.min(due))))
    }

    fn next_due(&self, now: Duration) -> Option<Duration> {
        let due = self.next_end()?;
        // No session closes before all rows are back: to wake for one would be to wake for ever.
        if self.sessions.is_some() && self.is_replaying() {
            return None;
        }
        let watermark = self.watermark();
        if watermark.is_some_and(|watermark| due <= watermark) {
            return Some(now);
        }
        match self.next_move(now) {
            NextMove::Never => None,
            NextMove::At(at) => Some(at),
            NextMove::Resting => {
                let left = watermark.map_or(0, |watermark| due - watermark);
                Some(now + Duration::from_millis(left as u64))
            }
        }
    }

    /// True when all that are due are closed.
    fn close_until(&mut self, watermark: Millis, out: &mut WindowOutput) -> Result<bool> {
        if self.sessions.is_some() {
            self.close_sessions(watermark, out)?;
            return Ok(true);
        }
        let all = self.close_due(watermark, out)?;
        self.drop_panes(watermark, out);
        Ok(all)
    }

    /// Closes windows that are due, up to a number; true when all are closed. Those without a row are closed
    /// too: a row that comes for one of them is late.
    pub(super) fn close_due(&mut self, watermark: Millis, out: &mut WindowOutput) -> Result<bool> {
        if self.close_windows(watermark, out)? {
            return Ok(false);
        }
        let grid = self.grid;
        let closed = Some(grid.end_after(watermark).saturating_sub(grid.slide()));
        for assigned in self.partitions.values_mut() {
            assigned.closed_until = assigned.closed_until.max(closed);
        }
        Ok(true)
    }

    /// Closes windows that are due, up to a number. True where some may be left.
    fn close_windows(&mut self, watermark: Millis, out: &mut WindowOutput) -> Result<bool> {
        let mut bytes = 0;
        for _ in 0..MOST_AT_ONCE {
            if bytes >= BYTES_AT_ONCE {
                break;
            }
            let Some(end) = self.next_end().filter(|end| *end <= watermark) else { return Ok(false) };
            let end = self.skip_gap(end, watermark);
            let new = self.is_new(end);
            // Also where its result is there already: from here on its keys are known.
            if let Some(batch) = self.window(end, Purpose::Close)?.filter(|_| new) {
                bytes += batch.columns().get_array_memory_size();
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
        if let Some(sessions) = &self.sessions {
            return sessions.next_due();
        }
        let grid = &self.grid;
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
            // Panes stay while a late row may come, or for windows that overlap: the next window is after the
            // closed ones.
            Some(closed) => {
                let next = grid.end_after(closed).max(oldest);
                self.has_rows_for(next).then_some(next).or_else(|| self.next_with_rows(closed))
            }
            None => Some(oldest),
        }
    }

    fn has_rows_for(&self, end: Millis) -> bool {
        self.panes.range(end.saturating_sub(self.grid.size())..end).next().is_some()
    }

    /// The first window after `closed` that has a row.
    fn next_with_rows(&self, closed: Millis) -> Option<Millis> {
        let grid = &self.grid;
        let next = grid.end_after(closed);
        let (pane, _) = self.panes.range(next.saturating_sub(grid.size())..).next()?;
        Some(grid.first_end(*pane).max(next))
    }

    /// Jumps over a silence that is too long to be filled with zeros.
    fn skip_gap(&self, end: Millis, watermark: Millis) -> Millis {
        let grid = &self.grid;
        let reach = grid.slide().saturating_mul(LONGEST_GAP);
        if !self.settings.keep_seen || watermark.saturating_sub(end) <= reach || self.has_rows_for(end) {
            return end;
        }
        // Several silences that are read at once are each measured by itself: this one ends with the next
        // row.
        let from = end.saturating_sub(grid.size());
        let next_row = self.panes.range(from..).next().map(|(pane, _)| grid.first_end(*pane));
        let last_due = grid.end_after(watermark).saturating_sub(grid.slide());
        let target = match next_row {
            Some(next_row) => next_row.saturating_sub(reach).min(last_due),
            None => grid.end_after(watermark.saturating_sub(reach)),
        };
        if target > end {
            tracing::warn!(
                "a gap of {} windows without a record is not filled with zeros",
                (target - end) / grid.slide()
            );
        }
        target.max(end)
    }

    /// The result of the window that ends at `end`; `None` where it has no row to give.
    pub(super) fn window(&mut self, end: Millis, purpose: Purpose) -> Result<Option<Batch>> {
        let open = self.taking_part(end, purpose);
        self.window_of(end, purpose, &open)
    }

    /// The numbers of the partitions whose rows the result of a window is made of.
    pub(super) fn taking_part(&self, end: Millis, purpose: Purpose) -> Vec<u32> {
        // It is closed for those partitions for which it was not closed before, by another worker or by this
        // one, and given again for those for which it was.
        let takes_part = |a: &&Assigned| match purpose {
            Purpose::Close | Purpose::End => a.closed_until.is_none_or(|closed| closed < end),
            // One for which it is over for good has its rows no more; with zero fill its keys would be given
            // with 0.
            Purpose::Again => {
                a.closed_until.is_some_and(|closed| closed >= end)
                    && a.reached.is_none_or(|reached| reached < end.saturating_add(self.settings.lateness))
            }
            Purpose::Early => true,
        };
        self.partitions.values().filter(takes_part).map(|a| a.number).collect()
    }

    /// The result over the rows of some partitions.
    pub(super) fn window_of(&mut self, end: Millis, purpose: Purpose, open: &[u32]) -> Result<Option<Batch>> {
        let start = end.saturating_sub(self.grid.size());
        let close = matches!(purpose, Purpose::Close | Purpose::End);
        let all = open.len() == self.partitions.len();
        let known = self.same.len() as u32;
        self.same.extend(known..self.keys.len() as u32);
        let running = if close { self.running.take() } else { None };
        let named = self.named_here(open);
        let same = self.same.get(..self.keys.len()).unwrap_or_default();
        let panes = Panes { panes: &self.panes, aggregate: &*self.aggregate, same };
        let give = Give {
            aggregate: &*self.aggregate,
            settings: &self.settings,
            schema: &self.schema,
            open,
            named: &named,
            early: purpose == Purpose::Early,
            clock: self.clock,
        };
        let keys = &mut self.keys;
        if close && all && self.grid.slide() < self.grid.size() {
            let running = match running.filter(|r| r.reaches(start)) {
                Some(mut running) => {
                    running.slide(panes, start, end);
                    running
                }
                None => Running::new(panes, start, end),
            };
            let batch = running.with(panes, |tally| give.window(keys, tally, start, end));
            self.running = Some(running);
            return batch;
        }
        let mut parts = panes.panes.range(start..end).flat_map(|(_, pane)| &pane.parts);
        match (parts.next(), parts.next()) {
            (Some(only), None) if open.contains(&only.partition) => {
                give.window(keys, &only.tally, start, end)
            }
            _ => give.window(keys, &panes.merged(start, end, Some(open)), start, end),
        }
    }

    /// Drops the panes that no window needs any more.
    pub(super) fn drop_panes(&mut self, watermark: Millis, out: &mut WindowOutput) {
        // What is given again once all rows are back needs its panes, though time goes on meanwhile.
        if !self.deferred.is_empty() {
            return;
        }
        let grid = self.grid;
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
            let bytes: usize = pane.parts.iter().map(|p| p.tally.bytes()).sum();
            self.pane_bytes = self.pane_bytes.saturating_sub(bytes);
            let pane = match &mut self.running {
                Some(running) => running.retire(start, pane),
                None => Some(pane),
            };
            if let Some(part) = pane.and_then(|mut pane| pane.parts.pop()) {
                self.spare = Some(part.tally.into_spare());
            }
        }
        if self.panes.is_empty() && !self.settings.keep_seen {
            self.running = None;
        }
    }
}
