//! Dialects: by cases, and against Python's `csv` on texts and tables that are made by chance.

use std::io::{Cursor, Write};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::reader::{Dialect, Reader};
use super::record::Syntax;
use super::tests::read_all;
use crate::files::{Encoding, LastLine, Place};

fn dialect(syntax: Syntax, width: usize, pads: bool) -> Dialect {
    let columns = (0..width).map(|i| format!("c{i}")).collect();
    Dialect { syntax, pads, columns, max_line: 10_000, name: "x.csv".into(), encoding: Encoding::default() }
}

/// The rows of a text, and the reasons of its rejects.
fn read(text: &str, dialect: Dialect) -> (Vec<Vec<String>>, Vec<String>) {
    let wanted = (0..dialect.columns.len()).collect();
    let top = Place { byte: 0, row: 0, line: 1 };
    let mut reader = Reader::new(Cursor::new(text), dialect, wanted, LastLine::Row, top).unwrap();
    let (rows, rejects) = read_all(&mut reader, 3);
    assert_eq!(reader.place().byte, text.len() as u64, "{text:?}");
    (rows, rejects.into_iter().map(|reject| format!("{}: {}", reject.place, reject.reason)).collect())
}

/// A syntax, whether short rows are padded, a text, its rows, and its rejects.
type Case = (Syntax, bool, &'static str, &'static [[&'static str; 2]], &'static [&'static str]);

#[test]
fn what_a_dialect_makes_of_its_lines() {
    let plain = Syntax::default();
    let comments = Syntax { comment: Some(b'#'), ..plain };
    let escapes = Syntax { escape: Some(b'\\'), ..plain };

    let cases: [Case; 12] = [
        (comments, false, "#a,b\n1,2\n# \"\n3,#4\n\"#5\",6\n#", &[["1", "2"], ["3", "#4"], ["#5", "6"]], &[]),
        (plain, false, "#a,b\n", &[["#a", "b"]], &[]),
        (plain, true, "1\n2,3\n\n\"4\"\n", &[["1", ""], ["2", "3"], ["4", ""]], &[]),
        (plain, false, "1\n", &[], &["x.csv:1: 1 cells where 2 are expected"]),
        (plain, false, "1,2,\n3,4\n\"5\",6,\"\"\r\n", &[["1", "2"], ["3", "4"], ["5", "6"]], &[]),
        (plain, false, "1,2,,\n", &[], &["x.csv:1: 4 cells where 2 are expected"]),
        (plain, false, "1,2,3\n", &[], &["x.csv:1: 3 cells where 2 are expected"]),
        (Syntax { trim: true, ..plain }, false, " 1 ,\t2\n  \n \" 3\" ,4", &[["1", "2"], [" 3", "4"]], &[]),
        (
            Syntax { quote: None, ..plain },
            false,
            "5\",\"a\n\"b,c\"\n",
            &[["5\"", "\"a"], ["\"b", "c\""]],
            &[],
        ),
        (Syntax { quote: Some(b'\''), ..plain }, false, "'a,\n','\"'\n", &[["a,\n", "\""]], &[]),
        (escapes, false, "a\\,b,c\\\nd\n1,2\n", &[["a,b", "c\nd"], ["1", "2"]], &[]),
        (
            escapes,
            false,
            "1,2\n3,4\\",
            &[["1", "2"]],
            &["x.csv:2: an escape character stands at the end of the file"],
        ),
    ];
    for (syntax, pads, text, rows, reasons) in cases {
        let (read, rejected) = read(text, dialect(syntax, 2, pads));
        assert_eq!(read, rows, "{text:?}");
        assert_eq!(rejected, reasons, "{text:?}");
    }
}

#[test]
fn a_comment_without_end_is_passed_over() {
    let text = format!("1,2\n#{}\n3,4\n", "x".repeat(30_000));
    let (rows, rejected) =
        read(&text, dialect(Syntax { comment: Some(b'#'), ..Syntax::default() }, 2, false));
    assert_eq!((rows.len(), rejected), (2, vec![]));
}

/// Reads texts with Python's `csv`: rows without blank ones, or an error. For a table, its text as Python
/// writes it.
const PYTHON: &str = r#"
import csv, io, json, sys
out = []
for case in json.load(sys.stdin):
    options = dict(delimiter=case["delimiter"], quotechar=case["quote"], escapechar=case["escape"], doublequote=case["double"],
                   quoting=csv.QUOTE_MINIMAL if case["quote"] else csv.QUOTE_NONE)
    if "table" in case:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator=case["end"], **options).writerows(case["table"])
        out.append(text.getvalue())
        continue
    try:
        # Lines end with a line feed alone.
        lines = io.StringIO(case["text"], newline="\n")
        out.append([row for row in csv.reader(lines, strict=True, skipinitialspace=False, **options) if row])
    except csv.Error as error:
        out.append(str(error))
json.dump(out, sys.stdout)
"#;

/// What Python makes of the cases; `None` where there is none.
#[expect(clippy::print_stderr, reason = "a test says what it skips")]
fn python(cases: &[Value]) -> Option<Vec<Value>> {
    let Some(python) = std::env::var_os("PIPECTL_TEST_PYTHON") else {
        eprintln!("SKIPPED dialects of CSV against Python: set PIPECTL_TEST_PYTHON to a Python");
        return None;
    };
    let mut child = Command::new(python)
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(Value::from(cases).to_string().as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// A dialect that both know: its syntax, with its characters as Python takes them.
fn dialects() -> impl Strategy<Value = (Syntax, Value)> {
    let quotes = prop::sample::select(vec![Some(b'"'), Some(b'\''), None]);
    (prop::sample::select(b",;\t|".to_vec()), quotes, any::<bool>()).prop_map(|(delimiter, quote, escaped)| {
        let escape = (escaped || quote.is_none()).then_some(b'\\');
        let text = |byte: Option<u8>| byte.map(|byte| char::from(byte).to_string());
        let written = json!({
            "delimiter": text(Some(delimiter)), "quote": text(quote), "escape": text(escape), "double": true,
        });
        (Syntax { delimiter, quote, escape, ..Syntax::default() }, written)
    })
}

fn some<S: Strategy>(count: usize, strategy: S) -> Vec<S::Value> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

#[test]
fn what_python_writes_is_read() {
    let cell = prop_oneof![3 => "[a-z]{0,3}", 1 => "[a ,;|\t'\"\\\\\n\u{56db}]{0,5}"];
    let table = (2usize..5)
        .prop_flat_map(move |width| prop::collection::vec(prop::collection::vec(cell.clone(), width), 1..6));
    let cases = some(2000, (dialects(), table, any::<bool>()));
    let written: Vec<Value> = cases
        .iter()
        .map(|((_, written), table, crlf)| {
            let mut case = written.clone();
            case["table"] = json!(table);
            case["end"] = json!(if *crlf { "\r\n" } else { "\n" });
            case
        })
        .collect();
    let Some(texts) = python(&written) else { return };
    for (((syntax, _), table, _), text) in cases.into_iter().zip(texts) {
        let text = text.as_str().unwrap();
        let (rows, rejected) = read(text, dialect(syntax, table[0].len(), false));
        assert_eq!((&rows, rejected), (&table, vec![]), "{text:?}");
    }
}

#[test]
fn what_python_reads_is_read_alike() {
    let texts = prop::collection::vec(
        prop::sample::select("aab,,;|\t\"\"'\\\n\n \u{56db}".chars().collect::<Vec<char>>()),
        0..14,
    );
    let cases = some(20_000, (dialects(), texts));
    let written: Vec<Value> = cases
        .iter()
        .map(|((_, written), text)| {
            let mut case = written.clone();
            case["text"] = json!(text.iter().collect::<String>());
            case
        })
        .collect();
    let Some(answers) = python(&written) else { return };
    let mut alike = 0;
    for (((syntax, _), text), answer) in cases.into_iter().zip(answers) {
        let text: String = text.into_iter().collect();
        let Some(expected) = answer.as_array() else {
            // A text that Python refuses, as something stands behind a closing quote, is told with its line.
            // What Python says of the end of a text with escaped line ends is left to it.
            if answer.as_str().unwrap().contains("expected after") {
                let (_, rejected) = read(&text, dialect(syntax, 2, true));
                assert!(!rejected.is_empty(), "{syntax:?} {text:?}: Python says {answer}");
            }
            continue;
        };
        let width = expected.iter().map(|row| row.as_array().unwrap().len()).max().unwrap_or(0).max(2);
        let padded: Vec<Vec<String>> = expected
            .iter()
            .map(|row| {
                let row = row.as_array().unwrap();
                (0..width)
                    .map(|i| row.get(i).and_then(Value::as_str).unwrap_or_default().to_owned())
                    .collect()
            })
            .collect();
        let (rows, rejected) = read(&text, dialect(syntax, width, true));
        assert_eq!((rows, rejected), (padded, vec![]), "{syntax:?} {text:?}");
        alike += 1;
    }
    assert!(alike > 10_000, "only {alike} texts were without fault");
}
