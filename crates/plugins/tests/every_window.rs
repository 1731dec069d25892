//! Every aggregate in every kind of window, against the same aggregate over just the rows that are in the
//! window: nothing is lost by panes, sums that are taken back, two stacks, sessions that become one, or rows
//! of several partitions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that meets one of these has failed")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use pipectl_framework::batch::{Batch, Origin, Partition};
use pipectl_framework::plugin::{
    Aggregate, BindContext, Groups, Input, Purpose, Registry, Rows, row_to_json,
};
use pipectl_framework::time::WindowGrid;
use pipectl_framework::window::{Shape, WindowOperator, WindowOutput, WindowSettings};
use pipectl_plugins as _;
use proptest::prelude::*;
use serde_json::{Value, json};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("integer", DataType::Int64, true),
        Field::new("number", DataType::Float64, true),
        Field::new("flag", DataType::Boolean, true),
    ]))
}

#[derive(Debug, Clone)]
struct Row {
    partition: i32,
    t: i64,
    key: u8,
    text: Option<String>,
    integer: Option<i64>,
    number: Option<f64>,
    flag: Option<bool>,
}

fn columns(rows: &[Row]) -> RecordBatch {
    let keys: StringArray = rows.iter().map(|r| Some(format!("k{}", r.key))).collect();
    let texts: StringArray = rows.iter().map(|r| r.text.as_deref()).collect();
    let integers: Int64Array = rows.iter().map(|r| r.integer).collect();
    let numbers: Float64Array = rows.iter().map(|r| r.number).collect();
    let flags: BooleanArray = rows.iter().map(|r| r.flag).collect();
    let columns: Vec<arrow_array::ArrayRef> =
        vec![Arc::new(keys), Arc::new(texts), Arc::new(integers), Arc::new(numbers), Arc::new(flags)];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        0_i32..2,
        0_i64..4,
        0_u8..3,
        prop::option::weighted(0.9, "[abc]{0,2}"),
        prop::option::weighted(0.9, -50_i64..50),
        prop::option::weighted(0.9, -1e6..1e6_f64),
        prop::option::weighted(0.9, any::<bool>()),
    );
    prop::collection::vec(row, 1..60).prop_map(|rows| {
        let mut t = 0;
        rows.into_iter()
            .map(|(partition, step, key, text, integer, number, flag)| {
                t += step;
                Row { partition, t, key, text, integer, number, flag }
            })
            .collect()
    })
}

fn shapes() -> [Shape; 4] {
    [
        Shape::Grid(WindowGrid::new(5, 5, 0).unwrap()),
        Shape::Grid(WindowGrid::new(9, 3, 1).unwrap()),
        Shape::Grid(WindowGrid::new(10, 4, 0).unwrap()),
        Shape::Session { gap: 3 },
    ]
}

/// The windows of each key that have rows: (end, start, key) to the rows.
fn windows(shape: Shape, rows: &[Row]) -> BTreeMap<(i64, i64, String), Vec<Row>> {
    let mut windows: BTreeMap<(i64, i64, String), Vec<Row>> = BTreeMap::new();
    let mut sessions: BTreeMap<u8, Vec<Vec<Row>>> = BTreeMap::new();
    for row in rows {
        match shape {
            Shape::Grid(grid) => {
                let mut end = grid.first_end(row.t);
                while end <= grid.last_end(row.t) {
                    let window = (end, end - grid.size(), format!("k{}", row.key));
                    windows.entry(window).or_default().push(row.clone());
                    end += grid.slide();
                }
            }
            Shape::Session { gap } => {
                let sessions = sessions.entry(row.key).or_default();
                match sessions.last_mut() {
                    Some(session) if row.t < session.last().unwrap().t + gap => session.push(row.clone()),
                    _ => sessions.push(vec![row.clone()]),
                }
            }
        }
    }
    if let Shape::Session { gap } = shape {
        for session in sessions.into_values().flatten() {
            let (first, last) = (&session[0], session.last().unwrap());
            windows.insert((last.t + gap, first.t, format!("k{}", first.key)), session.clone());
        }
    }
    windows
}

/// What the aggregate gives for these rows alone, a value for each row of its result.
fn direct(aggregate: &dyn Aggregate, rows: &[Row]) -> Vec<Value> {
    let mut state = aggregate.state();
    let ids = vec![0; rows.len()];
    state.add(&columns(rows), Groups { ids: &ids, rows: Rows::From(0), count: 1 });
    let results = state.finish(&[0], &[rows.len() as i64]).unwrap();
    let results = RecordBatch::try_new(Arc::new(Schema::new(aggregate.fields())), results.columns).unwrap();
    (0..results.num_rows()).map(|row| row_to_json(&results, row)).collect()
}

/// What the operator gives: each window's result as it was given last.
fn windowed(
    shape: Shape,
    aggregate: Box<dyn Aggregate>,
    rows: &[Row],
) -> BTreeMap<(i64, i64, String), Vec<Value>> {
    let mut settings = WindowSettings::tumbling(1).unwrap();
    settings.shape = shape;
    settings.key = vec!["key".into()];
    let input = Input { schema: schema(), given_by: "the test".into() };
    let mut operator = WindowOperator::new(settings, aggregate, &input).unwrap();
    let mut out = WindowOutput::default();
    let partition = |index| Partition::new("t", index);
    (0..2).for_each(|index| operator.assign(partition(index), None, Duration::ZERO));
    let mut given: BTreeMap<(i64, i64, String), Vec<Value>> = BTreeMap::new();
    let mut collect = |out: &mut WindowOutput| {
        let out = std::mem::take(out);
        assert!(out.late.is_empty() && out.rejected.is_empty(), "times rise, so nothing is late");
        for batch in &out.results {
            for row in 0..batch.rows() {
                let Value::Object(mut row) = row_to_json(batch.columns(), row) else { panic!("no row") };
                let mut take = |name: &str| row.shift_remove(name).unwrap();
                let window = (
                    take("window_end").as_i64().unwrap(),
                    take("window_start").as_i64().unwrap(),
                    take("key").as_str().unwrap().to_owned(),
                );
                given.entry(window).or_default().push(Value::Object(row));
            }
        }
    };
    for (offset, row) in rows.iter().enumerate() {
        let origin = Origin {
            partition: partition(row.partition),
            offsets: vec![offset as i64].into(),
            replay: false,
        };
        let batch = Batch::new(columns(std::slice::from_ref(row)), vec![row.t].into(), origin).unwrap();
        operator.push(&batch, Duration::ZERO, 0, &mut out).unwrap();
        // One partition's rows move time on for both.
        (0..2).for_each(|index| operator.observe(&partition(index), batch.times(), Duration::ZERO, 0));
        operator.tick(Duration::ZERO, 0, &mut out).unwrap();
        collect(&mut out);
    }
    operator.finish(&mut out).unwrap();
    collect(&mut out);
    operator.finish(&mut out).unwrap();
    assert!(out.results.is_empty(), "the end of the data has given all of it");
    given
}

fn aggregates() -> Vec<(&'static str, Value)> {
    vec![
        ("count-by-key", json!({})),
        ("sum", json!({ "field": "integer" })),
        ("sum", json!({ "field": "number" })),
        ("avg", json!({ "field": "integer" })),
        ("avg", json!({ "field": "number" })),
        ("min", json!({ "field": "integer" })),
        ("max", json!({ "field": "number" })),
        ("count-distinct", json!({ "field": "text" })),
        ("count-distinct", json!({ "field": "integer", "approximate": true })),
        ("quantiles", json!({ "field": "number" })),
        ("top-k", json!({ "field": "text", "k": 2 })),
        (
            "rate",
            json!({ "of": { "field": "flag", "equals": true }, "per": { "field": "flag", "equals": false } }),
        ),
        ("aggregates", json!({ "columns": { "n": "count", "s": { "sum": { "field": "integer" } } } })),
        ("aggregates", json!({ "columns": { "m": { "min": { "field": "number" } }, "n": "count" } })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_window_gives_what_its_rows_give(rows in rows()) {
        let registry = Registry::collect().unwrap();
        let context = BindContext { registry: &registry, base: Path::new("."), connections: &[], purpose: Purpose::Check };
        let input = Input { schema: schema(), given_by: "the test".into() };
        for (name, settings) in aggregates() {
            let bind = || context.aggregate("with", name, &settings, &input).unwrap().aggregate;
            for shape in shapes() {
                let expected: BTreeMap<_, _> = windows(shape, &rows)
                    .into_iter()
                    .map(|(window, rows)| (window, direct(&*bind(), &rows)))
                    .filter(|(_, rows)| !rows.is_empty())
                    .collect();
                let given = windowed(shape, bind(), &rows);
                prop_assert_eq!(given, expected, "{} {} in {:?}", name, settings, shape);
            }
        }
    }
}
