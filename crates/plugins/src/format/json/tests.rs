//! The format both ways.

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, TimestampMillisecondArray,
};
use pipectl_framework::plugin::{Batch, Reads, RowMap};
use proptest::prelude::*;
use serde_json::json;

use super::super::testing::{batch, decode, encode, input, records, say, texts, values};
use super::*;

fn format(with: serde_json::Value) -> Json {
    serde_json::from_value(with).unwrap()
}

fn all_types() -> serde_json::Value {
    json!({ "t": "text", "i": "integer", "n": "number", "b": "boolean", "at": "time" })
}

fn rows() -> impl Strategy<Value = Batch> {
    let row = (
        prop::option::of("\\PC{0,6}|[\"\\\\\\n\u{0}]{1,3}"),
        prop::option::of(any::<i64>()),
        prop::option::of(prop::num::f64::NORMAL | prop::num::f64::ZERO),
        prop::option::of(any::<bool>()),
        prop::option::of(-62_135_596_800_000i64..253_402_300_800_000),
    );
    prop::collection::vec(row, 0..20).prop_map(|rows| {
        let times: TimestampMillisecondArray = rows.iter().map(|r| r.4).collect();
        batch(vec![
            ("t", texts(&rows.iter().map(|r| r.0.clone()).collect::<Vec<_>>())),
            ("i", Arc::new(rows.iter().map(|r| r.1).collect::<Int64Array>()) as ArrayRef),
            ("n", Arc::new(rows.iter().map(|r| r.2).collect::<Float64Array>())),
            ("b", Arc::new(rows.iter().map(|r| r.3).collect::<BooleanArray>())),
            ("at", Arc::new(times.with_timezone("UTC"))),
        ])
    })
}

proptest! {
    #[test]
    fn rows_come_back_as_they_were(batch in rows(), rfc3339 in any::<bool>()) {
        let times = if rfc3339 { "rfc3339" } else { "millis" };
        let encoder = format(json!({ "times": times })).encoder(&input(&batch), Some(0)).unwrap();
        let encoded = encode(encoder, &batch).unwrap();
        let (decoded, rejects) = decode(format(json!({ "fields": all_types() })).decoder().unwrap(), &records(&encoded));
        prop_assert!(rejects.is_empty(), "{:?}", rejects);
        prop_assert_eq!(&decoded.columns, batch.columns());
        prop_assert_eq!(decoded.rows, RowMap::Same);
        let oracle: Vec<serde_json::Value> = values(&encoded).iter().map(|v| serde_json::from_str(v).unwrap()).collect();
        for (row, object) in oracle.iter().enumerate() {
            let text = batch.column(0).as_string::<i32>();
            prop_assert_eq!(object["t"].as_str(), text.is_valid(row).then(|| text.value(row)));
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_lose_the_others(junk in prop::collection::vec(prop::sample::select(b"[]{}:,\"it0e1. -\\u\xFF".to_vec()), 0..40)) {
        let list = BinaryArray::from(vec![br#"{"i":5}"#.as_slice(), &junk, br#"{"t":"x"}"#]);
        let (decoded, rejects) = decode(format(json!({ "fields": all_types() })).decoder().unwrap(), &list);
        prop_assert_eq!(decoded.columns.num_rows() + rejects.len(), 3);
        prop_assert!(rejects.iter().all(|r| r.0 == 1));
    }
}

fn read(record: &str) -> Result<String, String> {
    let list = BinaryArray::from(vec![record.as_bytes()]);
    let fields = json!({ "t": "text", "i": "integer", "n": "number", "b": "boolean", "at": "time" });
    let (decoded, rejects) = decode(format(json!({ "fields": fields })).decoder().unwrap(), &list);
    if let Some((_, reason)) = rejects.into_iter().next() {
        return Err(reason);
    }
    let batch = batch(
        decoded
            .columns
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().as_str())
            .zip(decoded.columns.columns().iter().cloned())
            .collect(),
    );
    Ok(values(&encode(format(json!({})).encoder(&input(&batch), None).unwrap(), &batch).unwrap()).remove(0))
}

#[test]
fn missing_is_null_and_unknown_is_passed_over() {
    assert_eq!(read("{}").unwrap(), r#"{"t":null,"i":null,"n":null,"b":null,"at":null}"#);
    assert_eq!(
        read(
            r#" {"x":{"t":[1,"y"]},"b":true,"n":3,"i":-7,"t":"\u56db\n","at":"1970-01-01T00:00:01+00:00"} "#
        )
        .unwrap(),
        r#"{"t":"四\n","i":-7,"n":3.0,"b":true,"at":1000}"#
    );
}

#[test]
fn every_integer_of_64_bits_is_one() {
    for (written, value) in [
        ("-0", "0"),
        ("0", "0"),
        ("-1", "-1"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        (" \n7\t", "7"),
        ("null", "null"),
    ] {
        let got = read(&format!("{{\"i\":{written}}}"));
        assert_eq!(got, Ok(format!(r#"{{"t":null,"i":{value},"n":null,"b":null,"at":null}}"#)), "{written}");
    }
}

#[test]
fn nothing_is_converted_silently() {
    for (record, reason) in [
        (r#"{"i":"5"}"#, "expected an integer of 64 bits for the field `i`, found \"5\" at column 9"),
        (r#"{"i":5.0}"#, "expected an integer of 64 bits for the field `i`, found 5.0 at column 9"),
        (r#"{"i":-0.0}"#, "expected an integer of 64 bits for the field `i`, found -0.0"),
        (r#"{"i":1e2}"#, "expected an integer of 64 bits for the field `i`, found 1e2"),
        (r#"{"i":true}"#, "expected an integer of 64 bits for the field `i`, found true"),
        (r#"{"i":[5]}"#, "expected an integer of 64 bits for the field `i`, found a list"),
        (r#"{"i":{"i":5}}"#, "expected an integer of 64 bits for the field `i`, found an object"),
        (
            r#"{"i":9223372036854775808}"#,
            "9223372036854775808 is beyond 64 bits: expected an integer of 64 bits for the field `i`",
        ),
        (
            r#"{"i":-9223372036854775809}"#,
            "-9223372036854775809 is beyond 64 bits: expected an integer of 64 bits for the field `i`",
        ),
        (r#"{"i":123456789012345678901234567890}"#, "123456789012345678901234567890 is beyond 64 bits"),
        (r#"{"t":5}"#, "invalid type: integer `5`, expected text for the field `t`"),
        (r#"{"b":0}"#, "invalid type: integer `0`, expected true or false for the field `b`"),
        (
            r#"{"at":"yesterday"}"#,
            "expected milliseconds since 1970 or RFC 3339 text for the field `at`, found \"yesterday\" at column",
        ),
        (
            r#"{"at":9223372036854775808}"#,
            "9223372036854775808 is beyond 64 bits: expected milliseconds since 1970 or RFC 3339 text for the field `at`",
        ),
        (r#"{"at":-123456789012345678901234567890}"#, "-123456789012345678901234567890 is beyond 64 bits"),
        (
            r#"{"at":1.5}"#,
            "expected milliseconds since 1970 or RFC 3339 text for the field `at`, found 1.5 at column",
        ),
        (
            r#"{"at":true}"#,
            "expected milliseconds since 1970 or RFC 3339 text for the field `at`, found true at column",
        ),
        (r#"{"t":["x"]}"#, "invalid type: sequence, expected text"),
        (r#"{"t":"a","t":"b"}"#, "the field `t` is there twice"),
        ("[1]", "invalid type: sequence, expected a JSON object at column 1"),
        (
            "{\n\"i\": true}",
            "expected an integer of 64 bits for the field `i`, found true at line 2 column 10",
        ),
        (r#"{"t":"a"} x"#, "trailing characters"),
        (r#"{"t":"a""#, "EOF while parsing an object"),
        ("", "EOF while parsing a value"),
    ] {
        let got = read(record).unwrap_err();
        assert!(got.starts_with(reason), "{record}: {got}");
    }
}

#[test]
fn numbers_without_a_form_in_json_are_rejected_with_their_row() {
    let batch = batch(vec![
        ("k", texts(&[Some("a"), Some("b"), Some("c")])),
        ("n", Arc::new(Float64Array::from(vec![1.5, f64::NAN, 2.0]))),
    ]);
    let mut writing = format(json!({})).encoder(&input(&batch), Some(0)).unwrap();
    let mut rejects = pipectl_framework::plugin::Rejects::default();
    let encoded = writing.encode(&batch, &mut rejects).unwrap();
    assert_eq!(
        rejects.rows()[0].reason,
        "column `n` is NaN, for which JSON has no number: `non_finite: null` or `text` writes it"
    );
    assert_eq!((rejects.rows().len(), rejects.rows()[0].row), (1, 1));
    assert_eq!(values(&encoded), [r#"{"k":"a","n":1.5}"#, r#"{"k":"c","n":2.0}"#]);
    assert_eq!(encoded.timestamps.to_vec(), [0, 2000]);
    assert_eq!(encoded.keys.unwrap().iter().flatten().collect::<Vec<_>>(), [b"a", b"c"]);
}

#[test]
fn planning_checks_the_fields() {
    let batch = batch(vec![("t", texts(&[Some("a")])), ("u", texts(&[Some("b")]))]);
    let problem = say(format(json!({})).decoder());
    assert!(problem.message.contains("needs the fields"), "{problem:?}");
    let problem = say(format(json!({ "fields": { "x": "text" } })).encoder(&input(&batch), None));
    assert_eq!((problem.path.as_str(), problem.message.as_str()), ("fields.x", "unknown field `x`"));
    let problem = say(format(json!({ "fields": { "t": "integer" } })).encoder(&input(&batch), None));
    assert_eq!((problem.path.as_str(), problem.label.as_str()), ("fields.t", "the test gives it as text"));
    let some = format(json!({ "fields": { "u": "text" } })).encoder(&input(&batch), Some(0)).unwrap();
    assert_eq!(some.reads(), Reads::Only(vec!["u".into(), "t".into()]));
    assert_eq!(values(&encode(some, &batch).unwrap()), [r#"{"u":"b"}"#]);
}
