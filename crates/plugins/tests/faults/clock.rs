//! The wall clock is set an hour forward or back while a pipeline runs: results keep coming, nothing is late
//! for that, and no window is given twice.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use pipectl_framework::clock::WallTime;
use serde_json::Value;

use super::*;

const HOUR: i64 = 3_600_000;
/// When the clock is set, and when there are no more rows.
const SET: i64 = 10_000;
const ROWS_UNTIL: i64 = 20_000;
/// Rows come so often, in milliseconds.
const EACH: i64 = 10;

/// What a run has left.
#[derive(Debug)]
struct Seen {
    /// What windows gave before their end, and after it.
    early: Vec<Value>,
    results: Vec<Value>,
    rows_in: u64,
    late: u64,
    rejected: u64,
}

impl Seen {
    fn counted(&self) -> i64 {
        self.results.iter().map(|row| row["count"].as_i64().unwrap()).sum()
    }

    /// The counts by window and key: each is there once.
    fn windows(&self) -> BTreeMap<(i64, i64, String), i64> {
        let mut windows = BTreeMap::new();
        for row in &self.results {
            let time = |name: &str| row[name].as_i64().unwrap() - START;
            let window = (time("window_start"), time("window_end"), row["key"].to_string());
            let before = windows.insert(window, row["count"].as_i64().unwrap());
            assert!(before.is_none(), "twice: {row}");
        }
        windows
    }
}

/// Runs for a minute; the clock is set by so much after ten seconds. Rows are written to the file `rows.csv`
/// meanwhile, as far as `chains` follow it.
fn run(chains: &str, by: i64) -> Seen {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    let line = |row: i64| format!("k{},{}\n", row % 7, START + EACH * row);
    let follows = chains.contains("follow: true");
    let all = ROWS_UNTIL / EACH;
    let there = if follows { 0 } else { all };
    let rows = (0..there).fold("k,t\n".to_owned(), |mut rows, row| {
        let _ = rows.write_str(&line(row));
        rows
    });
    std::fs::write(&path, rows).unwrap();
    let log = Watched { name: "one", durable: true, log: MemoryLog::default(), watch: Watch::new(|_| None) };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (rows_in, late, rejected) = runtime.block_on(async {
        let wall = WallTime::at(START);
        let plan = planned(chains, folder.path(), std::slice::from_ref(&log));
        let clock = Clock::set_by(&wall);
        let (run, _notices) = Run::start(plan, &RunOptions { seed: 3, ..RunOptions::new(clock) });
        let figures = run.figures();
        for at in (0..60_000).step_by(100) {
            if at == SET {
                wall.jump(by);
            }
            if follows && at < ROWS_UNTIL {
                let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
                let rows = at / EACH..(at + 100) / EACH;
                file.write_all(rows.map(line).collect::<String>().as_bytes()).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        run.control().drain();
        assert!(run.wait().await.failures.is_empty());
        let steps = figures.iter().flat_map(|chain| &chain.steps);
        let window = steps.clone().rfind(|(name, _)| name.ends_with("win")).unwrap().1.balance();
        let rejected = steps.map(|(_, metrics)| metrics.balance().dead).sum::<u64>();
        (window.rows_in, window.late, rejected)
    });
    let ran = Ran {
        failure: None,
        help: None,
        rows_in: Vec::new(),
        took: Duration::ZERO,
        logs: vec![log],
        runtime,
    };
    let rows = ran.values(0, "counts").into_iter().map(|row| serde_json::from_str::<Value>(&row).unwrap());
    let (early, results) = rows.partition(|row| row["early"] == Value::Bool(true));
    Seen { early, results, rows_in, late, rejected }
}

/// Counts the rows of a topic that a file is written to.
fn counting(source: &str, window: &str) -> String {
    format!(
        "  rows:
    - source: csv
{source}
    - sink: kafka
      with: {{ connection: one, topic: rows, value: k, partitions: 1 }}
  count:
    - source: kafka
      with: {{ connection: one, topic: rows, format: text }}
    - window: count-by-key
      id: win
{window}
    - sink: kafka
      with: {{ connection: one, topic: counts, encode: json, partitions: 1 }}
"
    )
}

/// The time of a row stands in it.
const TIMED: &str = "      time: { field: t, format: epoch_ms }
      with: { path: rows.csv, rate: 100/s }";

/// The time of a row is that of reading.
const UNTIMED: &str = "      with: { path: rows.csv, follow: true }";

#[test]
fn windows_by_the_time_of_records_do_not_notice() {
    for window in [
        "      with: { key: value, size: 1s }",
        "      with: { key: value, size: 1s, zero_fill: seen }",
        "      with: { key: value, size: 2s, slide: 1s, lateness: 2s }",
        "      with: { key: value, gap: 500ms }",
        "      with: { key: value, size: 5s, emit: updates, every: 1s }",
        "      repartition: true\n      with: { key: value, size: 1s }",
    ] {
        let chains = counting(TIMED, window);
        let undisturbed = run(&chains, 0);
        assert_eq!((undisturbed.rows_in, undisturbed.late), (2000, 0), "{window}");
        assert!(undisturbed.windows().len() > 6, "{window}: {undisturbed:?}");
        for by in [HOUR, -HOUR] {
            let seen = run(&chains, by);
            assert_eq!((seen.rows_in, seen.late, seen.rejected), (2000, 0, 0), "{window}, {by}");
            assert_eq!(seen.windows(), undisturbed.windows(), "{window}, {by}");
            assert_eq!(seen.early.len(), undisturbed.early.len(), "{window}, {by}");
        }
    }
}

#[test]
fn windows_by_the_time_of_processing_go_on() {
    for (source, window) in [
        (TIMED, "      with: { key: value, size: 1s, time: processing }"),
        (TIMED, "      with: { key: value, size: 2s, slide: 1s, time: processing }"),
        (TIMED, "      with: { key: value, size: 1s, time: processing, emit: updates, every: 200ms }"),
        (UNTIMED, "      with: { key: value, size: 1s, time: processing }"),
        (UNTIMED, "      with: { key: value, size: 1s }"),
        (UNTIMED, "      repartition: true\n      with: { key: value, size: 1s }"),
    ] {
        let chains = counting(source, window);
        let undisturbed = run(&chains, 0);
        let each = if window.contains("slide") { 2 } else { 1 };
        assert_eq!((undisturbed.rows_in, undisturbed.late), (2000, 0), "{window}");
        for by in [HOUR, -HOUR] {
            let seen = run(&chains, by);
            assert_eq!((seen.rows_in, seen.late, seen.rejected), (2000, 0, 0), "{window}, {by}");
            assert_eq!(seen.counted(), each * 2000, "{window}, {by}");
            let windows = seen.windows();
            let starts = |windows: &BTreeMap<(i64, i64, String), i64>| {
                windows.keys().map(|(start, ..)| *start).collect::<std::collections::BTreeSet<_>>()
            };
            // Where it is set forward one window ends early, and another begins.
            let (given, before) = (starts(&windows).len(), starts(&undisturbed.windows()).len());
            assert!(given.abs_diff(before) <= 2, "{window}, {by}: {given} windows in place of {before}");
            if by < 0 {
                assert_eq!(starts(&windows), starts(&undisturbed.windows()), "{window}: time goes on");
            }
        }
    }
}
