//! Takes rows in.

use std::collections::BTreeSet;
use std::time::Duration;

use super::assigned::{Part, closed_until};
use super::fire::Purpose;
use super::incoming::Incoming;
use super::keys::NONE;
use super::operator::{WindowOperator, WindowOutput};
use super::progress::Progress;
use super::settings::TimeMode;
use super::tally::Tally;
use crate::batch::{Batch, Span};
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::plugin::{Groups, Rows};
use crate::time::Ahead;

/// Fewer rows than this to a pane are not worth a table of counts by byte.
const MANY: usize = 256;

impl WindowOperator {
    /// Adds a batch. `now` is the elapsed and `wall` the wall time.
    ///
    /// # Errors
    /// `Fatal` where the batch is not of a partition that was assigned.
    pub fn push(&mut self, batch: &Batch, now: Duration, wall: Millis, out: &mut WindowOutput) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let partition = &batch.origin().partition;
        let Some(assigned) = self.partitions.get_mut(partition) else {
            return Err(Error::fatal(format!("rows of {partition} came before the partition was assigned")));
        };
        if let (Some(given), false) = (&mut assigned.given, batch.origin().replay) {
            given.offset = given.offset.min(batch.origin().offsets.first().copied().unwrap_or_default());
        }
        let given_before = assigned.given_before();
        let (number, closed_until) = (assigned.number, assigned.closed_until);
        let reached = assigned.reached.max(closed_until).unwrap_or(Millis::MIN);
        if assigned.replaying != batch.origin().replay {
            self.set_replaying(partition, batch.origin().replay, now);
        }
        let wall =
            if self.settings.time == TimeMode::Processing { self.advance_wall(now, wall) } else { wall };
        let mut incoming =
            Incoming { batch, partition: number, closed_until, reached, given_before, now, wall };
        // What is read again had room before.
        let full = !incoming.replay() && self.is_full() && (!self.forget_keys() || self.is_full());
        if full {
            let reason = format!("no room for the row: `max_state` is {} bytes", self.settings.max_state);
            for row in 0..batch.rows() {
                out.rejected.push(row, &reason);
                self.does_not_count(incoming, row);
            }
            return Ok(());
        }
        let span = self.in_order(incoming);
        let counted = span.map_or(0, |span| self.count_runs(incoming, span));
        let rest;
        if counted > 0 {
            rest = batch.slice(counted, batch.rows() - counted);
            if rest.is_empty() {
                out.again_rows += std::mem::take(&mut self.again);
                return Ok(());
            }
            incoming.batch = &rest;
        }
        let rejected = out.rejected.rows().len();
        let mut groups = std::mem::take(&mut self.groups);
        // What is read again had room before.
        self.keys.limit(!incoming.replay());
        let usable = if span.is_some() { Vec::new() } else { self.usable(incoming) };
        self.find_groups(incoming, &usable, &mut groups);
        let lacks_room = |groups: &[u32]| {
            groups.iter().enumerate().any(|(row, group)| *group == NONE && usable.get(row) != Some(&false))
        };
        let mut lacking =
            groups.iter().fold(0, |most, group| most.max(*group)) == NONE && lacks_room(&groups);
        if lacking && self.forget_keys() {
            self.find_groups(incoming, &usable, &mut groups);
            lacking = lacks_room(&groups);
        }
        let result = match span.filter(|_| !lacking) {
            Some(span) => {
                self.add_runs(incoming, &groups, span);
                Ok(())
            }
            None => self.push_each(incoming, &usable, &mut groups, out),
        };
        self.groups = groups;
        out.rejected.behind(rejected, counted);
        out.again_rows += std::mem::take(&mut self.again);
        result
    }

    /// The groups of the rows; those that are not `usable` get none unless their key is known. All are where
    /// there is no such list.
    fn find_groups(&mut self, incoming: Incoming<'_>, usable: &[bool], groups: &mut Vec<u32>) {
        if usable.is_empty() {
            self.keys.groups(incoming.batch.columns(), groups);
        } else {
            self.keys.groups_where(incoming.batch.columns(), |row| usable[row], groups);
        }
    }

    /// For each row whether it may count: it is not too far in the future, and not late by its own time. (The
    /// session that a row would be in may still be open; its key is known then.)
    fn usable(&self, incoming: Incoming<'_>) -> Vec<bool> {
        let Incoming { batch, wall, reached, .. } = incoming;
        if self.settings.time == TimeMode::Processing {
            return vec![true; batch.rows()];
        }
        let latest = wall.saturating_add(self.settings.max_skew);
        let replay = incoming.replay();
        let mut progress = Progress::new(self.ahead(incoming), incoming, latest);
        let own_end = |t: Millis| match &self.sessions {
            Some(sessions) => sessions.end_alone(t),
            None => self.grid.last_end(t),
        };
        let judge = |(row, t): (usize, &Millis)| {
            if replay && !self.counted(incoming, row) {
                return false;
            }
            let near = replay || *t <= latest;
            let closed = match replay {
                true if self.sessions.is_some() => Millis::MIN,
                false if near => {
                    progress.before(incoming.offset(row), *t);
                    progress.here().max(reached)
                }
                _ => reached,
            };
            if near {
                progress.pass(*t);
            }
            near && own_end(*t).saturating_add(self.settings.lateness) > closed
        };
        batch.times().iter().enumerate().map(judge).collect()
    }

    /// The watermark as the rows of a batch move it.
    pub(super) fn ahead(&self, incoming: Incoming<'_>) -> Ahead {
        self.watermark.with(incoming.batch.channel(), self.judges_alone(), incoming.now)
    }

    /// The times, in the commonest case: the rows rise, or are all of one pane, and none is late for any
    /// window.
    fn in_order(&self, incoming: Incoming<'_>) -> Option<Span> {
        if self.sessions.is_some() {
            return None;
        }
        let batch = incoming.batch;
        let grid = &self.grid;
        if incoming.replay() && !self.all_counted(incoming) {
            return None;
        }
        if self.settings.time == TimeMode::Processing {
            let wall = incoming.wall;
            let closed = incoming.closed_until.filter(|c| incoming.replay() && grid.last_end(wall) <= *c);
            return closed.is_none().then_some(Span { least: wall, greatest: wall, rising: true });
        }
        let span = batch.times().span()?;
        // Rows that were left out move time as well; not what is read again.
        let replay = incoming.replay();
        let read = if replay { span } else { batch.read_times().span()? };
        // A row cannot make one of its own pane, or a later one, late.
        let ordered = |span: Span| span.rising || grid.pane(span.least) == grid.pane(span.greatest);
        let closed = self.ahead(incoming).here().max(incoming.reached);
        let plain = ordered(span)
            && ordered(read)
            && (replay || read.greatest <= incoming.wall.saturating_add(self.settings.max_skew))
            && grid.first_end(span.least) > closed;
        plain.then_some(span)
    }

    /// The stretches of rows that are [`in_order`](Self::in_order), one to each pane: its start, and the row
    /// behind it.
    fn run_end(&self, times: &[Millis], start: usize, span: Span) -> (Millis, usize) {
        if self.settings.time == TimeMode::Processing {
            return (self.grid.pane(span.least), times.len());
        }
        let pane = self.grid.pane(times[start]);
        let pane_end = pane.saturating_add(self.grid.pane_length());
        let end = match span.greatest < pane_end {
            true => times.len(),
            false => start + times[start..].partition_point(|t| *t < pane_end).max(1),
        };
        (pane, end)
    }

    /// Counts rows in order whose key is one byte, where nothing but their number is wanted: no row is given
    /// a group. Gives how many rows it took; the first of the others has a key that is not known yet.
    fn count_runs(&mut self, incoming: Incoming<'_>, span: Span) -> usize {
        let Incoming { batch, partition, .. } = incoming;
        let panes =
            (span.greatest / self.grid.pane_length()).abs_diff(span.least / self.grid.pane_length()) + 1;
        let few = (batch.rows() as u64) < panes.saturating_mul(MANY as u64);
        let covered = |r: &super::sliding::Running| r.covers(self.grid.pane(span.least));
        if few || !self.aggregate.only_counts() || self.running.as_ref().is_some_and(covered) {
            return 0;
        }
        let Some(bytes) = self.keys.one_byte_keys(batch.columns()) else { return 0 };
        let mut start = 0;
        let mut counted: Vec<(u32, i64)> = Vec::new();
        while start < bytes.len() {
            let (pane, end) = self.run_end(batch.times(), start, span);
            counted.clear();
            if !self.keys.count_bytes(&bytes[start..end], |group, rows| counted.push((group, rows))) {
                break;
            }
            self.begin(span.least);
            let part = self.part(pane, incoming, start, end - 1, end - start);
            let before = part.tally.bytes();
            for (group, rows) in counted.iter().filter(|(_, rows)| *rows > 0) {
                part.tally.add_counted(*group, *rows);
            }
            let after = part.tally.bytes();
            self.pane_bytes = (self.pane_bytes + after).saturating_sub(before);
            if self.settings.keep_seen {
                counted.iter().filter(|c| c.1 > 0).for_each(|c| self.keys.own(c.0, partition));
            }
            start = end;
        }
        start
    }

    /// Adds rows that are [`in_order`](Self::in_order): a stretch of the batch to each pane.
    fn add_runs(&mut self, incoming: Incoming<'_>, groups: &[u32], span: Span) {
        self.begin(span.least);
        let mut start = 0;
        while start < groups.len() {
            let (pane, end) = self.run_end(incoming.batch.times(), start, span);
            self.add(incoming, pane, &groups[start..end], Rows::From(start));
            start = end;
        }
    }

    /// Row by row: rows of several panes, sessions, late rows, rows that cannot be used.
    fn push_each(
        &mut self,
        incoming: Incoming<'_>,
        usable: &[bool],
        groups: &mut Vec<u32>,
        out: &mut WindowOutput,
    ) -> Result<()> {
        let Incoming { batch, wall, .. } = incoming;
        let late = if self.settings.time == TimeMode::Processing {
            self.judge(incoming, usable, groups, |_| wall, out)?
        } else {
            let times = batch.times();
            self.judge(incoming, usable, groups, |row| times[row], out)?
        };
        if !late.is_empty() {
            let rows = arrow_array::UInt32Array::from(late);
            out.late.push(
                batch.take(&rows).map_err(|e| Error::fatal("late rows could not be taken").caused_by(e))?,
            );
        }
        Ok(())
    }

    fn judge(
        &mut self,
        incoming: Incoming<'_>,
        usable: &[bool],
        groups: &mut Vec<u32>,
        time: impl Fn(usize) -> Millis,
        out: &mut WindowOutput,
    ) -> Result<Vec<u32>> {
        if self.sessions.is_some() {
            return self.push_sessions(incoming, usable, groups, time, out);
        }
        let (grid, lateness) = (self.grid, self.settings.lateness);
        let (replay, processing) = (incoming.replay(), self.settings.time == TimeMode::Processing);
        let latest = incoming.wall.saturating_add(self.settings.max_skew);
        // A copy, as what is judged changes the operator.
        let mut progress = Progress::new(self.ahead(incoming), incoming, latest);
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        let mut late = Vec::new();
        let mut again: BTreeSet<Millis> = BTreeSet::new();
        let mut closed_early = false;
        for row in 0..groups.len() {
            let t = time(row);
            if self.is_passed_over(incoming, row, t)
                || !self.is_near(incoming, row, t, latest, &mut out.rejected)
            {
                continue;
            }
            // What was read before a restart counts only towards windows that were still open; it was never
            // late again.
            let watermark =
                if replay || processing { Millis::MIN } else { progress.before(incoming.offset(row), t) };
            let closed = match processing {
                true if replay => incoming.closed_until.unwrap_or(Millis::MIN),
                true => Millis::MIN,
                false if replay => incoming.reached,
                false => progress.here().max(incoming.reached),
            };
            progress.pass(t);
            if grid.last_end(t).saturating_add(lateness) <= closed {
                if !replay {
                    late.push(row as u32);
                    // Its window may be due and not closed yet: once it is, that says that the row did not
                    // count.
                    if grid.last_end(t) > self.closed_until(incoming.partition) {
                        if !std::mem::replace(&mut closed_early, true) {
                            self.add_listed(incoming, groups, &mut order, &time);
                            self.give_all_again(&mut again, out)?;
                            self.close_due(watermark, out)?;
                        }
                        if grid.last_end(t) > self.closed_until(incoming.partition) {
                            self.does_not_count(incoming, row);
                        }
                    }
                }
                continue;
            }
            if groups[row] == NONE && !replay {
                self.add_listed(incoming, groups, &mut order, &time);
                self.give_all_again(&mut again, out)?;
                let passed = if processing { incoming.wall } else { watermark };
                while !self.close_due(passed, out)? {}
                self.drop_panes(passed, out);
                self.find_room(incoming, row, usable, groups);
            }
            if !self.is_known(incoming, row, groups[row], &mut out.rejected) {
                continue;
            }
            if !replay && grid.first_end(t) <= closed {
                // Too late for some of its windows: those that are due close before it comes in. With zeros,
                // so does any: its key is not in windows before.
                if grid.first_end(t).saturating_add(lateness) <= closed || self.settings.keep_seen {
                    self.add_listed(incoming, groups, &mut order, &time);
                    if self.settings.keep_seen {
                        let due = self.next_end().is_some_and(|end| end <= watermark);
                        if due || !self.keys.seen(groups[row], false) {
                            self.give_all_again(&mut again, out)?;
                        }
                    }
                    while !self.close_due(watermark, out)? {}
                    while let Some(end) = again.pop_first() {
                        if end.saturating_add(lateness) > closed {
                            again.insert(end);
                            break;
                        }
                        self.give_again(end, out)?;
                    }
                }
                let reach = grid.last_end(t).min(self.closed_until(incoming.partition));
                let mut end = grid.first_end(t).max(grid.end_after(closed.saturating_sub(lateness)));
                while end <= reach {
                    again.insert(end);
                    end += grid.slide();
                }
            }
            // Zeros do not begin with a window that is closed.
            let over = if processing { closed } else { watermark.max(incoming.reached) };
            self.begin(t.max(over));
            order.push(row as u32);
            // What is given again from now on has its key, with zeros.
            if self.settings.keep_seen && !again.is_empty() && !self.keys.seen(groups[row], false) {
                self.add_listed(incoming, groups, &mut order, &time);
                self.give_all_again(&mut again, out)?;
            }
        }
        self.add_listed(incoming, groups, &mut order, &time);
        self.order = order;
        self.give_all_again(&mut again, out)?;
        Ok(late)
    }

    /// Windows that are over may have made room for a key: forgets those that no open window has, and looks
    /// for groups again from `row` on.
    pub(super) fn find_room(
        &mut self,
        incoming: Incoming<'_>,
        row: usize,
        usable: &[bool],
        groups: &mut Vec<u32>,
    ) {
        if self.forget_keys() {
            let usable: Vec<bool> =
                (0..groups.len()).map(|r| r >= row && usable.get(r) != Some(&false)).collect();
            self.find_groups(incoming, &usable, groups);
        }
    }

    fn give_all_again(&mut self, again: &mut BTreeSet<Millis>, out: &mut WindowOutput) -> Result<()> {
        for end in std::mem::take(again) {
            self.give_again(end, out)?;
        }
        Ok(())
    }

    /// Gives a window again, whole: not before all rows are back that are read again.
    fn give_again(&mut self, end: Millis, out: &mut WindowOutput) -> Result<()> {
        let mut taking_part = self.taking_part(end, Purpose::Again);
        // Another row of it may have come while rows were read again.
        taking_part.extend(self.deferred.remove(&end).unwrap_or_default());
        taking_part.sort_unstable();
        taking_part.dedup();
        if self.is_replaying() {
            self.deferred.insert(end, taking_part);
        } else {
            out.results.extend(self.window_of(end, Purpose::Again, &taking_part)?);
        }
        Ok(())
    }

    /// The end of the last window that was closed for a partition.
    fn closed_until(&self, number: u32) -> Millis {
        closed_until(&self.partitions, number).unwrap_or(Millis::MIN)
    }

    /// Adds the rows of `order` to their panes, and leaves it empty.
    fn add_listed(
        &mut self,
        incoming: Incoming<'_>,
        groups: &[u32],
        order: &mut Vec<u32>,
        time: &impl Fn(usize) -> Millis,
    ) {
        let grid = self.grid;
        let pane_of = |row: &u32| grid.pane(time(*row as usize));
        if !order.is_sorted_by_key(pane_of) {
            order.sort_by_key(pane_of);
        }
        let mut grouped = std::mem::take(&mut self.ordered_groups);
        grouped.clear();
        grouped.extend(order.iter().map(|row| groups[*row as usize]));
        let mut start = 0;
        while start < order.len() {
            let pane = pane_of(&order[start]);
            let end = start + order[start..].partition_point(|row| pane_of(row) == pane);
            self.add(incoming, pane, &grouped[start..end], Rows::Listed(&order[start..end]));
            start = end;
        }
        order.clear();
        self.ordered_groups = grouped;
    }

    /// Adds rows to a pane.
    fn add(&mut self, incoming: Incoming<'_>, pane: Millis, ids: &[u32], rows: Rows<'_>) {
        if ids.is_empty() {
            return;
        }
        let (first, last) = match rows {
            Rows::From(first) => (first, first + ids.len() - 1),
            Rows::Listed(rows) => {
                let row = |row: Option<&u32>| row.map_or(0, |row| *row as usize);
                (row(rows.first()), row(rows.last()))
            }
        };
        let groups = Groups { ids, rows, count: self.keys.len() };
        let columns = incoming.batch.columns();
        let part = self.part(pane, incoming, first, last, ids.len());
        let before = part.tally.bytes();
        part.tally.add(columns, groups);
        let after = part.tally.bytes();
        self.pane_bytes = (self.pane_bytes + after).saturating_sub(before);
        if let Some(running) = self.running.as_mut().filter(|r| r.covers(pane))
            && !running.add(pane, columns, groups)
        {
            self.running = None;
        }
        if self.settings.keep_seen {
            ids.iter().for_each(|group| self.keys.own(*group, incoming.partition));
        }
    }

    /// The part of a pane that `rows` of the batch's rows, from row `first` to row `last`, are about to be
    /// added to.
    fn part(
        &mut self,
        pane: Millis,
        incoming: Incoming<'_>,
        first: usize,
        last: usize,
        rows: usize,
    ) -> &mut Part {
        let (partition, offset, given) =
            (incoming.partition, incoming.offset(first), incoming.is_given(last));
        if self.settings.every.is_some() && !incoming.replay() {
            self.changed.insert(pane);
        }
        self.in_flight += rows as u64;
        if incoming.replay() {
            self.again += rows as u64;
        }
        let parts = &mut self.panes.entry(pane).or_default().parts;
        let index = parts.iter().position(|p| p.partition == partition).unwrap_or_else(|| {
            let tally = Tally::reusing(&*self.aggregate, self.spare.take());
            self.pane_bytes += tally.bytes();
            parts.push(Part { partition, tally, rows: 0, first_offset: offset, saved: false, given });
            parts.len() - 1
        });
        let part = &mut parts[index];
        part.first_offset = part.first_offset.min(offset);
        part.rows += rows as u64;
        part.saved = false;
        part.given &= given;
        part
    }
}
