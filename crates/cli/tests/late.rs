//! Late rows are told with the row that moved time, and with what would let them count.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};

/// Counts rows of these times, in seconds from now; gives what was said of late ones.
fn run(window: &str, more: &str, seconds: &[i64]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!(
        "name: late
pipelines:
  count:
    - source: csv
      time: {{ field: at }}
      with: {{ path: rows.csv }}
    - window: count
      with: {{ size: 10s{window} }}
    - sink: stdout
{more}"
    );
    // A whole minute, so that windows begin with it.
    let minute = DateTime::<Utc>::from(SystemTime::now()).timestamp() / 60 * 60;
    let time = |seconds: i64| {
        let time = DateTime::from_timestamp(minute + seconds, 0).unwrap();
        time.to_rfc3339_opts(SecondsFormat::Secs, true)
    };
    let mut rows = "at\n".to_owned();
    seconds.iter().for_each(|seconds| writeln!(rows, "{}", time(*seconds)).unwrap());
    std::fs::write(folder.path().join("pipeline.yaml"), yaml).unwrap();
    std::fs::write(folder.path().join("rows.csv"), rows).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipectl"));
    command.args(["run", "pipeline.yaml", "--once"]).current_dir(folder.path()).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut said = String::new();
    for line in String::from_utf8(output.stderr).unwrap().lines().filter(|line| line.contains("late")) {
        let mut line = line.to_owned();
        for at in seconds {
            line = line.replace(&time(*at), &format!("{at:+} s"));
        }
        if !line.starts_with("late from") && !line.contains("late  dead") {
            writeln!(said, "{line}").unwrap();
        }
    }
    said
}

#[test]
fn the_row_that_moved_time_is_named_with_the_remedy() {
    let ahead = [-300, -299, 10_000, -298, -297, -100];
    let behind = [-300, -299, -250, -298, -255, -100, -297];
    let read = "  late:\n    - from: count.count.late\n    - sink: stdout\n      id: late\n";
    let cases = [
        ("a row ahead of the clock", run("", "", &ahead)),
        ("ahead of the clock, and late rows are read", run("", read, &ahead)),
        ("rows that lie behind", run("", "", &behind)),
        ("rows that lie behind, and are read", run("", read, &behind)),
        ("as far as it said", run(", out_of_orderness: 4m", "", &behind)),
    ];
    let said: String = cases.iter().map(|(name, said)| format!("# {name}\n{said}\n")).collect();
    insta::assert_snapshot!(said);
}
