//! Results that standard output has no form for are for `on_error` of the step, like any record that a step
//! cannot use.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Stdio};

/// Sums that are infinite, one of them; `more` stands beside the sink.
fn run(on_error: &str, with: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!(
        "name: sums
pipelines:
  sums:
    - source: csv
      time: {{ field: at }}
      with: {{ path: rows.csv }}
    - transform: cast
      with: {{ fields: {{ n: number }} }}
    - window: sum
      with: {{ field: n, key: key, size: 1h }}
    - transform: select
      with: {{ fields: [key, sum] }}
    - sink: stdout
      on_error: {on_error}
      with: {{ {with} }}
{}",
        if on_error == "dead_letter" {
            "  letters:\n    - from: sums.stdout.dead\n    - sink: stdout\n      id: letters\n"
        } else {
            ""
        }
    );
    let rows = "a,1e308\nb,1\na,1e308\nc,2\n";
    let rows: String =
        rows.lines().fold("key,n,at\n".to_owned(), |all, row| all + row + ",2026-01-01T00:00:00Z\n");
    std::fs::write(folder.path().join("pipeline.yaml"), yaml).unwrap();
    std::fs::write(folder.path().join("rows.csv"), rows).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipectl"));
    command.args(["run", "pipeline.yaml", "--once"]).current_dir(folder.path()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let said = said.lines().filter(|line| !line.starts_with("ran ")).map(|line| line.to_owned() + "\n");
    let out = String::from_utf8(output.stdout).unwrap();
    format!("{out}---\n{}exit code {:?}\n", said.collect::<String>(), output.status.code())
}

#[test]
fn an_infinite_sum_is_for_on_error_of_stdout() {
    for (name, on_error, with) in [
        ("fail", "fail", ""),
        ("skip", "skip", ""),
        ("dead-letter", "dead_letter", ""),
        ("null", "fail", "non_finite: null"),
        ("text", "fail", "non_finite: text"),
        ("csv", "fail", "format: csv"),
        ("csv-reject", "skip", "format: csv, non_finite: reject"),
    ] {
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("infinite-sum-{name}"), run(on_error, with));
        });
    }
}
