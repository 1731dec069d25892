//! Fields by path, and a row for each element of a list.

use arrow_array::BinaryArray;
use pipectl_framework::plugin::{RowMap, row_to_json};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::{decode, say};
use super::*;

/// What one record gives: its rows, or why it is rejected.
fn read(settings: &Value, record: &str) -> Result<Value, String> {
    // The neighbours are there to see that they are not touched.
    let list = BinaryArray::from(vec![record.as_bytes(), b"nonsense", record.as_bytes()]);
    let format: Json = serde_json::from_value(settings.clone()).unwrap();
    let (decoded, rejects) = decode(format.decoder().unwrap(), &list);
    let rows: Vec<Value> =
        (0..decoded.columns.num_rows()).map(|row| row_to_json(&decoded.columns, row)).collect();
    assert!(rejects.iter().any(|reject| reject.0 == 1), "nonsense was read");
    if let Some((_, reason)) = rejects.iter().find(|reject| reject.0 == 0) {
        assert!(rows.is_empty() && rejects.len() == 3, "a rejected record gave rows: {rows:?}");
        return Err(reason.clone());
    }
    let (first, second) = rows.split_at(rows.len() / 2);
    assert_eq!(first, second, "two records of the same give the same");
    let each = u32::try_from(first.len()).unwrap();
    let wanted: Vec<u32> = (0..each).map(|_| 0).chain((0..each).map(|_| 2)).collect();
    assert_eq!(decoded.rows, RowMap::Rows(wanted));
    Ok(first.into())
}

const ORDER: &str = r#"{ "id": 7, "a": { "city": "Köln", "b.c": "dot", "list": [10, 20, [30, 40]] },
    "a.city": "literal", "items": [ { "sku": "x", "n": 1 }, { "sku": "y" } ], "unit price": "2.50",
    "deep": [ { "k": "p", "in": [1, 2] }, { "k": "q", "in": [] }, { "k": "r" }, { "k": "s", "in": [3] } ] }"#;

#[test]
fn a_field_is_read_from_where_its_path_leads() {
    for (field, wanted) in [
        (json!({ "type": "text", "path": "$.a.city" }), json!("Köln")),
        (json!({ "type": "text", "path": "$['a']['b.c']" }), json!("dot")),
        (json!({ "type": "text", "path": "$['a.city']" }), json!("literal")),
        (json!({ "type": "integer", "path": "$.a.list[0]" }), json!(10)),
        (json!({ "type": "integer", "path": "$.a.list[-2]" }), json!(20)),
        (json!({ "type": "integer", "path": "$.a.list[-1][1]" }), json!(40)),
        (json!({ "type": "integer", "path": "$.a.list[3]" }), json!(null)),
        (json!({ "type": "integer", "path": "$.a.list[-4]" }), json!(null)),
        (json!({ "type": "integer", "path": "$.a.city.more" }), json!(null)),
        (json!({ "type": "integer", "path": "$.a.city[0]" }), json!(null)),
        (json!({ "type": "integer", "path": "$.no.such" }), json!(null)),
        (json!({ "type": "integer", "path": "$.items[1].n" }), json!(null)),
        (json!({ "type": "text", "path": "$.items[0].sku" }), json!("x")),
        (json!({ "type": "number", "path": "$['unit price']", "coerce": true }), json!(2.5)),
        (json!({ "type": "text", "path": "$.id", "coerce": true }), json!("7")),
    ] {
        let got = read(&json!({ "fields": { "f": field, "id": "integer" } }), ORDER);
        assert_eq!(got, Ok(json!([{ "f": wanted, "id": 7 }])), "{field}");
    }
}

#[test]
fn paths_that_share_their_beginning_are_read_at_once() {
    let text = |path: &str| json!({ "type": "text", "path": path, "coerce": true });
    let fields = json!({ "fields": {
        "city": text("$.a.city"), "again": text("$.a.city"), "first": text("$.a.list[0]"), "last": text("$[\"a\"].list[-1][0]"),
        "one": text("$.one[0]"), "same": text("$.one[-1]"),
    } });
    let record = ORDER.replacen("{ \"id\"", "{ \"one\": [\"only\"], \"id\"", 1);
    let wanted = json!([{ "city": "Köln", "again": "Köln", "first": "10", "last": "30", "one": "only", "same": "only" }]);
    assert_eq!(read(&fields, &record), Ok(wanted));
}

#[test]
fn rows_are_made_of_elements() {
    let field = |name: &str, path: &str| json!({ "type": name, "path": path });
    for (rows, fields, wanted) in [
        (
            "$.items[*]",
            json!({ "sku": "text", "n": "integer", "id": field("integer", "$.id") }),
            json!([{ "sku": "x", "n": 1, "id": 7 }, { "sku": "y", "n": null, "id": 7 }]),
        ),
        ("$.a.list[2][*]", json!({ "v": field("integer", "@") }), json!([{ "v": 30 }, { "v": 40 }])),
        (
            "$.deep[*].in[*]",
            json!({ "v": field("integer", "@"), "city": field("text", "$.a.city") }),
            json!([{ "v": 1, "city": "Köln" }, { "v": 2, "city": "Köln" }, { "v": 3, "city": "Köln" }]),
        ),
        ("$.items[*].n", json!({ "v": field("integer", "@") }), json!([{ "v": 1 }])),
        (
            "$.items[0].*",
            json!({ "v": { "type": "text", "path": "@", "coerce": true } }),
            json!([{ "v": "x" }, { "v": "1" }]),
        ),
        ("$.no.items[*]", json!({ "sku": "text" }), json!([])),
        ("$.a.city.x[*]", json!({ "sku": "text" }), json!([])),
        ("$.deep[1].in[*]", json!({ "v": field("integer", "@") }), json!([])),
    ] {
        assert_eq!(read(&json!({ "fields": fields, "rows": rows }), ORDER), Ok(wanted), "{rows}");
    }
    let list = json!({ "fields": { "v": "integer" }, "rows": "$[*]" });
    assert_eq!(read(&list, r#"[{"v":1},{"v":2}]"#), Ok(json!([{ "v": 1 }, { "v": 2 }])));
    assert_eq!(read(&list, "[]"), Ok(json!([])));
    assert_eq!(
        read(&json!({ "fields": { "v": "integer" }, "rows": "$.x[*]" }), r#"{"x":null}"#),
        Ok(json!([]))
    );
}

#[test]
fn a_record_that_cannot_be_used_says_where() {
    let settings = json!({ "fields": { "sku": "text", "n": "integer", "id": { "type": "integer", "path": "$.id" } }, "rows": "$.items[*]" });
    for (record, reason) in [
        (
            r#"{"items":[{"n":1},{"n":"x"}]}"#,
            "$.items[1]: expected an integer of 64 bits for the field `n`, found \"x\": ",
        ),
        (r#"{"items":[{"n":1},7]}"#, "$.items[1]: expected an object, found a number: "),
        (r#"{"items":[null]}"#, "$.items[0]: expected an object, found null: "),
        (r#"{"items":"x"}"#, "$.items[*]: invalid type: string \"x\", expected a list to make rows of"),
        (r#"{"items":[{"n":1,"n":2}]}"#, "$.items[0]: the field `n` is there twice: "),
        (r#"{"items":[],"items":[]}"#, "the field `items` is there twice"),
        (
            r#"{"id":"x","items":[]}"#,
            "expected an integer of 64 bits for the field `id`, found \"x\" at line 1 column 9: ",
        ),
        (r#"{"items":[{"n":1}]} x"#, "trailing characters"),
        (r#"{"items":[{"n":1}"#, "EOF while parsing"),
        ("[]", "expected an object, found a list"),
        ("7", "expected an object, found a number"),
    ] {
        let said = read(&settings, record).unwrap_err();
        let kind = "an element of `$.items[*]` cannot be used: ";
        assert_eq!(said.starts_with(kind), reason.starts_with('$'), "{said}");
        assert!(said.strip_prefix(kind).unwrap_or(&said).starts_with(reason), "{record}: {said}");
    }
    let deep = json!({ "fields": { "v": { "type": "integer", "path": "@" } }, "rows": "$.a[*].b[*]" });
    let said = read(&deep, r#"{"a":[{},{"b":[1,2,"x"]}]}"#).unwrap_err();
    assert!(said.contains("cannot be used: $.a[1].b[2]: "), "{said}");
    let said = read(&deep, r#"{"a":[{"b":{}},{"b":5}]}"#).unwrap_err();
    assert!(said.contains("cannot be used: $.a[1].b[*]: "), "{said}");
}

#[test]
fn coerce_follows_the_rules_of_cast() {
    for (kind, written, wanted) in [
        ("integer", r#""12""#, Some(json!(12))),
        ("integer", "12", Some(json!(12))),
        ("integer", r#""""#, Some(json!(null))),
        ("integer", "null", Some(json!(null))),
        ("integer", r#""+12""#, Some(json!(12))),
        ("integer", r#"" 12""#, None),
        ("integer", r#""12.0""#, None),
        ("integer", "12.0", None),
        ("integer", "true", None),
        ("integer", r#""99999999999999999999""#, None),
        ("number", r#""1.5e1""#, Some(json!(15.0))),
        ("number", r#""inf""#, None),
        ("number", r#""1e999""#, None),
        ("boolean", r#""true""#, Some(json!(true))),
        ("boolean", r#""0""#, Some(json!(false))),
        ("boolean", "1", Some(json!(true))),
        ("boolean", r#""yes""#, None),
        ("text", "12345678901234567890.10", Some(json!("12345678901234567890.10"))),
        ("text", "false", Some(json!("false"))),
        ("text", r#""\u0041""#, Some(json!("A"))),
        ("text", r#""""#, Some(json!(""))),
        ("text", "[1]", None),
        ("text", "{}", None),
        ("time", r#""1447200000000""#, Some(json!(1_447_200_000_000_i64))),
        ("time", r#""2015-11-11T00:00:00Z""#, Some(json!(1_447_200_000_000_i64))),
        ("time", r#""""#, Some(json!(null))),
        ("time", r#""yesterday""#, None),
    ] {
        let settings = json!({ "fields": { "f": { "type": kind, "coerce": true } } });
        let got = read(&settings, &format!(r#"{{"f":{written}}}"#));
        match (got, wanted) {
            (Ok(got), Some(wanted)) => assert_eq!(got, json!([{ "f": wanted }]), "{kind} of {written}"),
            (Err(said), None) => assert!(said.contains("for the field `f`, found "), "{written}: {said}"),
            (got, wanted) => panic!("{kind} of {written}: {got:?}, and not {wanted:?}"),
        }
    }
}

#[test]
fn a_number_that_would_be_rounded_is_told_when_it_is_asked_for() {
    let read = |coerce: bool, written: &str| {
        let settings = json!({ "fields": { "f": { "type": "number", "exact": true, "coerce": coerce } } });
        read(&settings, &format!(r#"{{"f":{written}}}"#))
    };
    for number in [
        "0.1",
        "1e300",
        "9007199254740993.0e0",
        "-12.50",
        "0",
        "-0.0",
        "1E+2",
        "123456789012345680000",
        "null",
    ] {
        let rounded = number.starts_with("9007");
        assert_eq!(read(false, number).is_err(), rounded, "{number}");
        assert_eq!(
            read(true, &format!("{number:?}").replace("\"null\"", "null")).is_err(),
            rounded,
            "{number}"
        );
    }
    let said = read(false, "12345678901234567890").unwrap_err();
    assert!(said.starts_with("12345678901234567890 has more digits than a number of 64 bits keeps, which is 12345678901234567000"), "{said}");
    assert!(read(false, "\"1\"").is_err());
}

#[test]
fn settings_that_cannot_be_are_told_at_their_place() {
    let problem = |settings: Value| say(serde_json::from_value::<Json>(settings).unwrap().decoder());
    for (settings, path, message) in [
        (
            json!({ "fields": { "f": { "type": "text", "path": "$.a.b-c" } } }),
            "fields.f.path",
            "cannot stand behind `.`",
        ),
        (
            json!({ "fields": { "f": { "type": "text", "path": "$.a[*]" } } }),
            "fields.f.path",
            "`*` gives several",
        ),
        (
            json!({ "fields": { "f": { "type": "text", "path": "@.a" } } }),
            "fields.f.path",
            "there are no `rows:`",
        ),
        (
            json!({ "fields": { "f": { "type": "text", "exact": true } } }),
            "fields.f.exact",
            "for the type `number`",
        ),
        (json!({ "fields": { "f": "text" }, "rows": "$.items" }), "rows", "is one value"),
        (json!({ "fields": { "f": "text" }, "rows": "@[*]" }), "rows", "begins at the record"),
        (json!({ "fields": { "f": "text" }, "rows": "items" }), "rows", "a path begins with `$`"),
    ] {
        let problem = problem(settings.clone());
        assert_eq!(problem.path, path, "{settings}");
        assert!(problem.message.contains(message), "{problem:?}");
        assert!(!problem.help.is_empty(), "{problem:?}");
    }
}

#[test]
fn a_long_text_beside_a_long_list_does_not_fill_the_memory() {
    let settings = json!({ "fields": { "t": { "type": "text", "path": "$.t" } }, "rows": "$.l[*]" });
    let record = format!(r#"{{"t":"{}","l":[{}0]}}"#, "x".repeat(1 << 20), "0,".repeat(400));
    let said = read(&settings, &record).unwrap_err();
    assert!(said.contains(": $.l[256]: the rows of one record have more than "), "{said}");
}

#[test]
fn a_dotted_name_is_looked_for_until_it_is_known() {
    let decode = |records: &[&[u8]]| {
        let schema = Arc::new(Schema::new(vec![Field::new("a.b", FieldType::Text.data_type(), true)]));
        let mut decoder = JsonDecoder::new(schema, vec![("a.b".into(), FieldType::Text)]);
        let before = decoder.looks_for();
        for record in records {
            let list = BinaryArray::from(vec![*record]);
            let records = super::super::testing::of(&list);
            decoder.decode(&records, &mut pipectl_framework::plugin::Rejects::default()).unwrap();
        }
        (before, decoder.looks_for())
    };
    assert_eq!(decode(&[b"{}", br#"{"a":{"c":1}}"#, br#"{"a":{"b":null}}"#]), (1, 1));
    assert_eq!(decode(&[b"{}", br#"{"a":{"b":"told"}}"#]), (1, 0));
    assert_eq!(decode(&[br#"{"a.b":"there","a":{"b":"x"}}"#]), (1, 0));
}

/// JSON of a few names, so that paths meet.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9i64..9).prop_map(Value::from),
        "[ab\"\\\\é]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inside| {
        prop_oneof![
            prop::collection::vec(inside.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inside, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// What a path leads to, found slowly.
fn lead<'v>(value: &'v Value, steps: &[Step]) -> Vec<&'v Value> {
    let Some((step, rest)) = steps.split_first() else { return vec![value] };
    let next: Vec<&Value> = match (step, value) {
        (Step::Name(name), Value::Object(members)) => members.get(name).into_iter().collect(),
        (Step::Index(index), Value::Array(list)) => {
            let length = i64::try_from(list.len()).unwrap();
            let at = if *index < 0 { length + index } else { *index };
            usize::try_from(at).ok().and_then(|at| list.get(at)).into_iter().collect()
        }
        (Step::Every, Value::Array(list)) => list.iter().collect(),
        (Step::Every, Value::Object(members)) => members.values().collect(),
        _ => Vec::new(),
    };
    next.into_iter().flat_map(|value| lead(value, rest)).collect()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = prop_oneof!["[abc]".prop_map(Step::Name), (-3i64..3).prop_map(Step::Index)];
    prop::collection::vec(one, 0..4)
}

/// A value as a text by `coerce`; an error where it is a list or an object.
fn as_text(value: Option<&&Value>) -> Result<Value, ()> {
    match value {
        None | Some(Value::Null) => Ok(Value::Null),
        Some(Value::String(text)) => Ok(Value::from(text.as_str())),
        Some(Value::Array(_) | Value::Object(_)) => Err(()),
        Some(other) => Ok(Value::from(other.to_string())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn paths_lead_where_a_slow_reading_does(
        record in prop::collection::btree_map("[abc]", value(), 0..4),
        paths in prop::collection::vec(steps(), 1..5),
    ) {
        let record = Value::Object(record.into_iter().collect());
        let fields: serde_json::Map<String, Value> = paths.iter().enumerate().map(|(number, steps)| {
            let path = Path { root: Root::Record, steps: steps.clone() }.to_string();
            (format!("f{number}"), json!({ "type": "text", "path": path, "coerce": true }))
        }).collect();
        let wanted: Result<serde_json::Map<String, Value>, ()> = paths.iter().enumerate().map(|(number, steps)| {
            Ok((format!("f{number}"), as_text(lead(&record, steps).first())?))
        }).collect();
        // Where no path can lead on from the record, it is not one.
        let lists = paths.iter().all(|steps| matches!(steps.first(), Some(Step::Index(_))));
        let got = read(&json!({ "fields": fields }), &record.to_string());
        prop_assert_eq!(got.map_err(|_| ()), match wanted {
            Ok(row) if !lists => Ok(json!([row])),
            _ => Err(()),
        });
    }

    #[test]
    fn rows_are_made_of_what_a_slow_reading_finds(
        record in value(), parts in prop::collection::vec(steps(), 2..4),
    ) {
        let steps = parts.join(&Step::Every);
        let rows = Path { root: Root::Record, steps: steps.clone() }.to_string();
        let settings = json!({ "rows": rows, "fields": { "f": { "type": "text", "path": "@", "coerce": true } } });
        let found = lead(&record, &steps);
        let wanted: Result<Vec<Value>, ()> =
            found.iter().map(|value| Ok(json!({ "f": as_text(Some(value))? }))).collect();
        match (read(&settings, &record.to_string()), wanted) {
            (Ok(got), Ok(wanted)) => prop_assert_eq!(got, Value::from(wanted)),
            (Err(_), Err(())) => {}
            // A value that is no list, where one should be, is told; the slow reading passes over it.
            (Err(said), Ok(_)) => prop_assert!(said.contains("expected a list to make rows of") || said.contains("expected a"), "{}", said),
            (Ok(got), Err(())) => prop_assert!(false, "{} is not told", got),
        }
    }
}
