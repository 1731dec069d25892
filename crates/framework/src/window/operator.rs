//! Takes rows in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::fire::Running;
use super::keys::{KeyTable, NONE};
use super::restored::Restored;
use super::settings::{TimeMode, WindowSettings};
use crate::batch::{Batch, Partition};
use crate::clock::Millis;
use crate::config::Problem;
use crate::error::{Error, Result};
use crate::log::Position;
use crate::plugin::{Aggregate, AggregateState, BoundWindow, Groups, Rejects, Rows, type_name};
use crate::time::{Ahead, Watermark};

/// What a call gives.
#[derive(Debug, Default)]
pub struct WindowOutput {
    /// One batch per closed window, in the order of their ends.
    pub results: Vec<Batch>,
    /// Rows that came after their window had closed, of the input's schema.
    pub late: Vec<Batch>,
    /// Rows of the pushed batch that cannot be used.
    pub rejected: Rejects,
    /// Rows whose last window has closed for good in this call.
    pub closed_rows: u64,
}

impl WindowOutput {
    /// True where there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.results.is_empty() && self.late.is_empty() && self.rejected.is_empty() && self.closed_rows == 0
    }
}

/// One partition's part of a pane.
pub(super) struct Part {
    pub(super) partition: u32,
    pub(super) state: Box<dyn AggregateState>,
    pub(super) rows: u64,
    first_offset: i64,
}

/// The rows of a stretch of time that no window cuts.
#[derive(Default)]
pub(super) struct Pane {
    pub(super) parts: Vec<Part>,
}

/// What is known of a partition.
pub(super) struct Assigned {
    pub(super) number: u32,
    /// The end of the last window that was closed for it.
    pub(super) closed_until: Option<Millis>,
    /// True while rows are read again; they do not move the watermark, or windows could close before the last of them is back.
    replaying: bool,
    /// The greatest time seen meanwhile.
    held: Option<Millis>,
}

/// The state of a window step.
pub struct WindowOperator {
    pub(super) settings: WindowSettings,
    pub(super) aggregate: Box<dyn Aggregate>,
    key: usize,
    pub(super) schema: SchemaRef,
    pub(super) keys: KeyTable,
    pub(super) panes: BTreeMap<Millis, Pane>,
    pub(super) partitions: BTreeMap<Partition, Assigned>,
    pub(super) next_number: u32,
    watermark: Watermark,
    /// The latest wall time seen, for `processing`: it never goes back.
    wall: Option<Millis>,
    pub(super) running: Option<Running>,
    pub(super) in_flight: u64,
    /// The time of the first record: nothing is given for windows before it.
    pub(super) first: Option<Millis>,
    /// True where a pane was dropped since keys were last forgotten.
    pub(super) may_forget: bool,
    groups: Vec<u32>,
    order: Vec<u32>,
    ordered_groups: Vec<u32>,
}

impl WindowOperator {
    /// An operator without state.
    ///
    /// # Errors
    /// A [`Problem`] where the key's column is of a type that cannot be a key.
    pub fn new(settings: WindowSettings, bound: BoundWindow, input: &Schema) -> Result<Self, Problem> {
        let [key] = bound.keys.as_slice() else {
            return Err(Problem::new("key", "a window has one key column"));
        };
        let field = input.field(key.column);
        if !KeyTable::takes(field.data_type()) {
            return Err(Problem::new("key", format!("field `{}` cannot be a key", field.name()))
                .label(format!("it is {}", type_name(field.data_type())))
                .help("a key is a text, an integer, or true or false"));
        }
        let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        let mut fields = vec![
            Field::new("window_start", time.clone(), false),
            Field::new("window_end", time, false),
            Field::new(&key.name, DataType::Utf8, true),
        ];
        fields.extend(bound.aggregate.fields());
        let keys = KeyTable::new(settings.max_keys);
        let watermark = Watermark::new(settings.out_of_orderness, settings.idle);
        let mut operator = Self {
            settings,
            aggregate: bound.aggregate,
            key: key.column,
            schema: Arc::new(Schema::new(fields)),
            keys,
            panes: BTreeMap::new(),
            partitions: BTreeMap::new(),
            next_number: 0,
            watermark,
            wall: None,
            running: None,
            in_flight: 0,
            first: None,
            may_forget: false,
            groups: Vec::new(),
            order: Vec::new(),
            ordered_groups: Vec::new(),
        };
        operator.name_keys();
        Ok(operator)
    }

    /// The keys that `zero_fill` lists are there from the start.
    pub(super) fn name_keys(&mut self) {
        for key in &self.settings.keys {
            self.keys.group(key.as_bytes());
        }
    }

    /// The schema of the results: `window_start`, `window_end`, `key`, and what the aggregate adds.
    pub fn output_schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Rows of `partition` will come; `restored` is what was committed for it.
    pub fn assign(&mut self, partition: Partition, restored: Option<Restored>, now: Duration) {
        self.running = None;
        self.watermark.assign(partition.clone(), restored.and_then(|r| r.watermark), now);
        if let Some(closed) = restored.and_then(|r| r.closed_until) {
            // Zeros go on from the last closed window.
            self.first = Some(self.first.map_or(closed, |f| f.min(closed)));
        }
        let number = self.next_number;
        self.next_number += 1;
        let closed_until = restored.and_then(|r| r.closed_until);
        self.partitions.insert(partition, Assigned { number, closed_until, replaying: false, held: None });
    }

    /// No more rows of `partition` will come; its part of every pane is dropped.
    pub fn revoke(&mut self, partition: &Partition) {
        self.watermark.revoke(partition);
        let Some(assigned) = self.partitions.remove(partition) else { return };
        self.running = None;
        let in_flight = &mut self.in_flight;
        self.panes.retain(|_, pane| {
            pane.parts.retain(|part| {
                if part.partition == assigned.number {
                    *in_flight -= part.rows;
                }
                part.partition != assigned.number
            });
            !pane.parts.is_empty()
        });
        self.keys.disown(assigned.number);
        if self.partitions.is_empty() {
            self.keys.clear();
            self.name_keys();
            self.first = None;
        }
    }

    /// Rows of these times were read; called after the batch was pushed, also where all of its rows were filtered out. A time too far in the
    /// future does not count, so that one wrong clock does not turn everybody else's rows late.
    pub fn observe(&mut self, partition: &Partition, times: &[Millis], now: Duration, wall: Millis) {
        let latest = wall.saturating_add(self.settings.max_skew);
        let Some(mut time) = times.iter().copied().max() else { return };
        if time > latest {
            let Some(usable) = times.iter().copied().filter(|t| *t <= latest).max() else { return };
            time = usable;
        }
        match self.partitions.get_mut(partition) {
            Some(assigned) if assigned.replaying => assigned.held = assigned.held.max(Some(time)),
            _ => self.watermark.observe(partition, time, now),
        }
    }

    /// Rows are read again, or no more.
    fn set_replaying(&mut self, partition: &Partition, replaying: bool, now: Duration) {
        let Some(assigned) = self.partitions.get_mut(partition) else { return };
        assigned.replaying = replaying;
        if !replaying && let Some(held) = assigned.held.take() {
            self.watermark.observe(partition, held, now);
        }
    }

    /// The partition has, or no longer has, given all that is there.
    pub fn caught_up(&mut self, partition: &Partition, caught_up: bool, now: Duration) {
        if caught_up {
            self.set_replaying(partition, false, now);
        }
        self.watermark.caught_up(partition, caught_up, now);
    }

    /// Adds a batch. `now` is the elapsed and `wall` the wall time.
    ///
    /// # Errors
    /// `Fatal` where the batch is not of a partition that was assigned.
    pub fn push(&mut self, batch: &Batch, now: Duration, wall: Millis, out: &mut WindowOutput) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let partition = &batch.origin().partition;
        let Some(assigned) = self.partitions.get(partition) else {
            return Err(Error::fatal(format!("rows of {partition} came before the partition was assigned")));
        };
        let (number, closed_until) = (assigned.number, assigned.closed_until);
        if assigned.replaying != batch.origin().replay {
            self.set_replaying(partition, batch.origin().replay, now);
        }
        let mut groups = std::mem::take(&mut self.groups);
        self.keys.groups(batch.column(self.key), &mut groups);
        let mut all_grouped = !groups.contains(&NONE);
        if !all_grouped && self.forget_keys() {
            self.keys.groups(batch.column(self.key), &mut groups);
            all_grouped = !groups.contains(&NONE);
        }
        let result = match self.settings.time {
            TimeMode::Processing => {
                let wall = self.advance_wall(wall);
                let closed =
                    closed_until.filter(|c| batch.origin().replay && self.settings.grid.last_end(wall) <= *c);
                if all_grouped && closed.is_none() {
                    self.add(batch, self.settings.grid.pane(wall), number, &groups, Rows::From(0));
                    self.begin(wall);
                    Ok(())
                } else {
                    self.push_each(batch, number, closed_until, &groups, now, wall, |_| wall, out)
                }
            }
            TimeMode::Record => {
                let times = batch.times();
                match self.in_order(batch, now, wall, closed_until).filter(|_| all_grouped) {
                    Some((least, greatest)) => {
                        self.add_runs(batch, number, &groups, greatest);
                        self.begin(least);
                        Ok(())
                    }
                    None => {
                        self.push_each(batch, number, closed_until, &groups, now, wall, |row| times[row], out)
                    }
                }
            }
        };
        self.groups = groups;
        result
    }

    /// Makes room for new keys: without zero fill, a key that no pane has a row of is of no more use. False where there is no room to
    /// make; not tried again until a pane has been dropped, for it looks at every key of every pane.
    fn forget_keys(&mut self) -> bool {
        if self.settings.keep_seen || !std::mem::take(&mut self.may_forget) {
            return false;
        }
        let mut live = vec![false; self.keys.len()];
        for part in self.panes.values().flat_map(|pane| &pane.parts) {
            for (group, live) in live.iter_mut().enumerate() {
                *live |= !part.state.is_empty(group as u32);
            }
        }
        self.running = None;
        let into = self.keys.retain(&live);
        for part in self.panes.values_mut().flat_map(|pane| &mut pane.parts) {
            let mut state = self.aggregate.state();
            state.merge(part.state.as_ref(), &into);
            part.state = state;
        }
        live.contains(&false)
    }

    /// The least and greatest time, in the commonest case: the rows rise, or are all of one pane, and none is late for any window.
    fn in_order(
        &self,
        batch: &Batch,
        now: Duration,
        wall: Millis,
        closed_until: Option<Millis>,
    ) -> Option<(Millis, Millis)> {
        let times = batch.times();
        let (first, last) = (*times.first()?, *times.last()?);
        let rising = times.is_sorted();
        let (least, greatest) = match rising {
            true => (first, last),
            false => times.iter().fold((first, first), |(l, g), t| (l.min(*t), g.max(*t))),
        };
        let grid = &self.settings.grid;
        // A row cannot make one of its own pane, or a later one, late.
        let closed = self
            .watermark
            .with(&batch.origin().partition, now)
            .now()
            .max(closed_until.unwrap_or(Millis::MIN));
        let plain = (rising || grid.pane(least) == grid.pane(greatest))
            && greatest <= wall.saturating_add(self.settings.max_skew)
            && grid.first_end(least) > closed;
        plain.then_some((least, greatest))
    }

    /// Adds rows that are [`in_order`](Self::in_order): a stretch of the batch to each pane.
    fn add_runs(&mut self, batch: &Batch, partition: u32, groups: &[u32], greatest: Millis) {
        let (grid, times) = (self.settings.grid, batch.times());
        let mut start = 0;
        while start < times.len() {
            let pane = grid.pane(times[start]);
            let pane_end = pane.saturating_add(grid.pane_length());
            let end = match greatest < pane_end {
                true => times.len(),
                false => start + times[start..].partition_point(|t| *t < pane_end).max(1),
            };
            self.add(batch, pane, partition, &groups[start..end], Rows::From(start));
            start = end;
        }
    }

    /// Row by row: rows of several panes, late rows, rows that cannot be used.
    #[expect(
        clippy::too_many_arguments,
        reason = "one caller, two lines above; a struct would only rename them"
    )]
    fn push_each(
        &mut self,
        batch: &Batch,
        number: u32,
        closed_until: Option<Millis>,
        groups: &[u32],
        now: Duration,
        wall: Millis,
        time: impl Fn(usize) -> Millis,
        out: &mut WindowOutput,
    ) -> Result<()> {
        let (grid, lateness) = (self.settings.grid, self.settings.lateness);
        let latest = wall.saturating_add(self.settings.max_skew);
        let replay = batch.origin().replay;
        let processing = self.settings.time == TimeMode::Processing;
        let mut ahead: Ahead = self.watermark.with(&batch.origin().partition, now);
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        let mut late = Vec::new();
        let mut again: BTreeSet<Millis> = BTreeSet::new();
        for (row, group) in groups.iter().enumerate() {
            let t = time(row);
            if t > latest {
                out.rejected.push(row, format!("its time {t} ms is more than `max_skew` in the future"));
                continue;
            }
            // What was read before a restart counts only towards windows that were still open; it was never late again.
            let closed = match replay {
                true => closed_until.unwrap_or(Millis::MIN),
                false if processing => Millis::MIN,
                false => ahead.now(),
            };
            if !replay {
                ahead.pass(t);
            }
            if grid.last_end(t).saturating_add(lateness) <= closed {
                if !replay {
                    late.push(row as u32);
                }
                continue;
            }
            if *group == NONE {
                out.rejected.push(row, format!("more than {} keys (`max_keys`)", self.settings.max_keys));
                continue;
            }
            if !replay && grid.first_end(t) <= closed {
                // Too late for some of its windows: those that are due close before it comes in.
                if grid.first_end(t).saturating_add(lateness) <= closed {
                    self.add_listed(batch, number, groups, &mut order, &time);
                    while !self.close_due(closed, out)? {}
                    while let Some(end) = again.pop_first() {
                        if end.saturating_add(lateness) > closed {
                            again.insert(end);
                            break;
                        }
                        out.results.extend(self.window(end, false)?);
                    }
                }
                let reach = grid.last_end(t).min(self.closed_until().unwrap_or(Millis::MIN));
                let mut end = grid.first_end(t).max(grid.end_after(closed.saturating_sub(lateness)));
                while end <= reach {
                    again.insert(end);
                    end += grid.slide();
                }
            }
            order.push(row as u32);
        }
        self.add_listed(batch, number, groups, &mut order, &time);
        self.order = order;
        if !late.is_empty() {
            let rows = arrow_array::UInt32Array::from(late);
            out.late.push(
                batch.take(&rows).map_err(|e| Error::fatal("late rows could not be taken").caused_by(e))?,
            );
        }
        for end in again {
            out.results.extend(self.window(end, false)?);
        }
        Ok(())
    }

    /// The end of the last window that was closed.
    fn closed_until(&self) -> Option<Millis> {
        self.partitions.values().filter_map(|a| a.closed_until).max()
    }

    /// Adds the rows of `order` to their panes, and leaves it empty.
    fn add_listed(
        &mut self,
        batch: &Batch,
        partition: u32,
        groups: &[u32],
        order: &mut Vec<u32>,
        time: &impl Fn(usize) -> Millis,
    ) {
        let grid = self.settings.grid;
        let pane_of = |row: &u32| grid.pane(time(*row as usize));
        if let Some(first) = order.iter().map(|row| time(*row as usize)).min() {
            self.begin(first);
        }
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
            self.add(batch, pane, partition, &grouped[start..end], Rows::Listed(&order[start..end]));
            start = end;
        }
        order.clear();
        self.ordered_groups = grouped;
    }

    /// Adds rows to a pane.
    fn add(&mut self, batch: &Batch, pane: Millis, partition: u32, ids: &[u32], rows: Rows<'_>) {
        let first = match rows {
            Rows::From(first) => first,
            Rows::Listed(rows) => rows.first().map_or(0, |row| *row as usize),
        };
        let Some(offset) = batch.origin().offsets.get(first).copied().filter(|_| !ids.is_empty()) else {
            return;
        };
        let parts = &mut self.panes.entry(pane).or_default().parts;
        let index = parts.iter().position(|p| p.partition == partition).unwrap_or_else(|| {
            parts.push(Part { partition, state: self.aggregate.state(), rows: 0, first_offset: offset });
            parts.len() - 1
        });
        let part = &mut parts[index];
        part.first_offset = part.first_offset.min(offset);
        part.rows += ids.len() as u64;
        self.in_flight += ids.len() as u64;
        let groups = Groups { ids, rows, count: self.keys.len() };
        part.state.add(batch.columns(), groups);
        if let Some(running) = self.running.as_mut().filter(|r| r.covers(pane)) {
            running.add(batch, groups);
        }
        if self.settings.keep_seen {
            self.keys.own(ids, partition);
        }
    }

    fn begin(&mut self, time: Millis) {
        self.first = Some(self.first.map_or(time, |f| f.min(time)));
    }

    pub(super) fn advance_wall(&mut self, wall: Millis) -> Millis {
        let wall = self.wall.map_or(wall, |w| w.max(wall));
        self.wall = Some(wall);
        wall
    }

    /// How far time has come for this window.
    pub(super) fn advance(&mut self, now: Duration, wall: Millis) -> Option<Millis> {
        match self.settings.time {
            TimeMode::Processing => Some(self.advance_wall(wall)),
            TimeMode::Record => self.watermark.advance(now),
        }
    }

    /// The watermark as it was last advanced; `None` before the first record.
    pub fn watermark(&self) -> Option<Millis> {
        match self.settings.time {
            TimeMode::Processing => self.wall,
            TimeMode::Record => self.watermark.current(),
        }
    }

    pub(super) fn next_move(&self, now: Duration) -> crate::time::NextMove {
        match self.settings.time {
            TimeMode::Processing => crate::time::NextMove::Resting,
            TimeMode::Record => self.watermark.next_move(now),
        }
    }

    /// Rows in panes that a window is still open for.
    pub fn in_flight_rows(&self) -> u64 {
        self.in_flight
    }

    /// The number of open panes.
    pub fn open_panes(&self) -> usize {
        self.panes.len()
    }

    /// What to commit for `partition` when everything before `next` has been pushed: the first offset of its oldest open pane, with a
    /// [`Restored`] as metadata.
    pub fn position(&self, partition: &Partition, next: i64) -> Position {
        let assigned = self.partitions.get(partition);
        let low = assigned.and_then(|assigned| {
            let parts = self.panes.values().flat_map(|p| &p.parts).filter(|p| p.partition == assigned.number);
            parts.map(|p| p.first_offset).min()
        });
        // Windows that are due and not closed yet must not be taken for closed before their rows are back.
        let due = self.next_end().map_or(Millis::MAX, |end| end.saturating_sub(1));
        let restored = Restored {
            pos: next,
            watermark: self.watermark().map(|w| w.min(due)),
            closed_until: assigned.and_then(|a| a.closed_until),
        };
        Position {
            partition: partition.clone(),
            offset: low.map_or(next, |low| low.min(next)),
            metadata: restored.to_string(),
        }
    }
}
