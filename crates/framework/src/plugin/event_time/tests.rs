//! Times in every form.

mod patterns;
mod zones;

use std::sync::Arc;

use arrow_schema::{Field, Schema};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::batch::{Origin, Partition};
use crate::plugin::rows_from_json;

fn input() -> Input {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let fields = [
        ("t", DataType::Utf8),
        ("d", DataType::Utf8),
        ("i", DataType::Int64),
        ("n", DataType::Float64),
        ("b", DataType::Boolean),
        ("at", time),
    ];
    let fields: Vec<Field> = fields.into_iter().map(|(name, t)| Field::new(name, t, true)).collect();
    Input { schema: Arc::new(Schema::new(fields)), given_by: "the test".into() }
}

fn bind(time: Value) -> Result<(Stamper, Vec<String>), Problem> {
    serde_json::from_value::<EventTime>(time).unwrap().bind(&input())
}

/// The time of a row with these fields, or why it has none.
fn time(time: Value, row: Value) -> Result<Millis, String> {
    let columns = rows_from_json(&input().schema, &[row]).unwrap();
    let origin = Origin { partition: Partition::new("t", 0), offsets: vec![0].into(), replay: false };
    let batch = Batch::new(columns, vec![-1].into(), origin).unwrap();
    let (stamper, _) = bind(time).unwrap_or_else(|p| panic!("{p:?}"));
    let mut rejects = Rejects::default();
    let stamped = stamper.stamp(&batch, &mut rejects).unwrap();
    match stamped.times().first() {
        Some(time) => Ok(*time),
        None => Err(rejects.rows()[0].reason.clone()),
    }
}

#[test]
fn texts_in_every_format() {
    let rfc = |text: &str| time(json!({ "field": "t" }), json!({ "t": text }));
    assert_eq!(rfc("1970-01-01T00:00:01Z"), Ok(1000));
    assert_eq!(rfc("1970-01-01T08:00:01.0019+08:00"), Ok(1001));
    assert_eq!(rfc("1969-12-31T23:59:59.9999Z"), Ok(-1));
    assert_eq!(rfc("9999-12-31T23:59:59Z"), Ok(253_402_300_799_000));
    assert_eq!(rfc("2016-12-31T23:59:60Z"), rfc("2017-01-01T00:00:00Z"), "a leap second");
    assert_eq!(rfc("2015-11-11").unwrap_err(), "`t` is not a time: \"2015-11-11\"");
    let of = |format: &str, text: &str| time(json!({ "field": "t", "format": format }), json!({ "t": text }));
    assert_eq!(of("%Y-%m-%d %H:%M:%S", "1970-01-02 00:00:00"), Ok(86_400_000));
    assert_eq!(of("%Y-%m-%d", "1970-01-02"), Ok(86_400_000));
    assert_eq!(of("%d/%b/%Y:%H:%M:%S %z", "02/Jan/1970:08:00:00 +0800"), Ok(86_400_000));
    assert_eq!(
        of("%Y-%m-%d %H:%M", "1970-13-01 00:00").unwrap_err(),
        "`t` is not a time: \"1970-13-01 00:00\""
    );
    assert_eq!(of("%Y-%m-%d %H", "1970-01-01 07"), Ok(25_200_000));
    assert_eq!(of("epoch_ms", "-5"), Ok(-5));
    assert_eq!(of("epoch_s", "1.5"), Ok(1500));
    assert_eq!(of("epoch_s", "4.004"), Ok(4004));
    assert_eq!(of("epoch_s", "-0.0005"), Ok(-1));
    assert_eq!(of("epoch_s", "1.5e3"), Ok(1_500_000));
    assert_eq!(of("epoch_ms", "7.9"), Ok(7));
    assert_eq!(of("epoch_s", "9e99").unwrap_err(), "`t` is not a time: \"9e99\"");
    assert_eq!(of("epoch_us", "1700000000123999"), Ok(1_700_000_000_123));
    assert_eq!(of("epoch_ns", "1700000000123456789"), Ok(1_700_000_000_123));
    assert_eq!(of("epoch_ns", "-1"), Ok(-1));
    assert_eq!(of("epoch_us", "-1000.5"), Ok(-2));
    assert_eq!(of("epoch_us", "999.9"), Ok(0));
    assert_eq!(of("epoch_us", "1.5e6"), Ok(1500));
    assert_eq!(of("epoch_s", "NaN").unwrap_err(), "`t` is not a time: \"NaN\"");
}

#[test]
fn numbers_times_several_fields_and_offsets() {
    assert_eq!(time(json!({ "field": "i" }), json!({ "i": 7 })), Ok(7));
    assert_eq!(time(json!({ "field": "i", "format": "epoch_s" }), json!({ "i": -7 })), Ok(-7000));
    assert!(time(json!({ "field": "i", "format": "epoch_s" }), json!({ "i": i64::MAX })).is_err());
    assert!(time(json!({ "field": "i" }), json!({ "i": i64::MAX })).is_err());
    assert_eq!(time(json!({ "field": "n", "format": "epoch_s" }), json!({ "n": 0.25 })), Ok(250));
    assert_eq!(time(json!({ "field": "at" }), json!({ "at": 42 })), Ok(42));
    let parts = json!({ "text": "2015-{t}-{d}", "format": "%Y-%m-%d", "utc_offset": "+08:00" });
    assert_eq!(time(parts.clone(), json!({ "t": "11", "d": "1" })), Ok(1_446_307_200_000));
    assert_eq!(
        time(parts, json!({ "t": "11" })).unwrap_err(),
        "it has no time: a field of `2015-{t}-{d}` is null"
    );
    assert_eq!(time(json!({ "field": "i" }), json!({})).unwrap_err(), "it has no time: `i` is null");
    assert_eq!(bind(json!({ "text": "{t}{d}" })).unwrap().1, ["t", "d"]);
}

proptest! {
    /// Every millisecond, written as seconds with a fraction, as text and as a number.
    #[test]
    fn seconds_with_a_fraction_are_exact(millis in -9_000_000_000_000i64..9_000_000_000_000, more in "[0-9]{0,4}") {
        let sign = if millis < 0 { "-" } else { "" };
        let text = format!("{sign}{}.{:03}", millis.abs() / 1000, millis.abs() % 1000);
        let of = json!({ "field": "t", "format": "epoch_s" });
        prop_assert_eq!(time(of.clone(), json!({ "t": text })), Ok(millis));
        let number: f64 = text.parse().unwrap();
        prop_assert_eq!(time(json!({ "field": "n", "format": "epoch_s" }), json!({ "n": number })), Ok(millis));
        let past = i64::from(millis < 0 && more.bytes().any(|digit| digit != b'0'));
        prop_assert_eq!(time(of, json!({ "t": format!("{text}{more}") })), Ok(millis - past));
    }

    /// Every number of microseconds and nanoseconds, as an integer and as text.
    #[test]
    fn small_units_are_cut_off_towards_the_past(number in any::<i64>()) {
        for (format, part) in [("epoch_us", 1_000i64), ("epoch_ns", 1_000_000)] {
            let millis = number.div_euclid(part);
            let expected = (millis.abs() <= epoch::FARTHEST).then_some(millis);
            let of = json!({ "field": "i", "format": format });
            prop_assert_eq!(time(of, json!({ "i": number })).ok(), expected);
            let of = json!({ "field": "t", "format": format });
            prop_assert_eq!(time(of.clone(), json!({ "t": number.to_string() })).ok(), expected);
            prop_assert_eq!(time(of, json!({ "t": format!("{number}.0") })).ok(), expected);
        }
    }
}

#[test]
fn what_cannot_be_is_a_problem_at_its_place() {
    let problem = |time: Value| {
        let problem = bind(time).err().unwrap();
        (problem.path, problem.message)
    };
    let at = |path: &str, message: &str| (path.to_owned(), message.to_owned());
    assert_eq!(problem(json!({ "field": "x" })), at("field", "unknown field `x`"));
    assert_eq!(problem(json!({ "field": "b" })), at("field", "`b` cannot be a time"));
    assert_eq!(problem(json!({ "field": "i", "format": "rfc3339" })), at("format", "`i` is a number"));
    assert_eq!(
        problem(json!({ "field": "t", "format": "iso" })),
        at("format", "`iso` is not a format of times")
    );
    assert_eq!(problem(json!({ "field": "at", "format": "%Y" })), at("format", "`at` is a time already"));
    for (field, format) in
        [("t", "rfc3339"), ("t", "epoch_s"), ("t", "%s"), ("t", "%Y-%m-%d %z"), ("i", "epoch_ms")]
    {
        for (key, value) in [("utc_offset", "+08:00"), ("zone", "Asia/Shanghai")] {
            let said = problem(json!({ "field": field, "format": format, key: value }));
            assert_eq!(said, at(key, &format!("`{key}` has no effect here")), "{format}");
        }
    }
    assert_eq!(
        problem(
            json!({ "field": "t", "format": "%Y-%m-%d", "zone": "Asia/Shanghai", "utc_offset": "+08:00" })
        ),
        at("zone", "`utc_offset` and `zone` cannot stand together")
    );
    assert_eq!(
        problem(json!({ "field": "t", "format": "%Y-%m-%d", "ambiguous": "later" })),
        at("ambiguous", "`ambiguous` has no effect without `zone`")
    );
    assert_eq!(
        problem(json!({ "field": "t", "format": "%Y-%m-%d", "zone": "Asia/Shanhai" })),
        at("zone", "there is no time zone `Asia/Shanhai`")
    );
    assert_eq!(
        problem(json!({ "field": "t", "format": "%Q" })),
        at("format", "`%Q` is not a format of times")
    );
    assert_eq!(problem(json!({ "text": "{t" })), at("text", "a brace is open"));
    assert_eq!(problem(json!({ "text": "{i}" })), at("text", "field `i` is not text"));
    assert_eq!(problem(json!({ "text": "t" })), at("text", "there is no field in it"));
    assert_eq!(
        problem(json!({ "field": "t", "utc_offset": "CST" })),
        at("utc_offset", "this is not an offset from UTC")
    );
    assert_eq!(problem(json!({})), at("", "`time` needs `field` or `text`"));
}
