//! What a window must have given: worked out row by row.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::file::{Column, Shape, Spec};
use super::input::BITS;
use super::oracle::{Found, Row, Stream, records};
use crate::shipped::plain::Record;

/// A window step with all that came in to it.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) place: String,
    pub(crate) spec: Spec,
    pub(crate) input: Stream,
    /// The topic that has its late rows.
    pub(crate) late: Option<String>,
    /// Those that have its results.
    pub(crate) sinks: Vec<String>,
}

/// Start, end, and the key.
type Pane = (i64, i64, Vec<String>);

/// The rows of a window, as indices of the input.
#[derive(Debug, Default)]
struct Members {
    /// Those that must count.
    must: BTreeSet<usize>,
    /// Those that may.
    may: BTreeSet<usize>,
}

/// A window's partition in which nothing comes holds it up for at least so long: longer than anything here lasts.
const FOR_EVER: i64 = 60_000;

impl Window {
    /// True where only the order of the rows says which of them are late.
    fn by_order(&self) -> bool {
        self.input.partitions > 0 && self.spec.idle >= FOR_EVER
    }

    /// The same, and the order is known.
    pub(crate) fn decided(&self) -> bool {
        self.by_order() && self.input.partitions == 1 && !self.spec.repartition
    }

    /// True where a window with this end was closed for good by the rows before `row` in its partition.
    fn over(&self, end: i64, row: &Row) -> bool {
        let Spec { lateness, out_of_orderness, .. } = self.spec;
        row.before != i64::MIN && end + lateness <= row.before - out_of_orderness
    }

    /// The windows of a row, with a grid; for sessions how long it would hold one open.
    fn ends(&self, row: &Row) -> Vec<(i64, i64)> {
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

    fn key(&self, row: &Row) -> Vec<String> {
        self.spec.key.iter().map(|field| plain(row.cells.get(field))).collect()
    }

    /// The columns with the bits of rows; `None` where it does not have all.
    fn bits(&self) -> Option<Vec<String>> {
        let named = |bit: &&str| {
            let sums = |(_, column): &&(String, Column)| *column == Column::Sum((**bit).to_owned());
            self.spec.columns.iter().find(sums).map(|(name, _)| name.clone())
        };
        let numbers = self.input.rows.iter().all(|row| BITS.iter().all(|bit| row.cells.get(*bit).is_some_and(Value::is_i64)));
        let names: Option<Vec<String>> = BITS.iter().map(|bit| named(&bit)).collect();
        names.filter(|_| numbers)
    }
}

fn plain(cell: Option<&Value>) -> String {
    match cell {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => "(none)".to_owned(),
        Some(cell) => cell.to_string(),
    }
}

/// Looks at what a window gave.
pub(crate) fn check(window: &Window, topics: &BTreeMap<String, Vec<Record>>, found: &mut Found) {
    let rows = |topic: &String| records(topics.get(topic).map(Vec::as_slice).unwrap_or_default(), None).0;
    let late = late(window, window.late.as_ref().map(rows).unwrap_or_default(), found);
    let expected = match window.spec.shape {
        Shape::Grid { .. } => grid(window, &late),
        Shape::Session { gap } => sessions(window, gap, &late),
    };
    found.windows += expected.len() as u64;
    for sink in &window.sinks {
        results(window, sink, &rows(sink), &expected, &late, found);
    }
}

/// The rows that were given as late, as indices of the input.
fn late(window: &Window, given: Vec<Row>, found: &mut Found) -> BTreeSet<usize> {
    let place = &window.place;
    let mut there: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, row) in window.input.rows.iter().enumerate().rev() {
        there.entry(row.name()).or_default().push(index);
    }
    let mut late = BTreeSet::new();
    for row in given {
        match there.get_mut(&row.name()).and_then(Vec::pop) {
            Some(index) => drop(late.insert(index)),
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
            found.wrong.push(format!("{place}: late, and its window is not over at {}: {}", row.before, row.name()));
        } else if over && !late.contains(&index) && window.decided() && grid {
            found.wrong.push(format!("{place}: not late, and its window is over at {}: {}", row.before, row.name()));
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

/// One result of a window.
#[derive(Debug, Clone, PartialEq)]
struct Given {
    count: i64,
    /// The rows, where their bits say which they are.
    rows: Option<BTreeSet<usize>>,
    values: Vec<i64>,
}

fn results(
    window: &Window,
    topic: &str,
    got: &[Row],
    expected: &BTreeMap<Pane, Members>,
    late: &BTreeSet<usize>,
    found: &mut Found,
) {
    let spec = &window.spec;
    let place = format!("{}, `{topic}`", window.place);
    let count = spec.columns.iter().find(|(_, column)| *column == Column::Count).expect("a count");
    let by_bit = by_bit(window);
    let mut last: BTreeMap<Pane, Given> = BTreeMap::new();
    let session = matches!(spec.shape, Shape::Session { .. });
    for row in got {
        found.results += 1;
        let number = |name: &str| row.cells.get(name).and_then(Value::as_i64).unwrap_or(i64::MIN);
        let key = match spec.key.as_slice() {
            [_] => vec![plain(row.cells.get("key"))],
            fields => fields.iter().map(|field| plain(row.cells.get(field))).collect(),
        };
        let pane = (number("window_start"), number("window_end"), key);
        let values: Vec<i64> = spec.columns.iter().map(|(name, _)| number(name)).collect();
        let rows = match &by_bit {
            None => None,
            Some((names, by_bit)) => {
                let mut rows = BTreeSet::new();
                let bits = names.iter().enumerate().flat_map(|(column, name)| {
                    let sum = number(name);
                    (0..63).filter(move |bit| sum & (1 << bit) != 0).map(move |bit| (column, bit))
                });
                for bit in bits {
                    match by_bit.get(&bit) {
                        Some(index) => drop(rows.insert(*index)),
                        None => found.wrong.push(format!("{place}: {} has counted a row twice, or one that never came", shown(&pane))),
                    }
                }
                Some(rows)
            }
        };
        let given = Given { count: number(&count.0), rows, values };
        if given.rows.as_ref().is_some_and(|rows| rows.len() as i64 != given.count) {
            found.wrong.push(format!("{place}: {} counts {} rows, and they are {:?}", shown(&pane), given.count, ids(window, given.rows.as_ref())));
        }
        if let Some(before) = last.get(&pane)
            && !grew(before, &given)
        {
            found.wrong.push(format!("{place}: {} is given again without more rows: {} after {}", shown(&pane), given.count, before.count));
        }
        last.insert(pane, given);
    }
    let mut counted: BTreeMap<usize, Vec<(i64, bool)>> = BTreeMap::new();
    for (pane, members) in expected {
        let given = last.remove(pane);
        let Some(given) = given else {
            if !members.must.is_empty() {
                let rows = ids(window, Some(&members.must));
                found.wrong.push(format!("{place}: {} is not there, of {} rows: {rows:?}", shown(pane), members.must.len()));
            }
            continue;
        };
        for member in &members.may {
            let there = given.rows.as_ref().is_none_or(|rows| rows.contains(member));
            counted.entry(*member).or_default().push((pane.1, there));
        }
        if let Some(difference) = difference(window, members, &given) {
            found.wrong.push(format!("{place}: {} {difference}", shown(pane)));
        }
    }
    for (pane, given) in last {
        if !(session && is_part(window, &pane, &given, expected)) {
            found.wrong.push(format!("{place}: {} cannot be, of {} rows: {:?}", shown(&pane), given.count, ids(window, given.rows.as_ref())));
        }
    }
    // Who is late for one window is late for those before.
    for (row, mut windows) in counted.into_iter().filter(|(row, _)| !late.contains(row)) {
        windows.sort_unstable();
        let missed = windows.iter().filter(|(_, there)| !there).count();
        let first = windows.iter().position(|(_, there)| *there).unwrap_or(windows.len());
        if missed != first {
            found.wrong.push(format!("{place}: row {} is in an earlier window and not in a later: {windows:?}", id(window, row)));
        }
    }
}

/// The rows by the column and the number of their bit.
type ByBit = (Vec<String>, BTreeMap<(usize, u32), usize>);

fn by_bit(window: &Window) -> Option<ByBit> {
    let names = window.bits()?;
    let mut by_bit = BTreeMap::new();
    for (index, row) in window.input.rows.iter().enumerate() {
        for (column, name) in BITS.iter().enumerate() {
            let cell = row.cells.get(*name).and_then(Value::as_i64).unwrap_or_default();
            if cell != 0 {
                by_bit.insert((column, cell.trailing_zeros()), index);
            }
        }
    }
    Some((names, by_bit))
}

fn grew(before: &Given, now: &Given) -> bool {
    let kept = match (&before.rows, &now.rows) {
        (Some(before), Some(now)) => before.is_subset(now),
        _ => true,
    };
    kept && before.count < now.count
}

/// A session that was given and has grown since.
fn is_part(window: &Window, pane: &Pane, given: &Given, expected: &BTreeMap<Pane, Members>) -> bool {
    let whole = expected.iter().find(|((start, end, key), _)| *key == pane.2 && *start <= pane.0 && pane.1 <= *end);
    whole.is_some_and(|(_, members)| match &given.rows {
        Some(rows) => rows.is_subset(&members.must) && rows.len() < members.must.len(),
        None => {
            // Any rows of it that lie there.
            let inside = members.must.iter().filter(|index| {
                let time = window.input.rows[**index].time;
                pane.0 <= time && time < pane.1
            });
            given.count <= inside.count() as i64 && given.count < members.must.len() as i64
        }
    })
}

/// What is wrong with the last result of a window.
fn difference(window: &Window, members: &Members, given: &Given) -> Option<String> {
    if let Some(rows) = &given.rows {
        let missing: BTreeSet<usize> = members.must.difference(rows).copied().collect();
        let more: BTreeSet<usize> = rows.difference(&members.may).copied().collect();
        if missing.is_empty() && more.is_empty() {
            return None;
        }
        let (missing, more) = (ids(window, Some(&missing)), ids(window, Some(&more)));
        return Some(format!("has {} rows: {missing:?} are missing, {more:?} do not belong there", given.count));
    }
    if members.must == members.may {
        let value = |column: &Column| match column {
            Column::Count => members.must.len() as i64,
            Column::Sum(field) => {
                let cell = |index: &usize| window.input.rows[*index].cells.get(field).and_then(Value::as_i64);
                members.must.iter().filter_map(cell).sum()
            }
        };
        let right: Vec<i64> = window.spec.columns.iter().map(|(_, column)| value(column)).collect();
        return (right != given.values).then(|| format!("has {:?} and not {right:?}", given.values));
    }
    let (least, most) = (members.must.len() as i64, members.may.len() as i64);
    (given.count < least || given.count > most).then(|| format!("has {} rows and not {least} to {most}", given.count))
}

fn shown((start, end, key): &Pane) -> String {
    let from = crate::scenario::START;
    format!("[{}, {}) of {key:?}", start - from, end - from)
}

fn id(window: &Window, row: usize) -> String {
    plain(window.input.rows[row].cells.get("id"))
}

fn ids(window: &Window, rows: Option<&BTreeSet<usize>>) -> Vec<String> {
    rows.into_iter().flatten().map(|row| id(window, *row)).collect()
}
