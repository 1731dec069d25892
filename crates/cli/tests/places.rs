//! Rows are named by where they stand for a person: by file and line, whichever step has to name them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use pipectl as _;

/// The first row stands at line 3; those that are of no use stand at lines 5 (to 7) and 10.
const TABLE: &str = "# a comment\nn,at,note\n1,2026-01-01T00:00:00Z,\n\n\"x\",2026-01-01T00:00:40Z,\"two\nmore\nlines\"\n\n# another\ny,2026-01-01T00:00:01Z,\n7,2026-01-01T00:00:41Z,\n";
const LINES: &str = "{\"n\":\"1\"}\n\n   \n{\"n\":\"x\"}\n{\"n\":\"2\"}\n{\"n\":\"y\"}\n";

/// What a run of these chains says, and with which exit code.
fn run(chains: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("nums.csv", TABLE);
    write("nums.jsonl", LINES);
    write("a.csv", "n,at,note\n1,2026-01-01T00:00:00Z,\n");
    write("b.csv", "n,at,note\n\n2,2026-01-01T00:00:00Z,\nz,9998-12-31T00:00:00Z,\n");
    write("pipeline.yaml", &format!("name: places\npipelines:\n{chains}"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipectl"));
    command.args(["run", "pipeline.yaml", "--once"]).current_dir(folder.path()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let mut said = format!("exit code {}\n", output.status.code().unwrap());
    for stream in [output.stdout, output.stderr] {
        let text = String::from_utf8(stream).unwrap();
        // The balance and the progress are no part of it.
        let is_part = |line: &&str| {
            ["{", " WARN", "error", "warning", "  = help"].iter().any(|begin| line.starts_with(begin))
        };
        for line in text.lines().filter(is_part) {
            writeln!(said, "{}", line.trim_end()).unwrap();
        }
    }
    said
}

/// A chain that makes numbers of a source's texts.
fn numbers(source: &str, with: &str, on_error: &str) -> String {
    format!(
        "  count:\n    - source: {source}\n      with: {{ {with} }}\n    - transform: cast\n      on_error: {on_error}\n      \
         with: {{ fields: {{ n: integer }} }}\n    - sink: stdout\n      with: {{ format: json }}\n"
    )
}

#[test]
fn a_row_is_named_by_its_line_whichever_step_names_it() {
    let table = "path: nums.csv, comment: \"#\"";
    let window = |with: &str, on_error: &str| {
        format!(
            "  count:\n    - source: csv\n      time: {{ field: at }}\n      with: {{ {with} }}\n    - window: count\n      \
             on_error: {on_error}\n      with: {{ size: 10s }}\n    - sink: stdout\n      with: {{ format: json }}\n"
        )
    };
    let dead = "  dead:\n    - from: count.cast.dead\n    - transform: cast\n      on_error: skip\n      \
                with: { fields: { reason: integer } }\n    - sink: stdout\n      id: letters\n      with: { format: json }\n";
    let letters = "  dead:\n    - from: count.cast.dead\n    - sink: stdout\n      id: letters\n      with: { format: json }\n";
    let untimed =
        window(table, "fail").replace("time: { field: at }", "on_error: skip\n      time: { field: note }");
    let cases = [
        ("a cast that fails", numbers("csv", table, "fail")),
        ("a cast that skips", numbers("csv", table, "skip")),
        ("a cast that sends to a chain", numbers("csv", table, "dead_letter") + letters),
        ("a cast behind dead letters", numbers("csv", table, "dead_letter") + dead),
        (
            "lines of objects",
            numbers("jsonl", "path: nums.jsonl, fields: { n: text }", "dead_letter") + letters,
        ),
        ("several files", numbers("csv", "path: [a.csv, b.csv]", "dead_letter") + letters),
        ("a time that is none", untimed),
        ("late rows", window(table, "fail")),
        ("a row far ahead of the clock", window("path: [a.csv, b.csv]", "skip")),
        ("a source without lines", numbers("generate", "fields: { n: { values: [x] } }, count: 2", "skip")),
    ];
    let said: String = cases.iter().map(|(name, chains)| format!("# {name}\n{}\n", run(chains))).collect();
    insta::assert_snapshot!(said);
}
