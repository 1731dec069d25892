//! What a row costs in the window operator, beside a bare loop over the same Arrow column in the same run.
//!
//! `cargo bench -p pipectl-framework --bench window_operator`. Quote the ratios: the figures are this
//! machine's.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)] // a program that prints figures

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use hashbrown::HashMap;
use pipectl_framework::batch::{Batch, Origin, Partition};
use pipectl_framework::plugin::fold::{self, Fold, Text};
use pipectl_framework::plugin::{BindContext, Input, Purpose, Registry, WindowPlugin};
use pipectl_framework::time::WindowGrid;
use pipectl_framework::window::{Shape, WindowOperator, WindowOutput, WindowSettings};

// The plugin as it ships; this crate cannot depend on the one that has it.
#[allow(dead_code, unused_imports, reason = "its tests and its registration are not used here")]
#[path = "../../plugins/src/window/count_by_key.rs"]
mod count_by_key;

const BATCH: usize = 8192;
const ROUNDS: usize = 5;

/// Rows, `per_second` of them to a second of event time.
fn input(keys: &[String], batches: usize, per_second: i64) -> Vec<Batch> {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8, true)]));
    let partition = Partition::new("t", 0);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..batches)
        .map(|b| {
            let column: StringArray = (0..BATCH)
                .map(|_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    Some(keys[(state >> 33) as usize % keys.len()].as_str())
                })
                .collect();
            let columns = RecordBatch::try_new(schema.clone(), vec![Arc::new(column)]).unwrap();
            let rows = (b * BATCH) as i64..((b + 1) * BATCH) as i64;
            let times = rows.clone().map(|row| row * 1000 / per_second).collect();
            let origin = Origin { partition: partition.clone(), offsets: rows.collect(), replay: false };
            Batch::new(columns, times, origin).unwrap()
        })
        .collect()
}

/// The greatest length of a text: an aggregate that cannot be taken back.
#[derive(Default, Clone, serde::Serialize, serde::Deserialize)]
struct Longest(Option<i64>);

impl Fold for Longest {
    type Value = Text;
    type Output = i64;

    fn add(&mut self, text: &str) {
        self.0 = self.0.max(Some(text.len() as i64));
    }

    fn merge(&mut self, other: &Self) {
        self.0 = self.0.max(other.0);
    }

    fn finish(&self) -> Option<i64> {
        self.0
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Count,
    Longest,
}

fn operator(schema: &SchemaRef, shape: Shape, kind: Kind) -> WindowOperator {
    let mut settings = WindowSettings::tumbling(1).unwrap();
    settings.shape = shape;
    operator_of(schema, settings, kind)
}

fn operator_of(schema: &SchemaRef, mut settings: WindowSettings, kind: Kind) -> WindowOperator {
    settings.key = vec!["value".into()];
    let input = Input { schema: schema.clone(), given_by: "the benchmark".into() };
    let aggregate = match kind {
        Kind::Count => {
            let plugin: count_by_key::CountByKey = serde_json::from_str("{}").unwrap();
            let context = BindContext {
                registry: &Registry::default(),
                base: Path::new("."),
                connections: &[],
                purpose: Purpose::Check,
            };
            plugin.bind(&input, &context).unwrap().aggregate
        }
        Kind::Longest => fold::aggregate::<Longest>("longest", 0),
    };
    let mut operator = WindowOperator::new(settings, aggregate, &input).unwrap();
    operator.assign(Partition::new("t", 0), None, Duration::ZERO);
    operator
}

fn grid(size: i64, slide: i64) -> Shape {
    Shape::Grid(WindowGrid::new(size, slide, 0).unwrap())
}

/// The batches as they come from a source: nobody has looked at their times yet.
fn fresh(batches: &[Batch]) -> Vec<Batch> {
    let fresh = |b: &Batch| b.clone().with_times(b.times().values().clone().into()).unwrap();
    batches.iter().map(fresh).collect()
}

/// The operator over all batches: nanoseconds a row, and the results.
fn windowed(batches: &[Batch], shape: Shape, kind: Kind) -> (f64, usize) {
    let mut best = f64::MAX;
    let mut results = 0;
    for _ in 0..ROUNDS {
        let mut operator = operator(&batches[0].schema(), shape, kind);
        let batches = fresh(batches);
        let mut out = WindowOutput::default();
        let partition = Partition::new("t", 0);
        results = 0;
        let started = Instant::now();
        for batch in &batches {
            operator.push(batch, Duration::ZERO, i64::MAX / 2, &mut out).unwrap();
            operator.observe(&partition, batch.times(), Duration::ZERO, i64::MAX / 2);
            operator.tick(Duration::ZERO, i64::MAX / 2, &mut out).unwrap();
            results += std::mem::take(&mut out).results.len();
        }
        best = best.min(per_row(started, &batches));
    }
    (best, results)
}

/// What a key costs, in bytes of resident memory: in the operator, in a plain hash map that owns its keys,
/// and in one that borrows them.
fn memory(batches: &[Batch], keys: usize) -> [f64; 3] {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        statm.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).unwrap_or(0.0) * 4096.0
    };
    let before = resident();
    let mut operator = operator(&batches[0].schema(), grid(86_400_000, 86_400_000), Kind::Count);
    let mut out = WindowOutput::default();
    for batch in batches {
        operator.push(batch, Duration::ZERO, i64::MAX / 2, &mut out).unwrap();
    }
    let windowed = resident();
    let mut owned: HashMap<String, u64, foldhash::fast::FixedState> = HashMap::default();
    for key in batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>()).flatten() {
        *owned.entry_ref(key).or_default() += 1;
    }
    let with_owned = resident();
    let mut borrowed: HashMap<&str, u64, foldhash::fast::FixedState> = HashMap::default();
    for key in batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>()).flatten() {
        *borrowed.entry(key).or_default() += 1;
    }
    let with_borrowed = resident();
    black_box((operator.in_flight_rows(), owned.len(), borrowed.len()));
    [windowed - before, with_owned - windowed, with_borrowed - with_owned].map(|bytes| bytes / keys as f64)
}

/// A bare loop: a table for keys of one byte, else a hash map from key to count; no windows, no time.
fn bare(batches: &[Batch], one_byte: bool) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        if one_byte {
            let mut counts = [0_u64; 256];
            for batch in batches {
                let column = batch.column(0).as_string::<i32>();
                for row in 0..column.len() {
                    counts[usize::from(column.value(row).as_bytes()[0])] += 1;
                }
            }
            black_box(counts);
        } else {
            let mut counts: HashMap<&str, u64, foldhash::fast::FixedState> = HashMap::default();
            for batch in batches {
                for key in batch.column(0).as_string::<i32>().iter().flatten() {
                    *counts.entry(key).or_default() += 1;
                }
            }
            black_box(counts.len());
        }
        best = best.min(per_row(started, batches));
    }
    best
}

fn per_row(started: Instant, batches: &[Batch]) -> f64 {
    started.elapsed().as_nanos() as f64 / (batches.len() * BATCH) as f64
}

/// A million keys, each once.
fn print_memory() {
    let keys: Vec<String> = (0..1_000_000).map(|k| format!("user-{k}")).collect();
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8, true)]));
    let batches: Vec<Batch> = keys
        .chunks(BATCH)
        .enumerate()
        .map(|(b, keys)| {
            let column: StringArray = keys.iter().map(Some).collect();
            let columns = RecordBatch::try_new(schema.clone(), vec![Arc::new(column)]).unwrap();
            let offsets = (0..keys.len() as i64).map(|i| (b * BATCH) as i64 + i).collect();
            let origin = Origin { partition: Partition::new("t", 0), offsets, replay: false };
            Batch::new(columns, vec![0; keys.len()].into(), origin).unwrap()
        })
        .collect();
    let [windowed, owned, borrowed] = memory(&batches, keys.len());
    println!(
        "1M keys  bytes a key: operator {windowed:.0}; hash map of String {owned:.0} ({:.2} x), of &str {borrowed:.0} ({:.2} x)",
        windowed / owned,
        windowed / borrowed
    );
}

/// Sessions that are kept for late rows: 500 keys, 2,000 rows a second of event time. A row must not cost
/// more the longer it goes on.
fn print_kept_sessions() {
    let keys: Vec<String> = (0..500).map(|k| format!("key-{k}")).collect();
    let batches = fresh(&input(&keys, 488, 2000));
    let mut settings = WindowSettings::tumbling(1).unwrap();
    settings.shape = Shape::Session { gap: 1000 };
    settings.lateness = 600_000;
    let mut operator = operator_of(&batches[0].schema(), settings, Kind::Count);
    let (mut out, partition) = (WindowOutput::default(), Partition::new("t", 0));
    let started = Instant::now();
    for (index, batch) in batches.iter().enumerate() {
        operator.push(batch, Duration::ZERO, i64::MAX / 2, &mut out).unwrap();
        operator.observe(&partition, batch.times(), Duration::ZERO, i64::MAX / 2);
        operator.tick(Duration::ZERO, i64::MAX / 2, &mut out).unwrap();
        out = WindowOutput::default();
        if [60, 121, 243, 487].contains(&index) {
            let rows = (index + 1) * BATCH;
            let seconds = started.elapsed().as_secs_f64();
            println!("500 keys sessions, gap 1s, lateness 10m: {rows} rows, {seconds:.2} s in all");
        }
    }
}

fn main() {
    // First, while no memory is left over from anything else.
    print_memory();
    print_kept_sessions();
    let short: Vec<String> = ["0", "1", "2"].map(String::from).to_vec();
    let provinces: Vec<String> = (0..34).map(|k| format!("省份{k}")).collect();
    let many: Vec<String> = (0..1_000_000).map(|k| format!("user-{k}")).collect();
    println!("ns a row, best of {ROUNDS}; batches of {BATCH}; 50,000 rows a second of event time");
    for (name, keys, batches) in
        [("3 keys", &short, 600), ("34 keys", &provinces, 300), ("1M keys", &many, 250)]
    {
        let batches = input(keys, batches, 50_000);
        let bare = bare(&batches, keys.len() == 3);
        println!("{name:<8} bare loop              {bare:7.2}");
        let say = |what: &str, (ns, results): (f64, usize), tumbling: f64| {
            let beside =
                if tumbling > 0.0 { format!(", {:5.2} x tumbling", ns / tumbling) } else { String::new() };
            println!("{name:<8} {what:<22} {ns:7.2}  {:5.2} x bare{beside}, {results} results", ns / bare);
            ns
        };
        let tumbling = say("tumbling 1s", windowed(&batches, grid(1000, 1000), Kind::Count), 0.0);
        say("tumbling 1h", windowed(&batches, grid(3_600_000, 3_600_000), Kind::Count), 0.0);
        if keys.len() > 1000 {
            say("sessions, gap 10s", windowed(&batches, Shape::Session { gap: 10_000 }, Kind::Count), 0.0);
            continue;
        }
        say("sliding 1h/1s", windowed(&batches, grid(3_600_000, 1000), Kind::Count), tumbling);
        let longest = windowed(&batches, grid(1000, 1000), Kind::Longest);
        let longest = say("longest, tumbling 1s", longest, 0.0);
        say("longest, sliding 1h/1s", windowed(&batches, grid(3_600_000, 1000), Kind::Longest), longest);
        say("sessions, gap 10s", windowed(&batches, Shape::Session { gap: 10_000 }, Kind::Count), 0.0);
    }
}
