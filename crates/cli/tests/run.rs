//! The real binary, driven from outside: whole graphs to their end, on the embedded log and on a real Kafka;
//! signals; exit codes.

#![allow(clippy::print_stderr, clippy::unwrap_used)] // a test fails by panicking, and says when it is skipped

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const COLUMNS: &str =
    "[user_id, item_id, cat_id, merchant_id, brand_id, month, day, action, age_range, gender, province]";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn pipectl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipectl"));
    command.args(arguments).current_dir(root()).env_remove("KAFKA_BROKERS");
    command
}

/// The whole graph of the shipped file, with the rows of a page's chain on standard output.
fn graph(path: &Path, header: &str, field: &str, suffix: &str) -> String {
    format!(
        "name: trial{suffix}
connections:
  kafka: {{ brokers: \"${{KAFKA_BROKERS:-embedded}}\" }}
pipelines:
  shoppers:
    - source: csv
      with: {{ path: '{}', {header} }}
    - transform: select
      with: {{ fields: [{field}] }}
    - sink: kafka
      with: {{ topic: in{suffix}, value: {field} }}
  count:
    - source: kafka
      with: {{ topic: in{suffix}, format: text }}
    - window: count-by-key
      with: {{ key: value, size: 1s, slide: 1s, zero_fill: seen }}
    - sink: kafka
      with: {{ topic: result{suffix}, encode: pairs }}
  dashboard:
    - source: kafka
      with: {{ topic: result{suffix}, format: pairs }}
    - sink: stdout
",
        path.display()
    )
}

/// The sums over all windows of a graph's output.
fn sums(output: &Output) -> BTreeMap<String, i64> {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("does not hold"), "{said}");
    let mut sums = BTreeMap::new();
    for line in String::from_utf8(output.stdout.clone()).unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        *sums.entry(row["key"].as_str().unwrap().to_owned()).or_insert(0) += row["count"].as_i64().unwrap();
    }
    sums
}

fn run_once(yaml: &str, brokers: Option<&str>) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.yaml");
    std::fs::write(&file, yaml).unwrap();
    let mut command = pipectl(&["run", file.to_str().unwrap(), "--once"]);
    if let Some(brokers) = brokers {
        command.env("KAFKA_BROKERS", brokers);
    }
    command.output().unwrap()
}

/// Counts a column of a CSV file by itself.
fn recount(path: &Path, column: usize) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        *counts.entry(line.split(',').nth(column).unwrap().to_owned()).or_insert(0) += 1;
    }
    counts
}

/// The real slice, where it is.
fn slice() -> Option<PathBuf> {
    let path = std::env::var_os("PIPECTL_TEST_DATA")
        .map_or_else(|| root().join("../shared/data/user_log_10k.csv"), PathBuf::from);
    path.exists().then_some(path)
}

fn suffix() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("-{}-{}", std::process::id(), now.as_nanos())
}

#[test]
fn the_sample_is_counted_to_the_last_row() {
    let path = root().join("data/user_log.csv");
    for (column, field) in [(9, "gender"), (8, "age_range"), (10, "province")] {
        let mut expected = recount(&path, column);
        assert_eq!(expected.remove(field), Some(1), "the header");
        assert_eq!(sums(&run_once(&graph(&path, "header: true", field, ""), None)), expected, "{field}");
    }
}

#[test]
fn the_real_slice_is_counted_to_the_last_row_on_both_logs() {
    let Some(path) = slice() else {
        eprintln!("SKIPPED the real slice: set PIPECTL_TEST_DATA to a headerless user_log.csv");
        return;
    };
    let columns = format!("header: false, columns: {COLUMNS}");
    let expected = recount(&path, 9);
    assert_eq!(expected["0"], 3361);
    assert_eq!(expected["1"], 3299);
    assert_eq!(expected["2"], 3340);
    assert_eq!(sums(&run_once(&graph(&path, &columns, "gender", ""), None)), expected, "embedded");
    let Ok(brokers) = std::env::var("PIPECTL_TEST_KAFKA") else {
        eprintln!("SKIPPED the real slice over Kafka: set PIPECTL_TEST_KAFKA to host:port of a broker");
        return;
    };
    assert_eq!(
        sums(&run_once(&graph(&path, &columns, "gender", &suffix()), Some(&brokers))),
        expected,
        "Kafka"
    );
}

#[test]
fn a_signal_drains_and_the_process_ends_with_zero() {
    let mut child =
        pipectl(&["run", "pipeline.yaml", "--set", "pipelines.dashboard.socketio.with.listen=127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let started = lines.by_ref().map(Result::unwrap).find(|line| line.contains("http://127.0.0.1:"));
    assert!(started.is_some(), "the address is told");
    let signalled = std::time::Instant::now();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest:#?}");
    assert!(signalled.elapsed().as_secs() < 10);
    assert!(rest.iter().any(|line| line.starts_with("count-by-gender")), "the balance is told: {rest:#?}");
}

#[test]
fn a_bad_row_ends_the_run_and_says_where_unless_the_step_skips_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.csv");
    std::fs::write(&path, "a,b\n1,2\n1,2,3\n4,5\n").unwrap();
    let yaml = |policy: &str, more: &str| {
        format!(
            "name: bad\npipelines:\n  a:\n    - source: csv\n      {policy}\n      with: {{ path: '{}' }}\n    - sink: stdout\n{more}",
            path.display()
        )
    };
    let failed = run_once(&yaml("on_error: fail", ""), None);
    let said = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.contains("log.csv:3") && said.contains("on_error: skip"), "{said}");
    let skipped = run_once(&yaml("on_error: skip", ""), None);
    assert!(skipped.status.success());
    assert_eq!(String::from_utf8(skipped.stdout).unwrap().lines().count(), 2);
    let dead = run_once(
        &yaml("on_error: dead_letter", "  dead:\n    - from: a.csv.dead\n    - sink: stdout\n"),
        None,
    );
    assert!(dead.status.success());
    let rows = String::from_utf8(dead.stdout).unwrap();
    let letter = rows.lines().find(|line| line.contains("reason")).unwrap();
    let letter: serde_json::Value = serde_json::from_str(letter).unwrap();
    assert_eq!((letter["offset"].as_i64(), letter["record"].as_str()), (Some(1), Some("1,2,3")), "{letter}");
}

/// Starts the shipped file over a broker that is not there, waits for a line, and sends a signal; gives the
/// line and the exit code.
fn without_a_broker(wait_for: &str) -> (String, Option<i32>) {
    let mut child =
        pipectl(&["run", "pipeline.yaml", "--set", "pipelines.dashboard.socketio.with.listen=127.0.0.1:0"])
            .env("KAFKA_BROKERS", "127.0.0.1:1")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.by_ref().find(|line| line.contains(wait_for)).unwrap();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    for _ in lines {}
    (line, child.wait().unwrap().code())
}

#[test]
fn a_broker_that_is_not_there_is_waited_for_and_a_signal_still_ends_the_run() {
    let (line, code) = without_a_broker("again in");
    assert!(line.contains("127.0.0.1:1"), "the broker is named: {line}");
    assert_eq!(code, Some(0));
}

#[test]
fn a_signal_ends_a_run_that_has_not_reached_its_broker_yet() {
    let (_, code) = without_a_broker("kafka: Kafka at 127.0.0.1:1");
    assert_eq!(code, Some(0));
}

#[test]
fn a_broker_that_is_not_there_ends_the_run_where_the_file_says_so() {
    let yaml = "name: impatient
connections: { kafka: { brokers: '127.0.0.1:1' } }
pipelines:
  noise:
    - source: generate
      with: { fields: { key: { values: [a] } } }
    - sink: kafka
      retry: off
      with: { topic: noise }
";
    let output = run_once(yaml, None);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let error: Vec<&str> = said.lines().skip_while(|line| !line.starts_with("error")).collect();
    let error = error.join("\n");
    // What the log says of itself is not the matter here, and differs from time to time.
    let (before, behind) = (error.split("topic").next().unwrap(), error.split_once("; `noise").unwrap().1);
    insta::assert_snapshot!("given-up", format!("{before}...; `noise{behind}"));
}

#[test]
fn open_windows_are_read_again_after_a_restart_and_the_balance_holds() {
    let Ok(brokers) = std::env::var("PIPECTL_TEST_KAFKA") else {
        eprintln!("SKIPPED the restart over Kafka: set PIPECTL_TEST_KAFKA to host:port of a broker");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.yaml");
    let suffix = suffix();
    let yaml = format!(
        "name: restart{suffix}
connections: {{ kafka: {{ brokers: '{brokers}' }} }}
pipelines:
  make:
    - source: generate
      with: {{ rate: 200/s, fields: {{ key: {{ values: ['0', '1'] }} }} }}
    - sink: kafka
      with: {{ topic: in{suffix}, value: key }}
  count:
    - source: kafka
      with: {{ topic: in{suffix}, format: text }}
    - window: count-by-key
      with: {{ key: value, size: 1s }}
    - sink: kafka
      with: {{ topic: result{suffix}, encode: pairs }}
  show:
    - source: kafka
      with: {{ topic: result{suffix}, format: pairs }}
    - sink: stdout
"
    );
    std::fs::write(&file, yaml).unwrap();
    let (mut read, mut counted, mut in_flight) = (0, 0, 0);
    for _ in 0..2 {
        let mut child = pipectl(&["run", file.to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The first result of a window: the rows after it are in an open one.
        let mut results = BufReader::new(child.stdout.take().unwrap()).lines();
        results.next().unwrap().unwrap();
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        drop(results);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !said.contains("does not hold"), "{said}");
        let figures = |step: &str| -> Vec<u64> {
            let line = said.lines().rfind(|line| line.contains(step)).unwrap();
            line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
        };
        let window = figures("count-by-key");
        read += figures("count  ")[0];
        assert_eq!(window[0], figures("count  ")[0] + in_flight, "what was in flight comes in again");
        // A partition that wakes after the idle time may find its window closed: late, and counted as that.
        (counted, in_flight) = (counted + window[1] + window[3], window[5]);
    }
    assert_eq!(read, counted + in_flight, "each row counts once");
}

#[test]
fn wrong_usage_is_two_and_a_file_that_is_not_valid_is_three() {
    assert_eq!(pipectl(&["run"]).output().unwrap().status.code(), Some(2));
    assert_eq!(pipectl(&["run", "no-such-file.yaml"]).output().unwrap().status.code(), Some(3));
    assert_eq!(pipectl(&["check", "pipeline.yaml"]).output().unwrap().status.code(), Some(0));
}

#[test]
fn with_json_logs_every_line_is_an_object() {
    let all = ["pipelines.shoppers.csv.with.rate=max", "pipelines.shoppers.csv.with.repeat=false"];
    let set =
        ["--set", all[0], "--set", all[1], "--set", "pipelines.dashboard.socketio.with.listen=127.0.0.1:0"];
    let run: Vec<&str> =
        ["--log-format", "json", "run", "pipeline.yaml", "--once"].into_iter().chain(set).collect();
    let broken = ["--log-format", "json", "run", "crates/cli/tests/errors/misspelt-field.yaml"];
    for (arguments, code) in [(&run[..], 0), (&broken, 3)] {
        let output = pipectl(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.is_empty());
        for line in said.lines() {
            let event = serde_json::from_str::<serde_json::Value>(line);
            assert!(event.is_ok_and(|event| event["fields"]["message"].is_string()), "{line}");
        }
    }
}

const ROWS: usize = 20_000;

/// A file of unique rows goes to a topic, and the topic's rows are counted, through any number of kills: each
/// row is there once, and counts once. `forgotten` is how long the log takes to notice that a member of a
/// group is dead: a bounded run reads only the partitions that it is given.
fn a_killed_run_goes_on(brokers: &str, forgotten: std::time::Duration) {
    let (folder, suffix) = (tempfile::tempdir().unwrap(), suffix());
    let csv = folder.path().join("rows.csv");
    let rows: String = (0..ROWS).map(|row| format!("row-{row},{}\n", row % 7)).collect();
    std::fs::write(&csv, format!("id,key\n{rows}")).unwrap();
    let file = folder.path().join("pipeline.yaml");
    let connections = format!("connections: {{ kafka: {{ brokers: '{brokers}' }} }}");
    // The file also goes straight into a window: its open windows are read again from the file.
    let yaml = format!(
        "name: killed{suffix}
{connections}
pipelines:
  rows:
    - source: csv
      with: {{ path: rows.csv, rate: 10000/s }}
    - sink: kafka
      with: {{ topic: rows{suffix}, value: id }}
    - sink: kafka
      with: {{ topic: keys{suffix}, value: key }}
  from-the-file:
    - source: csv
      with: {{ path: rows.csv, rate: 10000/s }}
    - window: count-by-key
      with: {{ key: key, size: 100ms }}
    - sink: kafka
      with: {{ topic: file{suffix}, encode: pairs }}
  from-the-topic:
    - source: kafka
      with: {{ topic: keys{suffix}, format: text }}
    - window: count-by-key
      with: {{ key: value, gap: 20ms, out_of_orderness: 5s, lateness: 1h }}
    - sink: kafka
      with: {{ topic: topic{suffix}, encode: json }}
"
    );
    std::fs::write(&file, yaml).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = pipectl(&["run", file.to_str().unwrap()]);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for kill in 0..3 {
        let mut child = run(&[]);
        // The rows are due within two seconds; a run needs some of that to start.
        std::thread::sleep(std::time::Duration::from_millis(700 + 150 * kill));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    std::thread::sleep(forgotten);
    for again in 0..2 {
        let output = run(&["--once"]).wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !said.contains("does not hold"), "{said}");
        assert!(again == 0 || said.contains(&format!("goes on behind row {ROWS} of rows.csv")), "{said}");
    }
    let read = |topic: &str, format: &str| {
        let yaml = format!(
            "name: reads-{topic}{suffix}
{connections}
pipelines:
  show:
    - source: kafka
      with: {{ topic: {topic}{suffix}, format: {format} }}
    - sink: stdout
"
        );
        let file = folder.path().join("read.yaml");
        std::fs::write(&file, yaml).unwrap();
        let output = pipectl(&["run", file.to_str().unwrap(), "--once"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let rows = String::from_utf8(output.stdout).unwrap();
        rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect::<Vec<serde_json::Value>>()
    };
    let rows = read("rows", "text");
    let mut ids: Vec<&str> = rows.iter().map(|row| row["value"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((rows.len(), ids.len()), (ROWS, ROWS), "rows sent, and different ones among them");
    let counted: i64 = read("file", "pairs").iter().map(|row| row["count"].as_i64().unwrap()).sum();
    assert_eq!(counted, ROWS as i64, "rows counted from the file");
    let sessions = read(
        "topic",
        "{ json: { fields: { key: text, window_start: time, window_end: time, count: integer } } }",
    );
    // A session that grew was given again, whole: the last of each start and key counts.
    let last: BTreeMap<(String, String), i64> = sessions
        .iter()
        .map(|row| {
            let start = row["window_start"].as_str().unwrap().to_owned();
            ((row["key"].as_str().unwrap().to_owned(), start), row["count"].as_i64().unwrap())
        })
        .collect();
    assert_eq!(last.values().sum::<i64>(), ROWS as i64, "rows counted from the topic");
}

#[test]
fn a_killed_run_over_kafka_goes_on_where_it_had_committed() {
    match std::env::var("PIPECTL_TEST_KAFKA") {
        // `session.timeout.ms`, and a little more.
        Ok(brokers) => a_killed_run_goes_on(&brokers, std::time::Duration::from_secs(11)),
        Err(_) => {
            eprintln!("SKIPPED the killed run over Kafka: set PIPECTL_TEST_KAFKA to host:port of a broker");
        }
    }
}

#[test]
fn a_killed_run_on_the_log_on_disk_goes_on_where_it_had_committed() {
    a_killed_run_goes_on("embedded:log", std::time::Duration::ZERO);
}

#[test]
fn checking_a_file_makes_no_log_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.yaml");
    let yaml = "name: twice
connections: { kafka: { brokers: 'embedded:log' } }
pipelines:
  make:
    - source: generate
      with: { rate: 10/s, fields: { key: { values: ['0'] } } }
    - sink: kafka
      with: { topic: t, value: key }
  show:
    - source: kafka
      with: { topic: t, format: text }
    - sink: stdout
";
    std::fs::write(&file, yaml).unwrap();
    let checked = pipectl(&["check", file.to_str().unwrap()]).output().unwrap();
    assert!(checked.status.success() && !folder.path().join("log").exists(), "checking a file makes nothing");
}
