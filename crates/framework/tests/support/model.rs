//! A naive window operator, and a driver that gives it and the real one the same input.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{BooleanArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use pipectl_framework::batch::{Batch, Origin, Partition};
use pipectl_framework::plugin::Input;
use pipectl_framework::time::WindowGrid;
use pipectl_framework::window::{Restored, Shape, WindowOperator, WindowOutput, WindowSettings};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::aggregates::Count;

const IDLE_MS: u64 = 20;
/// The key of rows that a step before the window leaves out.
pub const DROPPED: u8 = 5;
const NAMED: [&str; 2] = ["0", "never"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zero {
    Off,
    Seen,
    Named,
}

#[derive(Debug, Clone)]
pub struct Setup {
    /// Sessions, in place of windows of `size`.
    pub gap: Option<i64>,
    pub size: i64,
    pub slide: i64,
    pub offset: i64,
    pub out_of_orderness: i64,
    pub lateness: i64,
    pub partitions: usize,
    pub zero: Zero,
    pub invertible: bool,
    pub max_keys: u32,
}

#[derive(Debug, Clone)]
pub enum Op {
    /// Rows of one partition, each a step in time from the one before and a key, cut into batches at `cuts`.
    Rows {
        partition: usize,
        rows: Vec<(i64, u8)>,
        cuts: Vec<usize>,
    },
    CaughtUp(usize),
    Wait(u64),
    /// The state of one partition's open windows goes to the changelog.
    Save(usize),
    Restart,
}

/// What a changelog holds: the pieces of each part of each partition's state.
type Changelog = BTreeMap<(usize, String), Vec<Vec<u8>>>;

/// Results by window end, each time that they were given, and the late rows as (partition, offset).
#[derive(Debug, Default)]
pub struct Given {
    /// Every row of every result as it came: (end, start, key, count).
    pub rows: Vec<(i64, i64, String, i64)>,
    pub results: Vec<(i64, BTreeMap<String, i64>)>,
    pub late: Vec<(usize, i64)>,
    /// Rows that had no room, as (partition, offset).
    pub rejected: Vec<(usize, i64)>,
    pub restarted: bool,
}

impl Given {
    /// False where rows that were late before a restart may count after it, with others that they hang
    /// together with: see docs/windows.md.
    pub fn is_exact(&self, setup: &Setup) -> bool {
        setup.gap.is_none() || !self.restarted || self.late.is_empty()
    }
}

#[derive(Debug, Clone, Default)]
struct Part {
    greatest: Option<i64>,
    last_record: u64,
    caught_up: bool,
    /// All rows so far: (time, key), at their offsets.
    rows: Vec<(i64, u8)>,
}

/// Keeps every row and judges each by itself.
#[derive(Debug)]
pub struct Model {
    parts: Vec<Part>,
    now: u64,
    watermark: Option<i64>,
    resting: Option<(u64, i64)>,
    /// Count by window end and key.
    counts: BTreeMap<i64, BTreeMap<String, i64>>,
    /// The times of each key's rows that were not late.
    taken: BTreeMap<String, Vec<i64>>,
    late: Vec<(usize, i64)>,
}

/// Times that are less than a gap apart, put together: (start, end, rows).
fn sessions(times: &[i64], gap: i64) -> Vec<(i64, i64, i64)> {
    let mut times = times.to_vec();
    times.sort_unstable();
    let mut sessions: Vec<(i64, i64, i64)> = Vec::new();
    for t in times {
        match sessions.last_mut() {
            Some((_, end, rows)) if t < *end => (*end, *rows) = (t + gap, *rows + 1),
            _ => sessions.push((t, t + gap, 1)),
        }
    }
    sessions
}

impl Part {
    fn idle_at(&self) -> Option<u64> {
        self.caught_up.then_some(self.last_record + IDLE_MS)
    }

    fn idle(&self, now: u64) -> bool {
        self.idle_at().is_some_and(|at| at <= now)
    }
}

fn key(key: u8) -> String {
    // Keys of one byte and longer ones go different ways.
    if key < 4 { key.to_string() } else { format!("k{key}") }
}

impl Setup {
    fn ends(&self, t: i64) -> Vec<i64> {
        (t + 1..=t + self.size)
            .filter(|end| (end - self.size - self.offset).rem_euclid(self.slide) == 0)
            .collect()
    }

    fn operator(&self) -> WindowOperator {
        let mut settings = WindowSettings::tumbling(1).unwrap();
        settings.key = vec!["value".into()];
        settings.shape = Shape::Grid(WindowGrid::new(self.size, self.slide, self.offset).unwrap());
        if let Some(gap) = self.gap {
            settings.shape = Shape::Session { gap };
        }
        settings.out_of_orderness = self.out_of_orderness;
        settings.lateness = self.lateness;
        settings.idle = Duration::from_millis(IDLE_MS);
        settings.max_skew = i64::MAX / 2;
        settings.max_keys = self.max_keys;
        settings.keep_seen = self.zero != Zero::Off && self.gap.is_none();
        if self.zero == Zero::Named && self.gap.is_none() {
            settings.keys = NAMED.iter().map(ToString::to_string).collect();
        }
        let aggregate = Box::new(Count { invertible: self.invertible });
        let input = Input { schema: schema(), given_by: "the test".into() };
        WindowOperator::new(settings, aggregate, &input).unwrap()
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8, true)]))
}

fn partition(index: usize) -> Partition {
    Partition::new("t", index as i32)
}

/// Rows as they were read, and what is left of them.
fn batch(index: usize, first_offset: usize, rows: &[(i64, u8)], replay: bool) -> (Batch, Batch) {
    let keys: StringArray = rows.iter().map(|(_, k)| Some(key(*k))).collect();
    let columns = RecordBatch::try_new(schema(), vec![Arc::new(keys)]).unwrap();
    let offsets = (first_offset as i64..).take(rows.len()).collect();
    let read = Batch::new(
        columns,
        rows.iter().map(|r| r.0).collect(),
        Origin { partition: partition(index), offsets, replay },
    )
    .unwrap();
    let keep: BooleanArray = rows.iter().map(|r| Some(r.1 != DROPPED)).collect();
    let kept = read.filter(&keep).unwrap();
    (read, kept)
}

impl Model {
    fn row(&mut self, setup: &Setup, index: usize, t: i64, k: u8) {
        let now = self.now;
        let mut others = Some(i64::MAX);
        for (i, part) in self.parts.iter().enumerate() {
            if i != index && !part.idle(now) {
                others = others.min(part.greatest);
            }
        }
        let own = self.parts[index].greatest;
        let least = own.zip(others).map(|(own, others)| own.min(others) - setup.out_of_orderness);
        let watermark = self.watermark.max(least).unwrap_or(i64::MIN);
        let ends = match setup.gap {
            _ if k == DROPPED => Vec::new(),
            None => setup.ends(t),
            Some(gap) => {
                let taken = self.taken.entry(key(k)).or_default();
                let goes_on = sessions(taken, gap).into_iter().find(|s| (s.0..s.1).contains(&t));
                vec![goes_on.map_or(t + gap, |s| s.1.max(t + gap))]
            }
        };
        let open: Vec<i64> = ends.into_iter().filter(|end| end + setup.lateness > watermark).collect();
        let part = &mut self.parts[index];
        if k == DROPPED {
            // Its time counts all the same.
        } else if open.is_empty() {
            self.late.push((index, part.rows.len() as i64));
        } else if setup.gap.is_some() {
            self.taken.entry(key(k)).or_default().push(t);
        } else {
            for end in open {
                *self.counts.entry(end).or_default().entry(key(k)).or_default() += 1;
            }
        }
        part.rows.push((t, k));
        part.greatest = part.greatest.max(Some(t));
        part.last_record = now;
    }

    fn advance(&mut self, setup: &Setup) {
        let now = self.now;
        let active: Vec<&Part> = self.parts.iter().filter(|p| !p.idle(now)).collect();
        if !active.is_empty() {
            self.resting = None;
            let least = active.iter().map(|p| p.greatest).min().flatten();
            self.watermark = self.watermark.max(least.map(|l| l - setup.out_of_orderness));
            return;
        }
        let Some(greatest) = self.parts.iter().filter_map(|p| p.greatest).max() else { return };
        let since = self.parts.iter().filter_map(Part::idle_at).max().unwrap();
        let stood = self.watermark.max(Some(greatest - setup.out_of_orderness)).unwrap();
        let (since, from) = *self.resting.get_or_insert((since, stood));
        self.watermark = self.watermark.max(Some(from + (now - since) as i64));
    }

    /// Holds what was given against what the naive operator expects.
    pub fn compare(setup: &Setup, model: &Self, given: &Given) -> Result<(), TestCaseError> {
        let mut late = given.late.clone();
        late.sort_unstable();
        let mut expected_late = model.late.clone();
        expected_late.sort_unstable();
        prop_assert_eq!(late, expected_late, "late rows");
        if let Some(gap) = setup.gap {
            return model.compare_sessions(gap, given);
        }
        if setup.lateness == 0 {
            let ends: Vec<i64> = given.results.iter().map(|r| r.0).collect();
            prop_assert!(ends.is_sorted_by(|a, b| a < b), "each window once, in order: {:?}", ends);
        }
        let last: BTreeMap<i64, BTreeMap<String, i64>> = given.results.iter().cloned().collect();
        if setup.lateness == 0 && setup.zero != Zero::Off {
            prop_assert_eq!(last, model.filled(setup), "results with zeros");
        } else {
            let without_zeros: BTreeMap<_, BTreeMap<_, _>> = last
                .into_iter()
                .map(|(end, row)| (end, row.into_iter().filter(|(_, n)| *n != 0).collect::<BTreeMap<_, _>>()))
                .filter(|(_, row)| !row.is_empty())
                .collect();
            prop_assert_eq!(without_zeros, model.counts.clone(), "results");
        }
        Ok(())
    }

    /// What was given last for each session is the whole of it; what was given before is a part.
    fn compare_sessions(&self, gap: i64, given: &Given) -> Result<(), TestCaseError> {
        let mut expected: Vec<(String, i64, i64, i64)> = self
            .taken
            .iter()
            .flat_map(|(key, times)| sessions(times, gap).into_iter().map(|s| (key.clone(), s.0, s.1, s.2)))
            .collect();
        let mut left = given.rows.clone();
        let mut last = Vec::new();
        while let Some((end, start, key, rows)) = left.pop() {
            let whole = expected.iter().find(|s| s.0 == key && s.1 <= start && end <= s.2);
            let Some(whole) = whole else {
                return Err(TestCaseError::fail(format!(
                    "{key} {start}..{end}={rows} is no part of a session"
                )));
            };
            prop_assert!(rows <= whole.3, "{} {}..{} has {} rows of {}", key, start, end, rows, whole.3);
            if !last.contains(whole) {
                prop_assert_eq!(&(key, start, end, rows), whole, "the last of a session is the whole");
                last.push(whole.clone());
            }
        }
        expected.sort();
        last.sort();
        prop_assert_eq!(last, expected, "sessions");
        let mut once = given.rows.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), given.rows.len(), "nothing is given twice");
        Ok(())
    }

    /// Every window from the first with a row to the last; a key stays once a window had it.
    fn filled(&self, setup: &Setup) -> BTreeMap<i64, BTreeMap<String, i64>> {
        let (Some((first, _)), Some((last, _))) =
            (self.counts.first_key_value(), self.counts.last_key_value())
        else {
            return BTreeMap::new();
        };
        let last = (*last)
            .max(self.watermark.map_or(*last, |w| first + (w - first).div_euclid(setup.slide) * setup.slide));
        let mut seen: BTreeSet<String> = BTreeSet::new();
        if setup.zero == Zero::Named {
            seen.extend(NAMED.iter().map(ToString::to_string));
        }
        let mut filled = BTreeMap::new();
        let mut end = *first;
        while end <= last {
            let counts = self.counts.get(&end).cloned().unwrap_or_default();
            seen.extend(counts.keys().cloned());
            filled
                .insert(end, seen.iter().map(|k| (k.clone(), counts.get(k).copied().unwrap_or(0))).collect());
            end += setup.slide;
        }
        filled
    }
}

fn collect(out: &mut WindowOutput, given: &mut Given) -> Result<u64, TestCaseError> {
    let out = std::mem::take(out);
    for batch in &out.results {
        let columns = batch.columns();
        let starts = columns.column(0).as_primitive::<TimestampMillisecondType>();
        let end = columns.column(1).as_primitive::<TimestampMillisecondType>().value(0);
        let keys = columns.column(2).as_string::<i32>();
        let counts = columns.column(3).as_primitive::<Int64Type>();
        let row: BTreeMap<String, i64> =
            keys.iter().map(|k| k.unwrap().to_owned()).zip(counts.values().iter().copied()).collect();
        for (i, key) in keys.iter().enumerate() {
            given.rows.push((end, starts.value(i), key.unwrap().to_owned(), counts.value(i)));
        }
        prop_assert!(
            columns.column(1).as_primitive::<TimestampMillisecondType>().iter().all(|e| e == Some(end))
        );
        prop_assert_eq!(row.len(), batch.rows(), "each key once");
        prop_assert!(batch.times().iter().all(|t| *t == end - 1));
        given.results.push((end, row));
    }
    for batch in &out.late {
        let index = batch.origin().partition.index as usize;
        given.late.extend(batch.origin().offsets.iter().map(|o| (index, *o)));
    }
    prop_assert!(out.rejected.is_empty());
    Ok(out.closed_rows)
}

/// Gives both operators the same input to its end.
pub fn run(setup: &Setup, start: i64, ops: &[Op]) -> Result<(Model, Given), TestCaseError> {
    let mut operator = setup.operator();
    let mut model = Model {
        parts: vec![Part::default(); setup.partitions],
        now: 0,
        watermark: None,
        resting: None,
        counts: BTreeMap::new(),
        taken: BTreeMap::new(),
        late: Vec::new(),
    };
    let (mut given, mut out, mut closed) = (Given::default(), WindowOutput::default(), 0);
    for index in 0..setup.partitions {
        operator.assign(partition(index), None, Duration::ZERO);
    }
    let mut t = start;
    let mut changelog = Changelog::new();
    for op in ops {
        let now = Duration::from_millis(model.now);
        match op {
            Op::Rows { partition: index, rows, cuts } => {
                let index = index % setup.partitions;
                let rows: Vec<(i64, u8)> = rows
                    .iter()
                    .map(|(step, k)| {
                        t += step;
                        (t, *k)
                    })
                    .collect();
                let mut cuts: Vec<usize> =
                    cuts.iter().map(|c| c % rows.len()).chain([0, rows.len()]).collect();
                cuts.sort_unstable();
                model.parts[index].caught_up = false;
                for cut in cuts.windows(2).filter(|c| c[0] < c[1]) {
                    let rows = &rows[cut[0]..cut[1]];
                    let (read, kept) = batch(index, model.parts[index].rows.len(), rows, false);
                    operator.caught_up(&partition(index), false, now);
                    operator.push(&kept, now, start, &mut out).unwrap();
                    let rejected = std::mem::take(&mut out.rejected);
                    let offset = |row: usize| (index, kept.origin().offsets[row]);
                    given.rejected.extend(rejected.rows().iter().map(|r| offset(r.row)));
                    operator.observe(&partition(index), read.times(), now, start);
                    operator.tick(now, start, &mut out).unwrap();
                    for (t, k) in rows {
                        model.row(setup, index, *t, *k);
                    }
                    model.advance(setup);
                }
            }
            Op::CaughtUp(index) => {
                let index = index % setup.partitions;
                operator.caught_up(&partition(index), true, now);
                let part = &mut model.parts[index];
                if !part.caught_up {
                    part.last_record = part.last_record.max(model.now);
                }
                part.caught_up = true;
            }
            Op::Wait(millis) => model.now += millis,
            Op::Save(index) => {
                let index = index % setup.partitions;
                save(&mut operator, index, model.parts[index].rows.len(), &mut changelog);
            }
            Op::Restart => {
                given.restarted = true;
                operator = restart(setup, &mut operator, &mut model, &mut given, &mut changelog)?;
            }
        }
        operator.tick(Duration::from_millis(model.now), start, &mut out).unwrap();
        model.advance(setup);
        prop_assert_eq!(operator.watermark(), model.watermark);
        closed += collect(&mut out, &mut given)?;
        let pushed = model.parts.iter().flat_map(|p| &p.rows).filter(|row| row.1 != DROPPED).count();
        let accounted = closed + operator.in_flight_rows() + (given.late.len() + given.rejected.len()) as u64;
        if given.is_exact(setup) {
            prop_assert_eq!(pushed as u64, accounted, "the balance");
        }
    }
    operator.finish(&mut out).unwrap();
    collect(&mut out, &mut given)?;
    operator.finish(&mut out).unwrap();
    prop_assert!(out.results.is_empty(), "the end of the data has given all of it");
    Ok((model, given))
}

/// Writes a partition's state to the changelog: what has changed, and nothing of what is no more.
fn save(operator: &mut WindowOperator, index: usize, next: usize, changelog: &mut Changelog) {
    assert!(operator.can_save(&partition(index)));
    let parts = operator.save(&partition(index), next as i64);
    changelog.retain(|(of, name), _| *of != index || name == "keys" || parts.iter().any(|p| p.name == *name));
    for part in parts {
        match part.pieces {
            Some(pieces) => _ = changelog.insert((index, part.name), pieces),
            None => assert!(changelog.contains_key(&(index, part.name))),
        }
    }
}

/// A new operator that gets back what was committed, and the rows that are read again.
fn restart(
    setup: &Setup,
    old: &mut WindowOperator,
    model: &mut Model,
    given: &mut Given,
    changelog: &mut Changelog,
) -> Result<WindowOperator, TestCaseError> {
    let mut operator = setup.operator();
    let mut out = WindowOutput::default();
    let now = Duration::from_millis(model.now);
    let mut lows = Vec::new();
    for (index, part) in model.parts.iter_mut().enumerate() {
        if let Some(piece) = old.save_keys(&partition(index)) {
            changelog.entry((index, "keys".to_owned())).or_default().push(piece);
        }
        let next = part.rows.len() as i64;
        let low = old.low(&partition(index), next);
        let restored: Restored = old.note(&partition(index), next, low, 1024).0.to_string().parse().unwrap();
        prop_assert_eq!(restored.pos as usize, part.rows.len());
        operator.assign(partition(index), Some(restored.clone()), now);
        part.greatest = restored.watermark.map(|w| w + setup.out_of_orderness);
        lows.push(low as usize);
        for ((_, name), pieces) in changelog.range((index, String::new())..(index + 1, String::new())) {
            let kept = if name == "keys" { restored.keys_saved } else { restored.saved.is_some() };
            prop_assert!(kept, "the position says that the changelog has {}", name);
            for piece in pieces {
                operator.load(&partition(index), piece).unwrap();
            }
        }
    }
    for (index, (part, low)) in model.parts.iter_mut().zip(lows).enumerate() {
        let again = part.rows[low..].to_vec();
        // In two batches, with time for a window to close too early between them.
        for (first, rows) in
            [(low, &again[..again.len() / 2]), (low + again.len() / 2, &again[again.len() / 2..])]
        {
            if let Some(greatest) = rows.iter().map(|r| r.0).max() {
                let (read, kept) = batch(index, first, rows, true);
                operator.push(&kept, now, 0, &mut out).unwrap();
                operator.observe(&partition(index), read.times(), now, 0);
                operator.tick(now, 0, &mut out).unwrap();
                part.greatest = part.greatest.max(Some(greatest));
            }
        }
        part.last_record = model.now;
    }
    model.resting = None;
    for (index, part) in model.parts.iter_mut().enumerate() {
        operator.caught_up(&partition(index), true, now);
        part.caught_up = true;
    }
    collect(&mut out, given)?;
    let (back, before) = (operator.in_flight_rows(), old.in_flight_rows());
    if given.is_exact(setup) {
        prop_assert_eq!(back, before, "open panes are rebuilt");
    } else {
        prop_assert!(back >= before, "open sessions are rebuilt");
    }
    Ok(operator)
}
