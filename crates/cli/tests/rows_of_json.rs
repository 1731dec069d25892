//! A path that rows are to be made of, and that leads nowhere in any record, is told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::process::{Command, Stdio};

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
