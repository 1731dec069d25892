//! Which rows moved time on: named where others are late because of them.

use std::collections::BTreeMap;

use super::operator::WindowOperator;
use super::settings::TimeMode;
use crate::batch::{AsRead, Batch, Partition, place_of};
use crate::clock::Millis;

/// A row, and when it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its place for a person, such as `logs/a.csv:17`.
    pub(crate) place: String,
    pub(crate) offset: i64,
    pub(crate) time: Millis,
}

impl Row {
    /// A row of a batch.
    fn of(batch: &Batch, offset: i64, time: Millis) -> Self {
        Self { place: batch.place(offset), offset, time }
    }
}

/// What moved time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mover {
    Row(Row),
    /// A row of this time, of the same partition of the source: it stands in another partition of the
    /// repartition topic, or was left out before that.
    Elsewhere(Millis),
    /// The clock, as nothing came.
    Clock,
}

/// Why rows of a batch are late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lateness {
    /// The one that lies furthest behind.
    pub(crate) row: Row,
    /// What had moved time so far.
    pub(crate) moved_by: Mover,
    /// The least `out_of_orderness` with which none of them would be late.
    pub(crate) needed: Millis,
}

/// The rows of the greatest time of each partition, or of each channel.
#[derive(Debug, Default)]
pub(super) struct Movers(BTreeMap<Partition, Furthest>);

/// What was read with the row of the greatest time: which it is, is looked up when it is asked for.
#[derive(Debug)]
struct Furthest {
    time: Millis,
    partition: Partition,
    seen: AsRead,
}

impl Furthest {
    fn row(&self) -> Option<Row> {
        let AsRead { times, offsets, lines } = &self.seen;
        let at = times.iter().position(|time| *time == self.time)?;
        let offset = *offsets.get(at)?;
        Some(Row { place: place_of(&self.partition, offset, lines.as_deref()), offset, time: self.time })
    }
}

impl WindowOperator {
    /// These rows have been read, and have moved time: see [`observe`](Self::observe).
    /// `through` is the channel that they came through, or their partition `of` itself.
    pub(crate) fn saw(&mut self, through: &Partition, of: &Partition, seen: &AsRead, wall: Millis) {
        let Some(time) = self.greatest(&seen.times, wall) else { return };
        if self.movers.0.get(through).is_none_or(|mover| mover.time < time) {
            let furthest = Furthest { time, partition: of.clone(), seen: seen.clone() };
            self.movers.0.insert(through.clone(), furthest);
        }
    }

    /// Forgets who moved the time of a partition.
    pub(super) fn forget_mover(&mut self, partition: &Partition) {
        self.movers.0.remove(partition);
    }

    /// Why the rows of `late`, a part of the batch `pushed`, are late.
    pub(crate) fn lateness(&self, late: &Batch, pushed: &Batch, wall: Millis) -> Option<Lateness> {
        if self.settings.time == TimeMode::Processing {
            return None;
        }
        let (worst, time) = late.times().iter().copied().enumerate().min_by_key(|(_, time)| *time)?;
        let offset = *late.origin().offsets.get(worst)?;
        let row = Row::of(late, offset, time);
        let own_end = match &self.sessions {
            Some(sessions) => sessions.end_alone(time),
            None => self.grid.last_end(time),
        };
        let due = own_end.saturating_add(self.settings.lateness);
        let moved_by = self.moved_by(&row, pushed, wall);
        // The watermark at which it was judged lies so far behind that row; where it had come further, the
        // clock moved it.
        let slack = self.settings.out_of_orderness;
        let moved_by = moved_by.filter(|mover| mover.time.saturating_sub(slack) >= due);
        let elsewhere =
            || self.moved_elsewhere(&row, pushed, wall).filter(|time| time.saturating_sub(slack) >= due);
        let (reached, moved_by) = match moved_by {
            Some(mover) => (mover.time, Mover::Row(mover)),
            None => match elsewhere() {
                Some(time) => (time, Mover::Elsewhere(time)),
                None => (self.watermark()?.saturating_add(slack), Mover::Clock),
            },
        };
        Some(Lateness { row, moved_by, needed: reached.saturating_sub(due).saturating_add(1) })
    }

    /// The row of the greatest time that was read before `row`: in its own partition, and else in any.
    fn moved_by(&self, row: &Row, pushed: &Batch, wall: Millis) -> Option<Row> {
        let latest = wall.saturating_add(self.settings.max_skew);
        let (times, offsets) = pushed.read_here();
        let beside = times
            .iter()
            .zip(offsets.iter())
            .take_while(|(_, offset)| **offset < row.offset)
            .filter(|(time, _)| **time <= latest)
            // The first of those of one time.
            .fold(None, |most: Option<(Millis, i64)>, (time, offset)| match most {
                Some((greatest, _)) if greatest >= *time => most,
                _ => Some((*time, *offset)),
            })
            .map(|(time, offset)| Row::of(pushed, offset, time));
        let of = |through: &Partition| self.movers.0.get(through)?.row();
        let own = of(pushed.channel()).into_iter().chain(beside).max_by_key(|row| row.time);
        let greatest = || self.movers.0.values().max_by_key(|mover| mover.time).and_then(Furthest::row);
        own.filter(|own| own.time > row.time).or_else(greatest)
    }

    /// The greatest time that was read before `row` through its channel, and that no row here has.
    fn moved_elsewhere(&self, row: &Row, pushed: &Batch, wall: Millis) -> Option<Millis> {
        if !pushed.has_channel() {
            return None;
        }
        let latest = wall.saturating_add(self.settings.max_skew);
        let (times, offsets) = pushed.read();
        let before = times.iter().zip(offsets.iter()).take_while(|(_, offset)| **offset <= row.offset);
        let here = before.map(|(time, _)| *time).filter(|time| *time <= latest).max();
        here.max(self.watermark.greatest(pushed.channel()))
    }
}
