//! Records that are nearly right:
//! `PIPECTL_FUZZ_RUNS=2000000 cargo test --release -p pipectl-plugins --lib fuzz`.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, BinaryArray};
use pipectl_framework::plugin::{BindContext, Decoder, FormatSpec, Purpose, Registry, Rejects};
use pipectl_framework::testing::fuzz::{Fuzz, most_memory, runs};
use serde_json::{Value, json};

use super::testing::of;

const RECORDS: [&[u8]; 9] = [
    br#"{"i":7,"t":"x","n":1.5e3,"b":true,"at":"2026-01-01T00:00:00Z"}"#,
    br#"{"t":"\ud83d\ude00\n\"","i":-9223372036854775808,"x":[1,[2,{"a":null}]]}"#,
    br#"{"r":[{"i":1,"t":"a"},{"i":2},null],"o":{"i":3}}"#,
    br#"{"i":"12","n":"2.50","b":"true","at":1767225600000}"#,
    b"{}",
    br#"[{"0":5},{"2":1},{"1":7}]"#,
    br#"[{"a":1.25},{"\u0062":-3}]"#,
    br#"{"i":1,"i":2}"#,
    b"{\"t\":\"\xe5\x9b\x9b\",\"i\":0}",
];
const WORDS: [&[u8]; 20] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"null",
    b"true",
    b"e",
    b".",
    b"-",
    b"\xEF\xBB\xBF",
    b"\xFF",
    b"\0",
    b"\"i\":",
    b"\"t\":",
];

fn decoders() -> Vec<Box<dyn Decoder>> {
    let registry = Registry::collect().unwrap();
    let context = BindContext {
        registry: &registry,
        base: std::path::Path::new("."),
        connections: &[],
        purpose: Purpose::Check,
    };
    let all = json!({ "i": "integer", "t": "text", "n": "number", "b": "boolean", "at": "time" });
    let path = |field: &str, path: &str| json!({ "type": field, "path": path, "coerce": true });
    let nested = json!({
        "i": path("integer", "$.o.i"),
        "t": path("text", "$.x[-1]"),
        "n": { "type": "number", "exact": true },
    });
    let rows = json!({ "i": "integer", "t": "text" });
    [
        json!({ "json": { "fields": all } }),
        json!({ "json": { "fields": nested } }),
        json!({ "json": { "fields": rows, "rows": "$.r[*]" } }),
        json!({ "pairs": {} }),
        json!({ "pairs": { "type": "number" } }),
    ]
    .into_iter()
    .map(|spec| context.decoder("format", &serde_json::from_value::<FormatSpec>(spec).unwrap()).unwrap())
    .collect()
}

#[test]
fn fuzz_records() {
    let before = most_memory();
    let mut decoders = decoders();
    let (mut taken, mut rejects) = (0, Rejects::default());
    for seed in 0..runs(20_000) {
        let record = Fuzz::new(seed).bytes(&RECORDS, &WORDS);
        let oracle = serde_json::from_slice::<Value>(&record);
        let list = of(&BinaryArray::from(vec![br#"{"i":5}"#.as_slice(), &record]));
        for (way, decoder) in decoders.iter_mut().enumerate() {
            rejects.clear();
            let decoded = decoder.decode(&list, &mut rejects).unwrap();
            let refused = rejects.rows().iter().any(|reject| reject.row == 1);
            assert!(rejects.rows().iter().all(|reject| !reject.reason.is_empty()), "seed {seed}");
            if way > 0 || refused {
                continue;
            }
            // What is taken is what it is to another reader.
            taken += 1;
            let row = decoded.columns.num_rows() - 1;
            let Ok(oracle) = &oracle else { continue };
            let (i, t) = (decoded.columns.column(0), decoded.columns.column(1));
            let i = i.is_valid(row).then(|| i.as_primitive::<Int64Type>().value(row));
            let t = t.is_valid(row).then(|| t.as_string::<i32>().value(row));
            assert!(oracle.is_object(), "seed {seed}");
            let minus_zero = oracle["i"].as_f64() == Some(0.0);
            assert!(i == oracle["i"].as_i64() || minus_zero && i == Some(0), "seed {seed}: {oracle}");
            assert_eq!(t, oracle["t"].as_str(), "seed {seed}: {oracle}");
        }
    }
    assert!(taken > 0);
    if let (Some(before), Some(after)) = (before, most_memory()) {
        assert!(after - before < 1 << 30, "{} MiB more", (after - before) >> 20);
    }
}
