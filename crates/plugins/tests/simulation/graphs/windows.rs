//! What a window must have given: worked out row by row.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::file::{Column, Shape, Spec};
use super::input::BITS;
use super::oracle::{Found, Left, Row, Stream};
use super::results;
use super::room;

/// A window step with all that came in to it.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) place: String,
    pub(crate) spec: Spec,
    pub(crate) input: Stream,
    /// The topic that has its late rows.
    pub(crate) late: Option<String>,
    /// The topic that has the rows for which there was no room.
    pub(crate) roomless: Option<String>,
    /// Those that have its results.
    pub(crate) sinks: Vec<String>,
}

/// Start, end, and the key.
pub(super) type Pane = (i64, i64, Vec<String>);

/// The rows of a window, as indices of the input.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Those that must count.
    pub(super) must: BTreeSet<usize>,
    /// Those that may.
    pub(super) may: BTreeSet<usize>,
}

/// A window's partition in which nothing comes holds it up for at least so long: longer than anything here
/// lasts.
const FOR_EVER: i64 = 60_000;

impl Window {
    /// True where only the order of the rows says which of them are late.
    fn by_order(&self) -> bool {
        self.input.partitions > 0 && self.spec.idle >= FOR_EVER
    }

    /// The same, and the order is known.
    pub(crate) fn decided(&self) -> bool {
        let overlaps = match self.spec.shape {
            Shape::Grid { size, slide } => slide < size,
            Shape::Session { .. } => true,
        };
        self.by_order() && self.input.partitions == 1 && (self.spec.repartition <= 1 || !overlaps)
    }

    /// True where a window with this end was closed for good by the rows before `row` in its partition.
    pub(super) fn over(&self, end: i64, row: &Row) -> bool {
        let Spec { lateness, out_of_orderness, .. } = self.spec;
        row.before != i64::MIN && end + lateness <= row.before - out_of_orderness
    }

    /// The windows of a row, with a grid; for sessions how long it would hold one open.
    pub(super) fn ends(&self, row: &Row) -> Vec<(i64, i64)> {
        match self.spec.shape {
            Shape::Session { gap } => vec![(row.time, row.time + gap)],
            Shape::Grid { size, slide } => {
                let mut starts = Vec::new();
                let mut start = row.time.div_euclid(slide) * slide;
                while start + size > row.time {
                    starts.push((start, start + size));
                    start -= slide;
                }
                starts.reverse();
                starts
            }
        }
    }

    pub(super) fn key(&self, row: &Row) -> Vec<String> {
        self.spec.key.iter().map(|field| plain(row.cells.get(field))).collect()
    }

    /// The columns with the bits of rows; `None` where it does not have all.
    pub(super) fn bits(&self) -> Option<Vec<String>> {
        let named = |bit: &str| {
            let sums = |(_, column): &&(String, Column)| *column == Column::Sum(bit.to_owned());
            self.spec.columns.iter().find(sums).map(|(name, _)| name.clone())
        };
        let numbers = self
            .input
            .rows
            .iter()
            .all(|row| BITS.iter().all(|bit| row.cells.get(*bit).is_some_and(Value::is_i64)));
        let names: Option<Vec<String>> = BITS.iter().map(|bit| named(bit)).collect();
        names.filter(|_| numbers)
    }
}

pub(super) fn plain(cell: Option<&Value>) -> String {
    match cell {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => "(none)".to_owned(),
        Some(cell) => cell.to_string(),
    }
}

/// Looks at what a window gave.
pub(crate) fn check(window: &Window, left: &Left<'_>, found: &mut Found) {
    let late =
        late(window, window.late.as_ref().map(|topic| left.rows(topic)).unwrap_or_default(), left, found);
    let mut out = room::roomless(window, left, &late, found);
    out.extend(late);
    let late = out;
    let expected = match window.spec.shape {
        Shape::Grid { .. } => grid(window, &late),
        Shape::Session { gap } => sessions(window, gap, &late),
    };
    room::check(window, &expected, found);
    found.windows += expected.len() as u64;
    for sink in &window.sinks {
        results::check(window, sink, left, &expected, &late, found);
    }
}

/// The rows that were given as late, as indices of the input.
fn late(window: &Window, given: Vec<Row>, left: &Left<'_>, found: &mut Found) -> BTreeSet<usize> {
    let place = &window.place;
    let mut there: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    // Of rows that are the same in every way, the last was late first.
    for (index, row) in window.input.rows.iter().enumerate() {
        there.entry(row.name()).or_default().push(index);
    }
    let mut late = BTreeSet::new();
    let known: BTreeSet<String> = there.keys().cloned().collect();
    let loose = window.late.as_ref().is_some_and(|topic| left.loose.contains(topic));
    for row in given {
        match there.get_mut(&row.name()).and_then(Vec::pop) {
            Some(index) => drop(late.insert(index)),
            None if loose && known.contains(&row.name()) => found.repeated += 1,
            None => found.wrong.push(format!("{place}: late twice, or never came in: {}", row.name())),
        }
    }
    if !window.by_order() {
        return late;
    }
    let grid = matches!(window.spec.shape, Shape::Grid { .. });
    for (index, row) in window.input.rows.iter().enumerate() {
        let last = window.ends(row).last().map_or(i64::MAX, |(_, end)| *end);
        let over = window.over(last, row);
        if late.contains(&index) && !over {
            found.wrong.push(format!(
                "{place}: late, and its window is not over at {}: {}",
                row.before,
                row.name()
            ));
        } else if over && !late.contains(&index) && window.decided() && grid {
            found.wrong.push(format!(
                "{place}: not late, and its window is over at {}: {}",
                row.before,
                row.name()
            ));
        }
    }
    late
}

fn grid(window: &Window, late: &BTreeSet<usize>) -> BTreeMap<Pane, Members> {
    let mut expected: BTreeMap<Pane, Members> = BTreeMap::new();
    for (index, row) in window.input.rows.iter().enumerate() {
        if late.contains(&index) {
            continue;
        }
        let ends = window.ends(row);
        for (number, (start, end)) in ends.iter().enumerate() {
            let is_last = number + 1 == ends.len();
            // A row that is late for some of its windows counts in the others.
            let over = window.by_order() && window.over(*end, row) && !is_last;
            if over && window.decided() {
                continue;
            }
            let sure = is_last || window.decided() || (window.by_order() && !window.over(*end, row));
            let members = expected.entry((*start, *end, window.key(row))).or_default();
            members.may.insert(index);
            if sure {
                members.must.insert(index);
            }
        }
    }
    expected
}

fn sessions(window: &Window, gap: i64, late: &BTreeSet<usize>) -> BTreeMap<Pane, Members> {
    let rows = &window.input.rows;
    let mut order: Vec<usize> = (0..rows.len()).filter(|index| !late.contains(index)).collect();
    order.sort_by_key(|index| (window.key(&rows[*index]), rows[*index].time));
    let mut expected = BTreeMap::new();
    let same = |a: &usize, b: &usize| {
        window.key(&rows[*a]) == window.key(&rows[*b]) && rows[*b].time < rows[*a].time + gap
    };
    for session in order.chunk_by(same) {
        let (first, last) = (&rows[session[0]], &rows[session[session.len() - 1]]);
        let all: BTreeSet<usize> = session.iter().copied().collect();
        let members = Members { must: all.clone(), may: all };
        expected.insert((first.time, last.time + gap, window.key(first)), members);
    }
    expected
}
