//! What a window gave, held against what it must have given.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::file::{Column, Shape};
use super::input::BITS;
use super::oracle::{Found, Left, Row};
use super::windows::{Members, Pane, Window, plain};
use super::zeros;

/// One result of a window.
#[derive(Debug, Clone, PartialEq)]
struct Given {
    count: i64,
    /// The rows, where their bits say which they are.
    rows: Option<BTreeSet<usize>>,
    values: Vec<i64>,
}

/// What a sink holds of a window step.
struct Results<'a> {
    window: &'a Window,
    place: String,
    /// True where a result may stand again.
    loose: bool,
    /// True where the order of the results is known.
    ordered: bool,
    session: bool,
    /// The column of the count.
    count: String,
    by_bit: Option<ByBit>,
    /// The last result of each window and key.
    last: BTreeMap<Pane, Given>,
    /// By start and end what was given: the keys, and what changed.
    givings: BTreeMap<(i64, i64), Vec<Giving>>,
    wrong: Vec<String>,
}

/// A key that was given, and what is different.
type Giving = (Vec<String>, Change);

/// Looks at the results that stand in a topic.
pub(super) fn check(
    window: &Window,
    topic: &str,
    left: &Left<'_>,
    expected: &BTreeMap<Pane, Members>,
    late: &BTreeSet<usize>,
    found: &mut Found,
) {
    let count = window.spec.columns.iter().find(|(_, column)| *column == Column::Count).expect("a count");
    let mut results = Results {
        window,
        place: format!("{}, `{topic}`", window.place),
        loose: left.loose.contains(topic),
        ordered: left.partitions.get(topic).is_none_or(|partitions| *partitions == 1),
        session: matches!(window.spec.shape, Shape::Session { .. }),
        count: count.0.clone(),
        by_bit: by_bit(window),
        last: BTreeMap::new(),
        givings: BTreeMap::new(),
        wrong: Vec::new(),
    };
    for row in left.rows(topic) {
        found.results += 1;
        results.given(&row);
    }
    if !results.loose {
        results.given_again();
    }
    results.zeros(expected, late);
    results.against(expected, late);
    found.wrong.append(&mut results.wrong);
}

impl Results<'_> {
    fn wrong(&mut self, pane: &Pane, what: &str) {
        self.wrong.push(format!("{}: {} {what}", self.place, shown(pane)));
    }

    /// Takes a result in.
    fn given(&mut self, row: &Row) {
        let spec = &self.window.spec;
        let number = |name: &str| row.cells.get(name).and_then(Value::as_i64).unwrap_or(i64::MIN);
        let key = match spec.key.as_slice() {
            [_] => vec![plain(row.cells.get("key"))],
            fields => fields.iter().map(|field| plain(row.cells.get(field))).collect(),
        };
        let pane = (number("window_start"), number("window_end"), key);
        let values = spec.columns.iter().map(|(name, _)| number(name)).collect();
        let (mut rows, mut unknown) = (None, 0);
        if let Some((names, by_bit)) = &self.by_bit {
            let bits = names.iter().enumerate().flat_map(|(column, name)| {
                let sum = number(name);
                (0..63).filter(move |bit| sum & (1 << bit) != 0).map(move |bit| (column, bit))
            });
            let known: Vec<_> = bits.map(|bit| by_bit.get(&bit).copied()).collect();
            unknown = known.iter().filter(|index| index.is_none()).count();
            rows = Some(known.into_iter().flatten().collect::<BTreeSet<usize>>());
        }
        let given = Given { count: number(&self.count), rows, values };
        if unknown > 0 {
            self.wrong(&pane, "has counted a row twice, or one that never came");
        }
        if given.rows.as_ref().is_some_and(|rows| rows.len() as i64 != given.count) {
            let rows = ids(self.window, given.rows.as_ref());
            self.wrong(&pane, &format!("counts {} rows, and they are {rows:?}", given.count));
        }
        let change = self.last.get(&pane).map_or(Change::More, |before| changed(before, &given));
        if let (Change::Fewer, Some(before), false) = (change, self.last.get(&pane), self.loose) {
            let what = format!("is given again with fewer rows: {} after {}", given.count, before.count);
            self.wrong(&pane, &what);
        }
        self.givings.entry((pane.0, pane.1)).or_default().push((pane.2.clone(), change));
        self.last.insert(pane, given);
    }

    fn given_again(&mut self) {
        for ((start, end), givings) in std::mem::take(&mut self.givings) {
            if let Some(key) = again(&givings, self.session, self.ordered) {
                self.wrong(&(start, end, key), "is given again without more rows");
            }
        }
    }

    /// Takes the windows out that a key has no row in, and looks at them.
    fn zeros(&mut self, expected: &BTreeMap<Pane, Members>, late: &BTreeSet<usize>) {
        if self.window.spec.zero_fill.is_none() {
            return;
        }
        let must = |pane: &Pane| expected.get(pane).is_some_and(|members| !members.must.is_empty());
        let zeros: BTreeSet<Pane> = self
            .last
            .iter()
            .filter(|(pane, given)| given.count == 0 && !must(pane))
            .map(|(pane, _)| pane.clone())
            .collect();
        let whole = !self.loose;
        let given: BTreeSet<&Pane> = self.last.keys().collect();
        for (pane, what) in zeros::check(self.window, &zeros, &given, late, whole) {
            self.wrong.push(format!("{}: {} {what}", self.place, shown(&pane)));
        }
        self.last.retain(|pane, _| !zeros.contains(pane));
    }

    /// Holds the last results against the right ones.
    fn against(&mut self, expected: &BTreeMap<Pane, Members>, late: &BTreeSet<usize>) {
        let mut last = std::mem::take(&mut self.last);
        let mut counted: BTreeMap<usize, Vec<(i64, bool)>> = BTreeMap::new();
        for (pane, members) in expected {
            let Some(given) = last.remove(pane) else {
                if !members.must.is_empty() {
                    let rows = ids(self.window, Some(&members.must));
                    self.wrong(pane, &format!("is not there, of {} rows: {rows:?}", rows.len()));
                }
                continue;
            };
            for member in &members.may {
                let there = given.rows.as_ref().is_none_or(|rows| rows.contains(member));
                counted.entry(*member).or_default().push((pane.1, there));
            }
            if let Some(difference) = difference(self.window, members, &given) {
                self.wrong(pane, &difference);
            }
        }
        for (pane, given) in last {
            if !(self.session && is_part(self.window, &pane, &given, expected)) {
                let rows = ids(self.window, given.rows.as_ref());
                self.wrong(&pane, &format!("cannot be, of {} rows: {rows:?}", given.count));
            }
        }
        // Who is late for one window is late for those before.
        for (row, mut windows) in counted.into_iter().filter(|(row, _)| !late.contains(row)) {
            windows.sort_unstable();
            let missed = windows.iter().filter(|(_, there)| !there).count();
            let first = windows.iter().position(|(_, there)| *there).unwrap_or(windows.len());
            if missed != first {
                let (place, id) = (&self.place, id(self.window, row));
                let what =
                    format!("{place}: row {id} is in an earlier window and not in a later: {windows:?}");
                self.wrong.push(what);
            }
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

/// What a result has beside the one before of its window and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// More rows, or it is the first.
    More,
    Same,
    Fewer,
}

fn changed(before: &Given, now: &Given) -> Change {
    let kept = match (&before.rows, &now.rows) {
        (Some(before), Some(now)) => before.is_subset(now),
        _ => true,
    };
    match before.count.cmp(&now.count) {
        Ordering::Less if kept => Change::More,
        Ordering::Equal if kept => Change::Same,
        _ => Change::Fewer,
    }
}

/// A key that was given again though nothing of its window has more rows. A window is given whole: so a key
/// may be there again for another's sake.
fn again(givings: &[Giving], session: bool, ordered: bool) -> Option<Vec<String>> {
    let more = |of: &[Giving]| of.iter().any(|(_, change)| *change == Change::More);
    for (at, (key, change)) in givings.iter().enumerate() {
        if *change != Change::Same {
            continue;
        }
        let same = |(other, _): &&Giving| other == key;
        let from = givings[..at].iter().rposition(|giving| same(&giving)).map_or(0, |before| before + 1);
        let to = givings[at + 1..]
            .iter()
            .position(|giving| same(&giving))
            .map_or(givings.len(), |next| at + 1 + next);
        let others = if ordered { &givings[from..to] } else { givings };
        if session || !more(others) {
            return Some(key.clone());
        }
    }
    None
}

/// A session that was given and has grown since.
fn is_part(window: &Window, pane: &Pane, given: &Given, expected: &BTreeMap<Pane, Members>) -> bool {
    let whole =
        expected.iter().find(|((start, end, key), _)| *key == pane.2 && *start <= pane.0 && pane.1 <= *end);
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
        return Some(format!(
            "has {} rows: {missing:?} are missing, {more:?} do not belong there",
            given.count
        ));
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
    (given.count < least || given.count > most)
        .then(|| format!("has {} rows and not {least} to {most}", given.count))
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
