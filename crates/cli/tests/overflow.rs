//! A sum of integers that 64 bits do not hold ends the run, and names step, key, window and field. A sum that
//! was out of range for a while, and is back when its result is given, is exact.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const MAX: i64 = i64::MAX;

/// A window over rows of a file: a key, a number and a second of an hour each.
fn file(window: &str) -> String {
    format!(
        "name: sums
connections: {{ kafka: {{ brokers: embedded:log }} }}
pipelines:
  sums:
    - source: csv
      time: {{ field: at }}
      with: {{ path: rows.csv }}
    - transform: cast
      with: {{ fields: {{ n: integer }} }}
    - window: {window}
    - sink: kafka
      with: {{ topic: sums }}
  show:
    - source: kafka
      with: {{ topic: sums, format: {{ json: {{ fields: {{ key: text, sum: integer }} }} }} }}
    - sink: stdout
      with: {{ format: json }}
"
    )
}

fn rows(folder: &Path, rows: &[(&str, i64, u32)]) {
    let mut text = "key,n,at\n".to_owned();
    for (key, n, second) in rows {
        writeln!(text, "{key},{n},2026-01-01T00:00:{second:02}Z").unwrap();
    }
    std::fs::write(folder.join("rows.csv"), text).unwrap();
}

/// What it writes, its errors, and the exit code.
fn run(folder: &Path, yaml: &str) -> String {
    std::fs::write(folder.join("pipeline.yaml"), yaml).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipectl"));
    command.args(["run", "pipeline.yaml", "--once"]).current_dir(folder).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let from = said.find("error:").map_or("", |at| &said[at..]);
    let out = String::from_utf8(output.stdout).unwrap();
    format!("{out}---\n{from}exit code {:?}\n", output.status.code())
}

const BEYOND: [(&str, i64, u32); 4] = [("a", 1, 1), ("b", MAX, 2), ("b", 1, 3), ("c", 2, 4)];

#[test]
fn each_kind_of_window_names_its_step_key_bounds_and_field() {
    let below = [("a", i64::MIN, 1), ("a", -1, 2)];
    for (name, window, all) in [
        ("tumbling", "sum\n      with: { field: n, key: key, size: 10s }", &BEYOND[..]),
        ("sliding", "sum\n      with: { field: n, key: key, size: 10s, slide: 5s }", &BEYOND[..]),
        ("session", "sum\n      with: { field: n, key: key, gap: 5s }", &BEYOND[..]),
        (
            "updates",
            "sum\n      with: { field: n, key: key, size: 1h, emit: updates, every: 1s }",
            &BEYOND[..],
        ),
        ("without-a-key", "sum\n      with: { field: n, size: 10s }", &BEYOND[..]),
        (
            "two-keys",
            "sum\n      with: { field: n, key: [key, at], size: 10s }",
            &[("a", MAX, 1), ("a", 1, 1)][..],
        ),
        ("below", "sum\n      id: total\n      with: { field: n, key: key, size: 10s }", &below[..]),
        (
            "among-others",
            "aggregates\n      with: { key: key, size: 10s, columns: { rows: count, mean: { avg: { field: n } }, all: { sum: { field: n } } } }",
            &BEYOND[..],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        rows(folder.path(), all);
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("overflow-{name}"), run(folder.path(), &file(window)));
        });
    }
}

/// Of large numbers every other aggregate has a result; what is beyond 64 bits on the way is no error.
#[test]
fn what_comes_back_into_range_is_exact() {
    let back = [("a", MAX, 1), ("a", MAX, 2), ("a", -MAX, 3), ("a", -5, 4)];
    for window in ["size: 10s", "size: 10s, slide: 5s", "gap: 5s"] {
        let folder = tempfile::tempdir().unwrap();
        rows(folder.path(), &back);
        let said = run(folder.path(), &file(&format!("sum\n      with: {{ field: n, key: key, {window} }}")));
        assert!(
            said.contains(&format!("\"sum\":{}", MAX - 5)) && said.ends_with("exit code Some(0)\n"),
            "{said}"
        );
    }
    for (aggregate, settings) in [
        ("count-by-key", ""),
        ("avg", "field: n, "),
        ("min", "field: n, "),
        ("max", "field: n, "),
        ("count-distinct", "field: n, "),
        ("quantiles", "field: n, of: [0.5], "),
        ("top-k", "field: n, k: 1, "),
        ("rate", "of: { field: key, equals: a }, "),
    ] {
        let folder = tempfile::tempdir().unwrap();
        rows(folder.path(), &BEYOND);
        let window = format!("{aggregate}\n      with: {{ {settings}key: key, size: 10s }}");
        let said = run(folder.path(), &file(&window));
        assert!(said.ends_with("---\nexit code Some(0)\n"), "{aggregate}: {said}");
    }
}

/// An open window goes on over restarts with a sum that no 64 bits hold, and nothing is written of it until
/// it fits.
#[test]
fn a_restart_keeps_the_sum() {
    for window in ["size: 1h", "size: 1h, slide: 30m", "gap: 30m"] {
        let folder = tempfile::tempdir().unwrap();
        let yaml = file(&format!("sum\n      with: {{ field: n, key: key, {window} }}"));
        let mut all = vec![("a", MAX, 1)];
        rows(folder.path(), &all);
        let first = run(folder.path(), &yaml);
        assert!(first.contains(&format!("\"sum\":{MAX}")), "{first}");
        all.push(("a", 7, 2));
        rows(folder.path(), &all);
        for _ in 0..2 {
            let said = run(folder.path(), &yaml);
            assert!(said.contains("the sum 9223372036854775814 is beyond"), "{window}: {said}");
            assert!(said.starts_with("---") && said.ends_with("exit code Some(1)\n"), "{window}: {said}");
        }
        all.push(("a", -10, 3));
        rows(folder.path(), &all);
        let last = run(folder.path(), &yaml);
        assert!(last.contains(&format!("\"sum\":{}", MAX - 3)), "{window}: {last}");
        assert!(last.ends_with("exit code Some(0)\n"), "{window}: {last}");
    }
}
