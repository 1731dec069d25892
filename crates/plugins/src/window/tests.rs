//! Every aggregate under the laws, and its results against a loop.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use pipectl_framework::plugin::{
    Aggregate, BindContext, BoundWindow, Groups, Input, Problem, Purpose, Registry, Rows, row_to_json,
};
use pipectl_framework::testing::laws;
use proptest::prelude::*;
use serde_json::{Value, json};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("text", DataType::Utf8, true),
        Field::new("integer", DataType::Int64, true),
        Field::new("number", DataType::Float64, true),
        Field::new("flag", DataType::Boolean, true),
    ]))
}

fn bind(name: &str, settings: &Value) -> Result<BoundWindow, Problem> {
    let registry = Registry::collect().unwrap();
    let context =
        BindContext { registry: &registry, base: Path::new("."), connections: &[], purpose: Purpose::Check };
    let input = Input { schema: schema(), given_by: "the test".into() };
    context.aggregate("with", name, settings, &input)
}

fn aggregate(name: &str, settings: &Value) -> Box<dyn Aggregate> {
    bind(name, settings).unwrap_or_else(|problem| panic!("{name}: {problem:?}")).aggregate
}

/// Every aggregate, in every variant.
fn all() -> Vec<(&'static str, Value)> {
    let mut all = vec![
        ("count-by-key", json!({})),
        ("count", json!({})),
        ("count-distinct", json!({ "field": "text" })),
        ("count-distinct", json!({ "field": "number", "approximate": true })),
        ("count-distinct", json!({ "field": "integer", "approximate": true })),
        ("count-distinct", json!({ "field": "flag" })),
        ("quantiles", json!({ "field": "number" })),
        ("quantiles", json!({ "field": "integer", "of": [0, 0.999, 1] })),
        ("top-k", json!({ "field": "text", "k": 2 })),
        ("top-k", json!({ "field": "number", "k": 1 })),
        ("rate", json!({ "of": { "field": "flag", "equals": true } })),
        (
            "rate",
            json!({ "of": { "field": "text", "in": ["a", "b"] }, "per": { "field": "text", "equals": "a", "not": true } }),
        ),
        ("aggregates", json!({ "columns": { "n": "count", "s": { "sum": { "field": "number" } } } })),
        (
            "aggregates",
            json!({ "columns": { "m": { "min": { "field": "number" } }, "q": { "quantiles": { "field": "integer" } } } }),
        ),
    ];
    for name in ["sum", "avg", "min", "max"] {
        all.push((name, json!({ "field": "integer" })));
        all.push((name, json!({ "field": "number" })));
    }
    all
}

type Row = (Option<String>, Option<i64>, Option<f64>, Option<bool>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let number = prop_oneof![
        4 => (-1000_i32..1000).prop_map(|n| f64::from(n) / 8.0),
        2 => -1e9..1e9,
        1 => Just(0.0),
    ];
    prop::collection::vec(
        (
            prop::option::weighted(0.9, "[abc]{0,2}"),
            prop::option::weighted(0.9, -50_i64..50),
            prop::option::weighted(0.9, number),
            prop::option::weighted(0.9, any::<bool>()),
        ),
        0..60,
    )
}

fn batch(rows: &[Row]) -> RecordBatch {
    let text: StringArray = rows.iter().map(|r| r.0.as_deref()).collect();
    let integers: Int64Array = rows.iter().map(|r| r.1).collect();
    let numbers: Float64Array = rows.iter().map(|r| r.2).collect();
    let flags: BooleanArray = rows.iter().map(|r| r.3).collect();
    RecordBatch::try_new(
        schema(),
        vec![Arc::new(text), Arc::new(integers), Arc::new(numbers), Arc::new(flags)],
    )
    .unwrap()
}

/// The only group's results.
fn result(name: &str, settings: &Value, rows: &[Row]) -> Vec<Value> {
    let aggregate = aggregate(name, settings);
    let mut state = aggregate.state();
    let ids = vec![0; rows.len()];
    state.add(&batch(rows), Groups { ids: &ids, rows: Rows::From(0), count: 1 });
    let results = state.finish(&[0], &[rows.len() as i64]).unwrap();
    let schema = Arc::new(Schema::new(aggregate.fields()));
    let results = RecordBatch::try_new(schema, results.columns).unwrap();
    (0..results.num_rows()).map(|row| row_to_json(&results, row)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_laws_of_aggregates_hold_for_every_one(rows in rows(), groups in 1_usize..6, ids in prop::collection::vec(0_u32..6, 60)) {
        let ids: Vec<u32> = ids.iter().take(rows.len()).map(|id| id % groups as u32).collect();
        for (name, settings) in all() {
            let law = laws::aggregate(&*aggregate(name, &settings), &batch(&rows), &ids, groups);
            prop_assert_eq!(law, Ok(()), "{} {}", name, settings);
        }
    }

    #[test]
    fn results_are_those_of_a_loop(rows in rows()) {
        let integers: Vec<i64> = rows.iter().filter_map(|r| r.1).collect();
        let numbers: Vec<f64> = rows.iter().filter_map(|r| r.2).collect();
        let one = |name: &str, field: &str| result(name, &json!({ "field": field, "as": "x" }), &rows)[0]["x"].clone();
        prop_assert_eq!(one("sum", "integer"), json!(integers.iter().sum::<i64>()));
        prop_assert_eq!(one("min", "integer"), json!(integers.iter().min()));
        prop_assert_eq!(one("max", "integer"), json!(integers.iter().max()));
        prop_assert_eq!(one("min", "number"), json!(numbers.iter().copied().reduce(f64::min)));
        prop_assert_eq!(one("max", "number"), json!(numbers.iter().copied().reduce(f64::max)));
        let mean = (!integers.is_empty()).then(|| integers.iter().sum::<i64>() as f64 / integers.len() as f64);
        prop_assert_eq!(one("avg", "integer"), json!(mean));
        let mut different: Vec<&String> = rows.iter().filter_map(|r| r.0.as_ref()).collect();
        different.sort();
        different.dedup();
        prop_assert_eq!(one("count-distinct", "text"), json!(different.len()));
        let estimate = result("count-distinct", &json!({ "field": "text", "approximate": true }), &rows);
        prop_assert_eq!(&estimate[0]["distinct"], &json!(different.len()), "few values are counted exactly");
        let mut ranked: Vec<(i64, &String)> = different
            .iter()
            .map(|value| (-(rows.iter().filter(|r| r.0.as_ref() == Some(*value)).count() as i64), *value))
            .collect();
        ranked.sort();
        let top: Vec<Value> = (1..)
            .zip(ranked.iter().take(3))
            .map(|(rank, (count, value))| json!({ "text": value, "rank": rank, "count": -count }))
            .collect();
        prop_assert_eq!(result("top-k", &json!({ "field": "text", "k": 3 }), &rows), top);
        let (of, per) = (rows.iter().filter(|r| r.3 == Some(true)).count(), rows.len());
        let rate = result("rate", &json!({ "of": { "field": "flag", "equals": true } }), &rows);
        let ratio = (per > 0).then(|| of as f64 / per as f64);
        prop_assert_eq!(&rate[0], &json!({ "rate": ratio, "rate_of": of, "rate_per": per }));
    }

    #[test]
    fn a_quantile_is_within_one_percent(mut numbers in prop::collection::vec(-1e6..1e6_f64, 1..200), q in 0.0..=1.0_f64) {
        let rows: Vec<Row> = numbers.iter().map(|n| (None, None, Some(*n), None)).collect();
        let given = result("quantiles", &json!({ "field": "number", "of": [q], "as": "q" }), &rows);
        let given = given[0].as_object().unwrap().values().next().unwrap().as_f64().unwrap();
        numbers.sort_by(f64::total_cmp);
        let rank = q * (numbers.len() - 1) as f64;
        let near = |n: f64| (given - n).abs() <= n.abs() * 0.0101 + 1e-9;
        prop_assert!(near(numbers[rank.floor() as usize]) || near(numbers[rank.ceil() as usize]), "{given} is not at {rank} of {numbers:?}");
    }
}

#[test]
fn both_zeros_are_one_value() {
    let rows: Vec<Row> = [0.0, -0.0, 1.0, -0.0, 0.0].map(|number| (None, None, Some(number), None)).to_vec();
    let one = |name: &str, settings: Value| result(name, &settings, &rows);
    for approximate in [false, true] {
        let settings = json!({ "field": "number", "approximate": approximate });
        assert_eq!(one("count-distinct", settings)[0]["distinct"], json!(2), "approximate: {approximate}");
    }
    let most = &one("top-k", json!({ "field": "number", "k": 2 }))[0];
    assert_eq!((&most["number"], &most["count"]), (&json!("0"), &json!(4)), "{most}");
    for zero in [0.0, -0.0] {
        let share = &one("rate", json!({ "of": { "field": "number", "equals": zero } }))[0];
        assert_eq!(share["rate"], json!(0.8), "equals: {zero}");
    }
}

#[test]
fn an_estimate_of_many_is_near() {
    let rows: Vec<Row> = (0..100_000).map(|i| (Some(format!("user-{i}")), None, None, None)).collect();
    let given = result("count-distinct", &json!({ "field": "text", "approximate": true }), &rows);
    let given = given[0]["distinct"].as_f64().unwrap();
    assert!((given - 100_000.0).abs() < 5_000.0, "{given}");
}

#[test]
fn a_sum_beyond_64_bits_is_an_error_and_not_another_number() {
    let aggregate = aggregate("sum", &json!({ "field": "integer" }));
    let mut state = aggregate.state();
    let rows = [(None, Some(i64::MAX), None, None), (None, Some(1), None, None)];
    state.add(&batch(&rows), Groups { ids: &[0, 0], rows: Rows::From(0), count: 1 });
    let error = state.finish(&[0], &[2]).unwrap_err().to_string();
    assert!(
        error
            .contains("column `sum`, of field `integer`: the sum 9223372036854775808 is beyond the greatest"),
        "{error}"
    );
    // What is kept of it knows more than 64 bits, and so does who reads it.
    let mut saved = Vec::new();
    state.save(0, &mut saved);
    let mut again = aggregate.state();
    again.load(0, &saved).unwrap();
    assert_eq!(again.finish(&[0], &[2]).unwrap_err().to_string(), error);
}

#[test]
fn the_names_of_columns() {
    let names = |name: &str, settings: Value| -> Vec<String> {
        aggregate(name, &settings).fields().iter().map(|f| f.name().clone()).collect()
    };
    assert_eq!(names("sum", json!({ "field": "integer" })), ["sum"]);
    assert_eq!(names("quantiles", json!({ "field": "number", "of": [0.5, 0.999] })), ["p50", "p99.9"]);
    assert_eq!(names("quantiles", json!({ "field": "number", "of": [0.5], "as": "ms" })), ["ms_p50"]);
    assert_eq!(names("top-k", json!({ "field": "text" })), ["text", "rank", "count"]);
    assert_eq!(
        names(
            "aggregates",
            json!({ "columns": { "n": "count", "r": { "rate": { "of": { "field": "flag", "equals": true } } } } })
        ),
        ["n", "r", "r_of", "r_per"]
    );
}

#[test]
fn what_cannot_be_is_a_problem_at_its_place() {
    let problem = |name: &str, settings: Value| {
        let problem = bind(name, &settings).err().unwrap();
        (problem.path, problem.message)
    };
    let at = |path: &str, message: &str| (path.to_owned(), message.to_owned());
    assert_eq!(problem("sum", json!({ "field": "text" })), at("with.field", "field `text` is not a number"));
    assert_eq!(problem("sum", json!({ "field": "txt" })), at("with.field", "unknown field `txt`"));
    assert_eq!(
        problem("quantiles", json!({ "field": "number", "of": [99] })),
        at("with.of[0]", "99 is not between 0 and 1")
    );
    assert_eq!(
        problem("top-k", json!({ "field": "text", "k": 0 })),
        at("with.k", "the top 0 values are none")
    );
    assert_eq!(
        problem("rate", json!({ "of": { "field": "text", "equals": 1 } })),
        at("with.of.equals", "1 is not text, as the field is")
    );
    let inside = |columns: Value| problem("aggregates", json!({ "columns": columns }));
    assert_eq!(inside(json!({ "n": "cuont" })), at("with.columns.n", "there is no aggregate `cuont`"));
    assert_eq!(
        inside(json!({ "t": { "top-k": { "field": "text" } } })).1,
        "`top-k` gives several rows for a key"
    );
    assert_eq!(inside(json!({ "s": { "sum": { "field": "text" } } })).0, "with.columns.s.sum.field");
    assert_eq!(
        inside(json!({ "s": { "sum": { "field": "number", "as": "x" } } })).0,
        "with.columns.s.sum.as"
    );
    assert_eq!(inside(json!({ "s": 1 })), at("with.columns.s", "expected an aggregate"));
    assert_eq!(inside(json!({})).1, "there is no aggregate");
}
