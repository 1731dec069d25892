//! The source by cases: what a line gives, and what becomes of one that gives nothing.

use std::io::Cursor;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use pipectl_framework::plugin::{Purpose, Registry, SourceReject};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn fields() -> Json {
    let fields = json!({ "id": "integer", "city": "text" });
    Json::of_fields(serde_json::from_value(fields).unwrap(), None)
}

fn reader(text: &[u8], max_line: usize, last_line: LastLine) -> Reader<Cursor<&[u8]>> {
    let byte = if text.starts_with(BOM) { 3 } else { 0 };
    let at = Place { byte, row: 0, line: 1 };
    let lines = Lines { name: "x.jsonl".into(), max_line };
    Reader::new(Cursor::new(text), lines, fields().decoder().unwrap(), last_line, at).unwrap()
}

/// The rows as `ID CITY`, each with its number, and the rejects; `limit` records at a time.
fn read_all(reader: &mut Reader<Cursor<&[u8]>>, limit: usize) -> (Vec<(i64, String)>, Vec<SourceReject>) {
    let (mut rows, mut rejects) = (Vec::new(), Vec::new());
    loop {
        let (read, end) = reader.read(limit).unwrap();
        let none = read.numbers.is_empty() && read.rejects.is_empty();
        let (ids, cities) = (read.columns[0].as_primitive::<Int64Type>(), read.columns[1].as_string::<i32>());
        for (row, number) in read.numbers.iter().enumerate() {
            let id = if ids.is_null(row) { "-".to_owned() } else { ids.value(row).to_string() };
            rows.push((*number, format!("{id} {}", cities.value(row))));
        }
        rejects.extend(read.rejects);
        if end && none {
            return (rows, rejects);
        }
    }
}

#[test]
fn a_line_is_a_row_and_what_is_none_is_told_with_its_line_and_column() {
    let text = "\u{feff}{\"id\":1,\"city\":\"a\"}\n\n \t\r\n{\"city\":\"\u{56db}\",\"x\":{}}\r\n{\"id\":\"2\"}\n{\"id\":3\n[4]\n\
                {\"id\":5} {}\n{\"id\":6,\"city\":\"too long, too long, too long\"}\n{\"id\":7}";
    for limit in [1, 3, 100] {
        let mut reader = reader(text.as_bytes(), 40, LastLine::Row);
        let (rows, rejects) = read_all(&mut reader, limit);
        assert_eq!(rows, [(0, "1 a".into()), (1, "- \u{56db}".into()), (7, "7 ".into())]);
        let said: Vec<String> =
            rejects.iter().map(|r| format!("{} {}: {}", r.offset, r.place, r.reason)).collect();
        assert_eq!(
            said,
            [
                "2 x.jsonl:5: expected an integer of 64 bits for the field `id`, found \"2\" at column 10: \
                 \"{\\\"id\\\":\\\"2\\\"}\"",
                "3 x.jsonl:6: EOF while parsing an object at column 7: \"{\\\"id\\\":3\"",
                "4 x.jsonl:7: invalid type: sequence, expected a JSON object at column 1: \"[4]\"",
                "5 x.jsonl:8: trailing characters at column 10: \"{\\\"id\\\":5} {}\"",
                "6 x.jsonl:9: longer than 40 bytes (`max_line`)",
            ]
        );
        assert_eq!(rejects[3].raw, b"{\"id\":5} {}");
    }
}

#[test]
fn a_last_line_waits_or_is_a_row() {
    for (rest, held) in [("{\"id\":2}", true), ("{\"i", true), (" ", false), ("", false)] {
        let text = format!("{{\"id\":1}}\n{rest}");
        let mut waits = reader(text.as_bytes(), 100, LastLine::Wait);
        assert_eq!(read_all(&mut waits, 10).0.len(), 1, "{rest:?}");
        assert_eq!(waits.held().is_some(), held, "{rest:?}");
        let mut row = reader(text.as_bytes(), 100, LastLine::Row);
        let (rows, rejects) = read_all(&mut row, 10);
        assert_eq!(rows.len() + rejects.len(), 1 + usize::from(held), "{rest:?}");
        assert_eq!(row.held(), None);
    }
}

proptest! {
    #[test]
    fn every_line_of_any_bytes_is_a_row_a_reject_or_blank(
        text in prop::collection::vec(prop::sample::select(b"{}\"id:1,\n\n\r \xE5\x9B\x9B\0".to_vec()), 0..300),
        limit in 1usize..9,
        max_line in 1usize..60,
    ) {
        let mut reader = reader(&text, max_line, LastLine::Row);
        let (rows, rejects) = read_all(&mut reader, limit);
        let blank = |line: &&[u8]| line.iter().all(u8::is_ascii_whitespace) && line.len() <= max_line;
        let all = text.split(|byte| *byte == b'\n');
        let records = all.filter(|line| !line.is_empty() && !blank(line)).count();
        prop_assert!(rows.len() + rejects.len() <= records);
        let mut numbers: Vec<i64> = rows.iter().map(|row| row.0).chain(rejects.iter().map(|r| r.offset)).collect();
        numbers.sort_unstable();
        prop_assert_eq!(numbers, (0..(rows.len() + rejects.len()) as i64).collect::<Vec<_>>());
    }
}

fn problem(content: &[u8], with: serde_json::Value) -> Problem {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.jsonl"), content).unwrap();
    let config: Jsonl = serde_json::from_value(with).unwrap();
    let registry = Registry::default();
    let context =
        BindContext { registry: &registry, base: folder.path(), connections: &[], purpose: Purpose::Check };
    config.bind(&context).err().expect("it was bound")
}

#[test]
fn what_cannot_be_read_is_a_problem_with_a_place() {
    let none = problem(b"", json!({ "path": "x.jsonl", "fields": {} }));
    assert_eq!((none.path.as_str(), none.message.as_str()), ("fields", "at least one field is needed"));
    let fields = json!({ "id": "integer" });
    let missing = problem(b"", json!({ "path": "y.jsonl", "fields": fields }));
    assert_eq!((missing.path.as_str(), missing.message.as_str()), ("path", "cannot read `y.jsonl`"));
    let wide: Vec<u8> = "{\"id\":1}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let wide = problem(&wide, json!({ "path": "x.jsonl", "fields": fields }));
    assert_eq!(wide.label, "it looks like UTF-16, little endian, and not like UTF-8");
    assert_eq!(wide.help, ["say `encoding: utf-16le`, or save it as UTF-8"]);
    let long = problem(b"", json!({ "path": "x.jsonl", "fields": fields, "max_line": "0B" }));
    assert_eq!(long.path, "max_line");
}
