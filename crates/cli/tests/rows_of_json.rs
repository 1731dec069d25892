//! A path that rows are to be made of, and that leads nowhere in any record, is told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use pipectl as _;

/// Makes rows of records in this way; gives what was warned of, and how many rows there were.
fn run(rows: &str, records: &[&str], times: usize) -> String {
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!(
        "name: rows
connections: {{ kafka: {{ brokers: embedded }} }}
pipelines:
  write:
    - source: csv
      with: {{ path: records.txt, columns: [v], quote: none, delimiter: \"\\t\" }}
    - sink: kafka
      with: {{ topic: records, value: v }}
  read:
    - source: kafka
      with: {{ topic: records, format: {{ json: {{ rows: \"{rows}\", fields: {{ n: integer }} }} }} }}
    - sink: stdout
      with: {{ format: json }}
"
    );
    std::fs::write(folder.path().join("pipeline.yaml"), yaml).unwrap();
    std::fs::write(folder.path().join("records.txt"), (records.join("\n") + "\n").repeat(times)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipectl"));
    command.args(["run", "pipeline.yaml", "--once"]).current_dir(folder.path()).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut said = format!("{} rows\n", String::from_utf8(output.stdout).unwrap().lines().count());
    for line in String::from_utf8(output.stderr).unwrap().lines().filter(|line| line.contains("WARN")) {
        writeln!(said, "{}", line.trim_start()).unwrap();
    }
    said
}

#[test]
fn a_path_of_a_file_is_told_too() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "name: rows\npipelines:\n  read:\n    - source: jsonl\n      with: { path: PATH, rows: \"$.items[*]\", \
                fields: { n: integer } }\n    - sink: stdout\n";
    std::fs::write(folder.path().join("a.jsonl"), "{\"item\":[]}\n{}\n").unwrap();
    std::fs::write(folder.path().join("b.jsonl"), "{\"items\":null}\n").unwrap();
    let mut said = String::new();
    for path in ["a.jsonl", "[a.jsonl, b.jsonl]", "a.jsonl, follow: true"] {
        std::fs::write(folder.path().join("pipeline.yaml"), yaml.replace("PATH", path)).unwrap();
        let output = pipectl(folder.path(), "pipeline.yaml", None);
        writeln!(said, "# {path}").unwrap();
        for line in String::from_utf8(output.1).unwrap().lines().filter(|line| line.contains("WARN")) {
            writeln!(said, "{}", line.trim_start()).unwrap();
        }
    }
    insta::assert_snapshot!(said);
}

/// How a run ended, with what it wrote to standard error and to standard output.
fn pipectl(folder: &Path, file: &str, dies_at: Option<&str>) -> (ExitStatus, Vec<u8>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipectl"));
    command.args(["run", file, "--once"]).current_dir(folder).stdin(Stdio::null());
    if let Some(point) = dies_at {
        command.env("PIPECTL_FAIL_POINT", point);
    }
    let output = command.output().unwrap();
    (output.status, output.stderr, String::from_utf8(output.stdout).unwrap())
}

/// Each record has a row of `a`, and one of `b` half an hour later: they are in windows that close at
/// different times.
const KILLED: &str = r#"name: orders
connections: { kafka: { brokers: "embedded:log" } }
pipelines:
  count:
    - source: jsonl
      time: { field: at, format: epoch_s }
      with:
        path: orders.jsonl
        rows: "$.items[*]"
        fields: { k: text, at: integer }
    - window: count-by-key
      with: { key: k, size: 10m, out_of_orderness: 1h }
    - sink: kafka
      with: { topic: counts, partitions: 1, encode: json }
"#;

const READ: &str = r#"name: read
connections: { kafka: { brokers: "embedded:log" } }
pipelines:
  read:
    - source: kafka
      with: { topic: counts, format: { json: { fields: { window_start: integer, key: text, count: integer } } } }
    - sink: stdout
      with: { format: json }
"#;

#[test]
fn a_worker_that_is_killed_between_two_rows_of_a_record_counts_each_once() {
    const BEGIN: i64 = 1_767_225_600;
    let points = ["read:1", "replaying:1", "window-closed:1", "window-closed:3", "appended:1", "committed:1"];
    let mut killed = 0;
    for point in points {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("pipeline.yaml", KILLED);
        write("read.yaml", READ);
        let (mut lines, mut wanted) = (String::new(), BTreeMap::<(i64, String), i64>::new());
        for minute in 0..240 {
            let at = BEGIN + minute * 60;
            writeln!(lines, r#"{{"items":[{{"k":"a","at":{at}}},{{"k":"b","at":{}}}]}}"#, at + 1800).unwrap();
            for (k, at) in [("a", at), ("b", at + 1800)] {
                *wanted.entry((at / 600 * 600_000, k.to_owned())).or_default() += 1;
            }
            if minute % 80 == 79 {
                write("orders.jsonl", &lines);
                killed += i32::from(!pipectl(folder.path(), "pipeline.yaml", Some(point)).0.success());
                assert!(pipectl(folder.path(), "pipeline.yaml", None).0.success());
            }
        }
        let mut last = BTreeMap::new();
        let (status, _, rows) = pipectl(folder.path(), "read.yaml", None);
        assert!(status.success());
        for row in rows.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()) {
            let key = (row["window_start"].as_i64().unwrap(), row["key"].as_str().unwrap().to_owned());
            last.insert(key, row["count"].as_i64().unwrap());
        }
        assert_eq!(last, wanted, "{point}");
    }
    assert!(killed >= 12, "{killed} were killed");
}

#[test]
fn a_path_that_leads_nowhere_in_any_record_is_told_once() {
    let (missing, null) = (r#"{"item":[{"n":1}]}"#, r#"{"items":null}"#);
    let (empty, full) = (r#"{"items":[]}"#, r#"{"items":[{"n":1},{"n":2}]}"#);
    let cases = [
        ("nowhere in the only record", run("$.items[*]", &[missing], 1)),
        ("nowhere in any of some", run("$.items[*]", &[missing, null], 3)),
        ("nowhere in any of many", run("$.items[*]", &[missing], 2500)),
        ("behind the elements", run("$.items[*].x", &[full, missing], 1)),
        ("a list in a list", run("$.items[*].x[*]", &[full, r#"{"items":[]}"#], 1)),
        ("somewhere in one", run("$.items[*]", &[missing, full, missing], 1)),
        ("a list of nothing", run("$.items[*]", &[empty], 1)),
        ("a list of nothing in a list", run("$.items[*].x[*]", &[r#"{"items":[{"x":[]}]}"#], 1)),
    ];
    let said: String = cases.iter().map(|(name, said)| format!("# {name}\n{said}\n")).collect();
    insta::assert_snapshot!(said);
}
