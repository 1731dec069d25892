//! The law of every format: what it writes it reads back, or it rejects the row with a reason.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, TimestampMillisecondArray, UInt32Array,
};
use pipectl_framework::plugin::{
    Batch, BindContext, FormatSpec, Purpose, RecordMap, Registry, Rejects, RowMap, row_to_json,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::testing::{batch_at, decode, input, texts};

/// One row of every type.
type Row = (Option<String>, Option<i64>, Option<f64>, Option<bool>, Option<i64>, u8);

fn row() -> impl Strategy<Value = Row> {
    let text = "\\PC{0,6}|[\"\\\\\\n\u{0}\u{7f}\u{2028}é]{0,4}|null|true|-?[0-9]{1,3}";
    let edge = prop::sample::select(vec![i64::MIN, -1, 0, 1, i64::MAX, 1 << 53, (1 << 53) + 1]);
    let wild = prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.1, 5.0, 1e300]);
    (
        prop::option::of(text),
        prop::option::of(prop_oneof![any::<i64>(), edge]),
        prop::option::of(prop_oneof![any::<f64>(), wild]),
        any::<Option<bool>>(),
        prop::option::of(prop_oneof![any::<i64>(), -62_135_596_800_000i64..253_402_300_800_000]),
        0u8..3,
    )
}

fn rows(rows: &[Row]) -> Batch {
    let times: TimestampMillisecondArray = rows.iter().map(|r| r.4).collect();
    let stamps: Vec<i64> = rows.iter().map(|r| i64::from(r.5)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("t", texts(&rows.iter().map(|r| r.0.clone()).collect::<Vec<_>>())),
        ("i", Arc::new(rows.iter().map(|r| r.1).collect::<Int64Array>())),
        ("n", Arc::new(rows.iter().map(|r| r.2).collect::<Float64Array>())),
        ("b", Arc::new(rows.iter().map(|r| r.3).collect::<BooleanArray>())),
        ("at", Arc::new(times.with_timezone("UTC"))),
    ];
    batch_at(columns, &stamps)
}

/// How a format is written where rows are encoded and where they are decoded, with the columns that come
/// back.
fn formats() -> Vec<(Value, Value, &'static [&'static str])> {
    let fields = json!({ "t": "text", "i": "integer", "n": "number", "b": "boolean", "at": "time" });
    let all: &[&str] = &["t", "i", "n", "b", "at"];
    vec![
        (json!({ "text": { "field": "t" } }), json!({ "text": { "field": "t" } }), &["t"]),
        (json!("json"), json!({ "json": { "fields": fields } }), all),
        (json!({ "json": { "times": "rfc3339" } }), json!({ "json": { "fields": fields } }), all),
        (
            json!({ "json": { "fields": { "n": "number", "t": "text" } } }),
            json!({ "json": { "fields": { "n": "number", "t": "text" } } }),
            &["n", "t"],
        ),
        (
            json!({ "pairs": { "key": "t", "count": "i" } }),
            json!({ "pairs": { "key": "t", "count": "i" } }),
            &["t", "i"],
        ),
        (
            json!({ "pairs": { "key": "t", "count": "n", "type": "number" } }),
            json!({ "pairs": { "key": "t", "count": "n", "type": "number" } }),
            &["t", "n"],
        ),
    ]
}

/// The rows of some columns.
fn shown(columns: &RecordBatch) -> Vec<Value> {
    (0..columns.num_rows()).map(|row| row_to_json(columns, row)).collect()
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_or_rejected_with_a_reason(list in prop::collection::vec(row(), 0..20)) {
        let batch = rows(&list);
        let registry = Registry::collect().unwrap();
        let context = BindContext { registry: &registry, base: Path::new("."), connections: &[], purpose: Purpose::Check };
        let spec = |value: &Value| serde_json::from_value::<FormatSpec>(value.clone()).unwrap();
        for (write, read, names) in formats() {
            let mut encoder = context.encoder("", &spec(&write), &input(&batch), None).unwrap();
            let mut rejects = Rejects::default();
            let encoded = encoder.encode(&batch, &mut rejects).unwrap();
            let rejected: Vec<usize> = rejects.rows().iter().map(|r| r.row).collect();
            prop_assert!(rejects.rows().iter().all(|r| !r.reason.is_empty()));
            let left: Vec<u32> =
                (0..batch.rows() as u32).filter(|row| !rejected.contains(&(*row as usize))).collect();
            let decoder = context.decoder("", &spec(&read)).unwrap();
            let (decoded, unread) = decode(decoder, &encoded.values);
            prop_assert!(unread.is_empty(), "{}: {:?}", write, unread);
            let kept = batch.take(&UInt32Array::from(left)).unwrap();
            let indices: Vec<usize> = names.iter().map(|name| batch.schema().index_of(name).unwrap()).collect();
            let kept_columns = kept.columns().project(&indices).unwrap();
            prop_assert_eq!(decoded.columns.columns(), kept_columns.columns(), "{}", write);
            prop_assert_eq!(shown(&decoded.columns), shown(&kept_columns));
            // Each row keeps its time by way of the record that it went into.
            let record = |row: usize| match (&encoded.rows, &decoded.rows) {
                (RecordMap::OneEach, RowMap::Same) => (row, row),
                (RecordMap::Rows(into), RowMap::Rows(from)) => (into[row] as usize, from[row] as usize),
                (into, from) => panic!("{into:?} and {from:?}"),
            };
            for row in 0..kept.rows() {
                let (into, from) = record(row);
                prop_assert_eq!(into, from, "{}", write);
                prop_assert_eq!(encoded.timestamps[into], kept.times()[row]);
            }
        }
    }
}
