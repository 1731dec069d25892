//! What a row costs and what is held must not grow with the time that a window step has run: a soak in event
//! time, for every kind of window. What is looked at is counted, so no machine is too slow for it.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::{Ran, Shape, WindowOperator, WindowOutput, WindowSettings, work};
use crate::batch::{Batch, Origin, Partition};
use crate::plugin::fold::{self, Fold, Text};
use crate::plugin::{Aggregate, Input};
use crate::time::WindowGrid;

const KEYS: usize = 20;
const ROWS_A_SECOND: i64 = 100;
/// The seconds of a stretch.
const STRETCH: i64 = 50;

/// The rows whose text is not empty, which can be taken out again.
#[derive(Default, Clone, Serialize, Deserialize)]
pub(super) struct Number(i64);

impl Fold for Number {
    type Value = Text;
    type Output = i64;
    const REMOVES: bool = true;

    fn add(&mut self, _: &str) {
        self.0 += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.0 += other.0;
    }

    fn remove(&mut self, other: &Self) {
        self.0 -= other.0;
    }

    fn finish(&self) -> Option<i64> {
        Some(self.0)
    }
}

/// The greatest length, which cannot.
#[derive(Default, Clone, Serialize, Deserialize)]
struct Longest(Option<usize>);

impl Fold for Longest {
    type Value = Text;
    type Output = i64;

    fn add(&mut self, text: &str) {
        self.0 = self.0.max(Some(text.len()));
    }

    fn merge(&mut self, other: &Self) {
        self.0 = self.0.max(other.0);
    }

    fn finish(&self) -> Option<i64> {
        self.0.map(|len| len as i64)
    }
}

pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8, true)]))
}

/// Rows of one second, from `second` on: keys at random, and one row in ten up to five seconds behind.
fn rows(second: i64, state: &mut u64) -> Batch {
    let mut random = || {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) as usize
    };
    let (mut keys, mut times) = (Vec::new(), Vec::new());
    for row in 0..ROWS_A_SECOND {
        let behind = if random() % 10 == 0 { random() as i64 % 5_000 } else { 0 };
        keys.push(format!("key-{}", random() % KEYS));
        times.push(second * 1000 + row * 1000 / ROWS_A_SECOND - behind);
    }
    let columns = RecordBatch::try_new(schema(), vec![Arc::new(StringArray::from(keys))]).unwrap();
    let first = second * ROWS_A_SECOND;
    let origin = Origin {
        partition: Partition::new("t", 0),
        offsets: (first..first + ROWS_A_SECOND).collect(),
        replay: false,
    };
    Batch::new(columns, times.into(), origin).unwrap()
}

/// Runs a step for so many stretches of event time; gives for each how much was looked at a row, and what was
/// held at its end.
fn soak(settings: WindowSettings, aggregate: Box<dyn Aggregate>, stretches: i64) -> Vec<(f64, [u64; 3])> {
    let input = Input { schema: schema(), given_by: "the test".into() };
    let settings = WindowSettings { key: vec!["value".into()], ..settings };
    let mut operator = WindowOperator::new(settings, aggregate, &input).unwrap();
    let partition = Partition::new("t", 0);
    operator.assign(partition.clone(), None, Duration::ZERO);
    let (mut state, mut out, mut measured) = (1, WindowOutput::default(), Vec::new());
    work::take();
    for second in 0..stretches * STRETCH {
        let batch = rows(second, &mut state);
        let now = Duration::from_secs(second as u64);
        operator.push(&batch, now, i64::MAX / 2, &mut out).unwrap();
        operator.observe(&partition, batch.times(), now, i64::MAX / 2);
        operator.tick(now, i64::MAX / 2, &mut out).unwrap();
        out = WindowOutput::default();
        // As a commit does.
        let next = (second + 1) * ROWS_A_SECOND;
        let low = operator.low(&partition, next);
        let (restored, _) = operator.note(&partition, next, low, 1024);
        if second % STRETCH == STRETCH - 1 {
            let looked_at = work::take() as f64 / (STRETCH * ROWS_A_SECOND) as f64;
            let held = [operator.held() as u64, operator.state_bytes(), restored.to_string().len() as u64];
            measured.push((looked_at, held));
        }
    }
    measured
}

pub(super) fn grid(size: i64, slide: i64) -> WindowSettings {
    let shape = Shape::Grid(WindowGrid::new(size, slide, 0).unwrap());
    WindowSettings { shape, ..WindowSettings::tumbling(1).unwrap() }
}

pub(super) fn session(gap: i64) -> WindowSettings {
    WindowSettings { shape: Shape::Session { gap }, ..grid(1, 1) }
}

#[test]
fn what_a_row_costs_and_what_is_held_stay_the_same_for_every_kind_of_window() {
    let every = Some(Duration::from_secs(1));
    let late = |settings: WindowSettings| WindowSettings { lateness: 20_000, ..settings };
    let filled = |settings: WindowSettings| WindowSettings { keep_seen: true, ..settings };
    let kinds = [
        ("tumbling", grid(1000, 1000)),
        ("tumbling, late rows", late(grid(1000, 1000))),
        ("tumbling, out of order", WindowSettings { out_of_orderness: 10_000, ..grid(1000, 1000) }),
        ("tumbling, zeros", filled(grid(1000, 1000))),
        ("tumbling, zeros, late rows", late(filled(grid(1000, 1000)))),
        ("tumbling, updates", WindowSettings { every, ..late(grid(10_000, 10_000)) }),
        ("sliding", grid(20_000, 1000)),
        ("sliding, late rows", late(grid(10_000, 1000))),
        ("sliding, zeros", filled(grid(20_000, 1000))),
        ("sliding, updates", WindowSettings { every, ..late(grid(10_000, 1000)) }),
        ("sessions", session(300)),
        ("sessions, late rows", late(session(300))),
        ("long sessions, late rows", late(session(3000))),
        ("sessions, updates", WindowSettings { every, ..late(session(300)) }),
    ];
    for (name, settings) in kinds {
        for (aggregate, removes) in
            [(fold::aggregate::<Number>("n", 0), true), (fold::aggregate::<Longest>("n", 0), false)]
        {
            let stretches = soak(settings.clone(), aggregate, 6);
            // Before the second, what is kept for late rows is not all there yet.
            let (early, last) = (stretches[1], stretches[5]);
            let name = format!("{name}, removes: {removes}: {stretches:?}");
            assert!(last.0 <= early.0 * 1.1 + 0.1, "what is looked at a row grows: {name}");
            for (early, last) in early.1.iter().zip(last.1) {
                assert!(last as f64 <= *early as f64 * 1.3 + 64.0, "what is held grows: {name}");
            }
        }
    }
}

/// The cost of a session does not depend on how many others of its key are kept for late rows.
#[test]
fn a_session_costs_the_same_however_long_others_are_kept_for_late_rows() {
    let looked_at = |lateness| {
        let settings = WindowSettings { lateness, ..session(300) };
        soak(settings, fold::aggregate::<Number>("n", 0), 4)[3].0
    };
    let (short, long) = (looked_at(10_000), looked_at(100_000));
    assert!(long <= short * 1.5, "{short} with 10 s of lateness, {long} with 100 s");
}

/// Rows of long silences with one row in two behind the one before it: each such row closes what is due
/// before it comes in.
#[test]
fn a_catch_up_holds_few_results_at_once_where_batches_are_taken_in_by_parts() {
    const MOST: usize = 1000;
    let settings = WindowSettings { keep_seen: true, ..grid(600_000, 1000) };
    // The most results of one call, and all of them.
    let results = |most: usize| {
        let input = Input { schema: schema(), given_by: "the test".into() };
        let settings = WindowSettings { key: vec!["value".into()], ..settings.clone() };
        let mut operator = WindowOperator::new(settings, fold::aggregate::<Number>("n", 0), &input).unwrap();
        let partition = Partition::new("t", 0);
        operator.assign(partition.clone(), None, Duration::ZERO);
        let rows: Vec<(String, i64)> = (0..50)
            .map(|key| (format!("key-{key}"), 0))
            .chain((0..400).map(|row| (format!("key-{}", row % 50), row / 2 * 20_000 - row % 2 * 1500)))
            .collect();
        let columns = RecordBatch::try_new(
            schema(),
            vec![Arc::new(StringArray::from_iter_values(rows.iter().map(|(key, _)| key)))],
        );
        let offsets = (0..rows.len() as i64).collect();
        let origin = Origin { partition: partition.clone(), offsets, replay: false };
        let times = rows.iter().map(|(_, time)| *time).collect();
        let mut rest = Some(Batch::new(columns.unwrap(), times, origin).unwrap());
        let (mut held, mut all) = (0, 0);
        let mut out = WindowOutput::default();
        let mut count = |out: &mut WindowOutput| {
            let rows: usize = std::mem::take(&mut out.results).iter().map(Batch::rows).sum();
            (held, all) = (rows.max(held), all + rows);
        };
        while let Some(batch) = rest.take() {
            let row = operator.rows_at_once(&batch, most);
            assert!(row > 0);
            let (part, behind) = batch.split(row);
            rest = (!behind.is_empty()).then_some(behind);
            operator.push(&part, Duration::ZERO, i64::MAX / 2, &mut out).unwrap();
            operator.observe(&partition, part.times(), Duration::ZERO, i64::MAX / 2);
            count(&mut out);
            while operator.tick(Duration::ZERO, i64::MAX / 2, &mut out).unwrap() == Ran::More {
                count(&mut out);
            }
        }
        count(&mut out);
        (held, all)
    };
    let ((held, all), (held_whole, all_whole)) = (results(MOST), results(usize::MAX));
    assert_eq!(all, all_whole);
    assert!(all > 150_000 && held_whole > 100_000, "{held_whole} of {all_whole}");
    // The row that makes them due ends its part; what it makes due by itself is 20 windows.
    assert!(held <= 2 * MOST, "{held}");
}
