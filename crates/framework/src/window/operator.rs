//! The state of a window step, and what the chain loop tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::assigned::{Assigned, Pane};
use super::fingerprint::Fingerprint;
use super::fire::Ending;
use super::keys::KeyTable;
use super::movers::Movers;
use super::restored::Restored;
use super::sessions::Sessions;
use super::settings::{Shape, TimeMode, WindowSettings};
use super::sliding::Running;
use super::tally::Counts;
use crate::batch::{Batch, Partition, Times};
use crate::clock::Millis;
use crate::config::Problem;
use crate::plugin::{Aggregate, Input, PerKey, Ranked, RankedMeaning, Rejects, ResultMeaning};
use crate::time::{NextMove, Watermark, WindowGrid, Word};

/// Whether a call has given all that was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// All of it.
    All,
    /// As much as is given at once; the next call goes on.
    More,
}

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
    /// Rows that were read again and are in open windows again.
    pub again_rows: u64,
}

impl WindowOutput {
    /// True where there is nothing in it.
    pub fn is_empty(&self) -> bool {
        let rows = self.closed_rows + self.again_rows;
        self.results.is_empty() && self.late.is_empty() && self.rejected.is_empty() && rows == 0
    }
}

/// The state of a window step.
pub struct WindowOperator {
    pub(super) settings: WindowSettings,
    fingerprint: Fingerprint,
    pub(super) aggregate: Box<dyn Aggregate>,
    pub(super) schema: SchemaRef,
    pub(super) keys: KeyTable,
    /// Where windows begin and end; not used for sessions.
    pub(super) grid: WindowGrid,
    pub(super) panes: BTreeMap<Millis, Pane>,
    /// The sessions, in place of panes, where that is the windows' shape.
    pub(super) sessions: Option<Sessions>,
    pub(super) partitions: BTreeMap<Partition, Assigned>,
    /// The channels of each partition of a repartition topic.
    pub(super) channels: BTreeMap<Partition, Vec<Partition>>,
    /// See [`set_homes`](Self::set_homes).
    pub(super) homes: Vec<i32>,
    pub(super) next_number: u32,
    pub(super) watermark: Watermark,
    /// The wall time, for `processing`: it never goes back. Where the system's clock is set back, it goes on
    /// from where it stood as fast as the clock, until that has come there.
    wall: Option<Millis>,
    /// When it was that.
    wall_at: Duration,
    /// The clock when it was last heard of: a result that lies ahead has this time. See
    /// [`result_time`](super::result::result_time).
    pub(super) clock: Option<Millis>,
    pub(super) movers: Movers,
    pub(super) running: Option<Running>,
    /// True where the rows' times are those of this run: read again, they would be in other windows.
    pub(super) closes_at_end: bool,
    /// While the end of the data is dealt with.
    pub(super) ending: Option<Ending>,
    pub(super) in_flight: u64,
    /// Rows that were read again and are not yet said to be.
    pub(super) again: u64,
    /// True where the last partition whose rows were still being read again was taken away: those of the
    /// others are back.
    pub(super) nothing_to_wait_for: bool,
    /// The bytes that the panes hold, as far as they were last looked at.
    pub(super) pane_bytes: usize,
    /// The time of the first record: nothing is given for windows before it.
    pub(super) first: Option<Millis>,
    /// True where a pane was dropped since keys were last forgotten.
    pub(super) may_forget: bool,
    /// The panes that have changed since updates were last given; empty where none are asked for.
    pub(super) changed: BTreeSet<Millis>,
    /// When updates were last given.
    pub(super) updated: Option<Duration>,
    /// Windows that were closed, have a late row, and are given again once all rows are back that are read
    /// again: their ends, with the partitions for which they were not over when the late row came.
    pub(super) deferred: BTreeMap<Millis, Vec<u32>>,
    /// The counts of a pane that was dropped: with a million keys, fresh memory for each pane costs as much
    /// as counting.
    pub(super) spare: Option<Counts>,
    /// 0, 1, 2, ...: as many as there were groups.
    pub(super) same: Vec<u32>,
    pub(super) groups: Vec<u32>,
    pub(super) order: Vec<u32>,
    pub(super) ordered_groups: Vec<u32>,
}

impl WindowOperator {
    /// An operator without state over rows of `input`.
    ///
    /// # Errors
    /// A [`Problem`] where a key's column is not there or of a type that cannot be a key, and where two
    /// columns of the result would have one name.
    pub fn new(
        settings: WindowSettings,
        aggregate: Box<dyn Aggregate>,
        input: &Input,
    ) -> Result<Self, Problem> {
        let single = settings.key.len() == 1;
        let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        let mut fields =
            vec![Field::new("window_start", time.clone(), false), Field::new("window_end", time, false)];
        let columns = settings.key_columns(input)?;
        // With a single key, a chain that follows needs no change when another column is counted.
        let keys = settings.key.iter().map(|name| if single { "key" } else { name });
        fields.extend(keys.map(|name| Field::new(name, DataType::Utf8, true)));
        fields.extend(aggregate.fields());
        if settings.every.is_some() {
            fields.push(Field::new("early", DataType::Boolean, false));
        }
        let twice =
            fields.iter().enumerate().find(|(i, f)| fields[..*i].iter().any(|g| g.name() == f.name()));
        if let Some((_, field)) = twice {
            return Err(Problem::new("", format!("the result would have two columns `{}`", field.name()))
                .label(format!("its columns: {}", names(&fields)))
                .help("give one of them another name: `as:` names the column of an aggregate"));
        }
        let (grid, sessions) = match settings.shape {
            Shape::Grid(grid) => (Some(grid), None),
            Shape::Session { gap } => (WindowGrid::new(gap, gap, 0), Some(Sessions::new(gap, &*aggregate))),
        };
        let grid = grid.ok_or_else(|| Problem::new("gap", "a gap of no length"))?;
        let closes_at_end = settings.time == TimeMode::Processing;
        let mut operator = Self {
            fingerprint: Fingerprint::new(&settings, "", &serde_json::Value::Null, 0, &[], &input.schema),
            keys: KeyTable::new(columns, settings.max_keys),
            watermark: Watermark::new(settings.out_of_orderness, settings.idle),
            settings,
            aggregate,
            schema: Arc::new(Schema::new(fields)),
            grid,
            panes: BTreeMap::new(),
            sessions,
            partitions: BTreeMap::new(),
            channels: BTreeMap::new(),
            homes: Vec::new(),
            next_number: 0,
            wall: None,
            wall_at: Duration::ZERO,
            clock: None,
            movers: Movers::default(),
            running: None,
            closes_at_end,
            ending: None,
            in_flight: 0,
            again: 0,
            nothing_to_wait_for: false,
            pane_bytes: 0,
            first: None,
            may_forget: false,
            changed: BTreeSet::new(),
            updated: None,
            deferred: BTreeMap::new(),
            spare: None,
            same: Vec::new(),
            groups: Vec::new(),
            order: Vec::new(),
            ordered_groups: Vec::new(),
        };
        operator.name_keys();
        Ok(operator)
    }

    /// The same, with the mark of what its plugin computes too.
    #[must_use]
    pub fn marked(mut self, fingerprint: Fingerprint) -> Self {
        self.fingerprint = fingerprint;
        self
    }

    /// The rows' times are those of this run: after the end of the data none is read again, as it would count
    /// in another window, and after a restart only those of windows that were open.
    pub fn close_at_end(&mut self) {
        self.closes_at_end = true;
    }

    /// The rows' times are those at which they are read, and what else the chain reads has times of another
    /// kind, which say nothing of these: a row counts when it arrives, as with `time: processing`.
    pub fn count_on_arrival(&mut self) {
        self.close_at_end();
        self.settings.time = TimeMode::Processing;
    }

    /// What its state depends on.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The keys that `zero_fill` lists are there from the start.
    pub(super) fn name_keys(&mut self) {
        for key in &self.settings.keys {
            self.keys.group(key.as_bytes());
        }
    }

    /// How far apart in time two rows of open windows can be; `None` for sessions, which go on as long as
    /// rows come.
    pub fn longest(&self) -> Option<Duration> {
        let Shape::Grid(grid) = self.settings.shape else { return None };
        let millis = grid.size() + self.settings.lateness + self.settings.out_of_orderness;
        Some(Duration::from_millis(millis.max(0) as u64))
    }

    /// True where keys that have no row any more are given with 0 (`zero_fill`).
    pub fn keeps_keys(&self) -> bool {
        self.settings.keep_seen
    }

    /// True where `zero_fill` names keys, which are given with 0 before they have a row.
    pub fn names_keys(&self) -> bool {
        !self.settings.keys.is_empty()
    }

    /// The fields that make the key.
    pub fn key(&self) -> &[String] {
        &self.settings.key
    }

    /// The schema of the results: `window_start`, `window_end`, `key` (or the key's fields), what the
    /// aggregate adds, and `early` where updates are given.
    pub fn output_schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// What its results mean to somebody who adds them up or shows them.
    pub fn meaning(&self) -> ResultMeaning {
        let mut keys = match self.settings.key.as_slice() {
            [_] => vec!["key".to_owned()],
            several => several.to_vec(),
        };
        let ranked = match self.aggregate.per_key() {
            PerKey::One => None,
            PerKey::Each(column) => {
                keys.push(column);
                None
            }
            PerKey::Ranked(Ranked { place, name }) => Some(RankedMeaning {
                place: Some(place),
                name: Some(name),
                again: self.settings.every.is_some() || self.settings.lateness > 0,
            }),
        };
        let fields = self.aggregate.fields();
        let is_place = |name: &str| ranked.as_ref().and_then(|r| r.place.as_deref()) == Some(name);
        let numbers = fields.iter().filter(|field| field.data_type().is_numeric() && !is_place(field.name()));
        let values = numbers.map(|field| field.name().clone()).collect();
        let adds = self.aggregate.adds();
        let columns = fields.iter().zip(adds).filter(|(_, adds)| *adds);
        let over_keys: Vec<String> = columns.map(|(field, _)| field.name().clone()).collect();
        let overlaps = matches!(self.settings.shape, Shape::Grid(grid) if grid.slide() < grid.size());
        let over_windows = if overlaps { Vec::new() } else { over_keys.clone() };
        ResultMeaning {
            keys,
            lost_keys: Vec::new(),
            over_keys,
            over_windows,
            ranked,
            values,
            sessions: self.sessions.is_some(),
        }
    }

    /// Rows of `partition` will come; `restored` is what was committed for it.
    pub fn assign(&mut self, partition: Partition, restored: Option<Restored>, now: Duration) {
        let Restored { pos, watermark, closed_until, saved, own_low, keys_saved, first, given, late } =
            restored.unwrap_or_default();
        self.running = None;
        self.watermark.assign(partition.clone(), watermark, now);
        // Zeros go on from the last closed window, where they have begun.
        if let Some(first) = first.or(closed_until) {
            self.begin(first);
        }
        let number = self.next_number;
        self.next_number += 1;
        let assigned = Assigned {
            number,
            closed_until,
            dealt_with: pos,
            own_low: own_low.unwrap_or(i64::MIN),
            reached: watermark,
            replaying: false,
            held: None,
            channels: BTreeMap::new(),
            saved,
            keys_saved,
            restored: watermark,
            did_not_count: Vec::new(),
            late: late.into_iter().collect(),
            given,
        };
        self.partitions.insert(partition, assigned);
    }

    /// Rows of `partition` will come through `channels`, each with a watermark of its own. What was committed
    /// stands for all of them: none was behind it.
    pub(crate) fn assign_channels(
        &mut self,
        partition: Partition,
        channels: Vec<Partition>,
        restored: Option<Restored>,
        now: Duration,
    ) {
        let watermark = restored.as_ref().and_then(|r| r.watermark);
        self.assign(partition.clone(), restored, now);
        for channel in &channels {
            self.watermark.assign_channel(channel.clone(), watermark);
        }
        self.watermark.revoke(&partition);
        self.channels.insert(partition, channels);
    }

    /// What the writer of a channel says of it: the greatest time read, and for how long its partition has
    /// been idle.
    pub(crate) fn says(&mut self, partition: &Partition, channel: &Partition, word: Word, now: Duration) {
        let Some(channels) = self.channels.get_mut(partition) else { return };
        if !channels.contains(channel) {
            channels.push(channel.clone());
        }
        self.watermark.says(channel, word.greatest, word.idle, now);
    }

    /// No more rows of `partition` will come; its part of every pane is dropped.
    pub fn revoke(&mut self, partition: &Partition) {
        self.watermark.revoke(partition);
        self.forget_mover(partition);
        for channel in self.channels.remove(partition).unwrap_or_default() {
            self.watermark.revoke(&channel);
            self.forget_mover(&channel);
        }
        let Some(assigned) = self.partitions.remove(partition) else { return };
        self.running = None;
        let (in_flight, pane_bytes) = (&mut self.in_flight, &mut self.pane_bytes);
        self.panes.retain(|_, pane| {
            pane.parts.retain(|part| {
                if part.partition == assigned.number {
                    *in_flight -= part.rows;
                    *pane_bytes = pane_bytes.saturating_sub(part.tally.bytes());
                }
                part.partition != assigned.number
            });
            !pane.parts.is_empty()
        });
        if let Some(sessions) = &mut self.sessions {
            let (rows, again) = sessions.revoke(assigned.number);
            self.in_flight -= rows - again;
        }
        self.nothing_to_wait_for |= assigned.replaying;
        self.keys.disown(assigned.number);
        self.may_forget = true;
        if self.partitions.is_empty() {
            self.keys.clear();
            self.name_keys();
            self.first = None;
            // After a fault what was not said yet is read again.
            self.again = 0;
            self.changed.clear();
            self.deferred.clear();
        }
    }

    /// Rows of these times were read; called after the batch was pushed, also where all of its rows were
    /// filtered out. A time too far in the future does not count, so that one wrong clock does not turn
    /// everybody else's rows late.
    pub fn observe(&mut self, partition: &Partition, times: &Times, now: Duration, wall: Millis) {
        let Some(assigned) = self.partitions.get_mut(partition) else {
            // A channel, or nobody's.
            if let Some(time) = self.greatest(times, wall) {
                self.watermark.observe(partition, time, now);
            }
            return;
        };
        // What was too far in the future before a restart moves no time after it.
        let apart = std::mem::take(&mut assigned.did_not_count);
        let time = match apart.is_empty() {
            true => self.greatest(times, wall),
            false => times.iter().copied().filter(|t| !apart.contains(t)).max(),
        };
        let Some(time) = time else { return };
        match self.partitions.get_mut(partition) {
            Some(assigned) if assigned.replaying => assigned.held = assigned.held.max(Some(time)),
            _ => self.watermark.observe(partition, time, now),
        }
    }

    /// The greatest of some times that is not too far in the future.
    pub(crate) fn greatest(&self, times: &Times, wall: Millis) -> Option<Millis> {
        let latest = wall.saturating_add(self.settings.max_skew);
        let greatest = times.span()?.greatest;
        if greatest <= latest {
            return Some(greatest);
        }
        times.iter().copied().filter(|t| *t <= latest).max()
    }

    /// How far a channel had come, by what is read again: known once all of that is back. What was committed
    /// stands for all channels, and it is that of the slowest; without this the others would wait for their
    /// next row, or for the clock.
    pub(crate) fn reached_before(&mut self, partition: &Partition, channel: &Partition, greatest: Millis) {
        if let Some(assigned) = self.partitions.get_mut(partition) {
            let reached = assigned.channels.entry(channel.clone()).or_insert(greatest);
            *reached = greatest.max(*reached);
        }
    }

    /// Rows of the partition are about to be read again: nothing that they belong to is given before they are
    /// back.
    pub fn expect_replay(&mut self, partition: &Partition, now: Duration) {
        self.set_replaying(partition, true, now);
    }

    /// The rows of the partition that are read again are back.
    pub fn is_replayed(&mut self, partition: &Partition, now: Duration) {
        self.set_replaying(partition, false, now);
    }

    /// Rows are read again, or no more.
    pub(super) fn set_replaying(&mut self, partition: &Partition, replaying: bool, now: Duration) {
        let Some(assigned) = self.partitions.get_mut(partition) else { return };
        let was = std::mem::replace(&mut assigned.replaying, replaying);
        let channels = if replaying { BTreeMap::new() } else { std::mem::take(&mut assigned.channels) };
        if !replaying && let Some(held) = assigned.held.take() {
            self.watermark.observe(partition, held, now);
        }
        channels.iter().for_each(|(channel, reached)| self.watermark.has_seen(channel, *reached));
        if was && !replaying {
            self.sessions_are_back();
            // Keys of what was over before are of no use.
            self.may_forget = true;
        }
    }

    /// The partition has, or no longer has, given all that is there.
    pub fn caught_up(&mut self, partition: &Partition, caught_up: bool, now: Duration) {
        if caught_up {
            self.set_replaying(partition, false, now);
        }
        self.watermark.caught_up(partition, caught_up, now);
    }

    pub(super) fn begin(&mut self, time: Millis) {
        self.first = Some(self.first.map_or(time, |f| f.min(time)));
    }

    pub(super) fn advance_wall(&mut self, now: Duration, wall: Millis) -> Millis {
        // Whole milliseconds: the rest is counted with the next call.
        let passed = now.saturating_sub(self.wall_at).as_millis() as u64;
        let gone_on = self.wall.map(|before| before.saturating_add(passed as Millis));
        let advanced = match gone_on {
            Some(gone_on) if gone_on >= wall => {
                self.wall_at += Duration::from_millis(passed);
                gone_on
            }
            _ => {
                self.wall_at = now;
                wall
            }
        };
        self.wall = Some(advanced);
        advanced
    }

    /// How far time has come for this window.
    pub(super) fn advance(&mut self, now: Duration, wall: Millis) -> Option<Millis> {
        match self.settings.time {
            TimeMode::Processing => Some(self.advance_wall(now, wall)),
            TimeMode::Record => {
                let watermark = self.watermark.advance(now);
                for assigned in self.partitions.values_mut() {
                    assigned.reached = assigned.reached.max(watermark);
                }
                watermark
            }
        }
    }

    /// True where rows of a partition are late by what that partition has given alone. Windows do not
    /// overlap, so each row is in one, and counts in it or does not, whatever is read of other partitions
    /// first.
    pub(super) fn judges_alone(&self) -> bool {
        self.sessions.is_none() && self.grid.slide() == self.grid.size()
    }

    /// The watermark as it was last advanced; `None` before the first record.
    pub fn watermark(&self) -> Option<Millis> {
        match self.settings.time {
            TimeMode::Processing => self.wall,
            TimeMode::Record => self.watermark.current(),
        }
    }

    pub(super) fn next_move(&self, now: Duration) -> NextMove {
        match self.settings.time {
            TimeMode::Processing => NextMove::Resting,
            TimeMode::Record => self.watermark.next_move(now),
        }
    }

    /// True while rows of some partition are read again.
    pub(super) fn is_replaying(&self) -> bool {
        self.partitions.values().any(|assigned| assigned.replaying)
    }

    /// True where a result waits for rows that are read again: what has been pushed cannot be committed
    /// before it is given.
    pub fn holds_back(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Rows in panes that a window is still open for.
    pub fn in_flight_rows(&self) -> u64 {
        self.in_flight
    }

    /// The number of open panes, or sessions.
    pub fn open_panes(&self) -> usize {
        self.panes.len() + self.sessions.as_ref().map_or(0, Sessions::len)
    }

    /// How many things of any kind are held: panes, fragments, what waits to be given.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let sessions = self.sessions.as_ref().map_or(0, Sessions::held);
        let late: usize = self.partitions.values().map(|assigned| assigned.late.len()).sum();
        self.panes.len() + sessions + late + self.changed.len() + self.deferred.len() + self.keys.len()
    }
}

fn names(fields: &[Field]) -> String {
    fields.iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")
}
