//! Runs one after another over the log on disk: stopped in order, ended at the end of the data, started again
//! over more data. What comes out in all is what one run over everything gives.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test fails by panicking; its modules are its own"
)]

#[path = "../support/dice.rs"]
mod dice;
mod edited;
mod job;
mod parts;
mod recorder;
mod renamed;
#[path = "../support/job.rs"]
mod run;
mod starts;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use job::{End, Job, MINUTE};
use pipectl_framework::testing::START;
use pipectl_plugins as _;
use serde_json::{Value, json};

fn row(id: i64, key: &str, minute: i64) -> (Value, i64) {
    (json!({ "id": id, "k": key, "n": id.to_string(), "m": id }), START + minute * MINUTE)
}

fn rows(ids: std::ops::Range<i64>, minute: i64) -> Vec<(Value, i64)> {
    ids.map(|id| row(id, "a", minute)).collect()
}

const SOURCE: &str = "    - source: kafka
      id: in
      with: { topic: in, format: { json: { fields: { id: integer, k: text, n: text } } } }
";

/// Stopped and started again while a long window is open: the rows of the window are read again each time.
#[test]
fn rows_that_are_read_again_reach_no_sink_beside_the_window() {
    let job = Job::new();
    let chains = format!(
        "  rows:
{SOURCE}    - sink: kafka
      with: {{ topic: copy }}
    - sink: recorder
      with: {{ path: recorded }}
  counts:
    - from: rows.in
    - window: count-by-key
      with: {{ key: k, size: 1h }}
    - sink: kafka
      with: {{ topic: counts }}
  spread:
    - from: rows.in
    - window: count-by-key
      repartition: true
      with: {{ key: k, size: 1h }}
    - sink: kafka
      with: {{ topic: spread }}
"
    );
    job.write(&rows(0..100, 10));
    for _ in 0..3 {
        job.runs(&chains, End::Stopped);
    }
    assert_eq!(job.ids("copy"), (0..100).collect::<Vec<_>>());
    job.write(&rows(100..110, 70));
    job.runs(&chains, End::Once);
    job.runs(&chains, End::Once);
    assert_eq!(job.ids("copy"), (0..110).collect::<Vec<_>>());
    assert_eq!(job.recorded(), (0..110).collect::<Vec<_>>());
    let expected = BTreeMap::from([((0, "a".to_owned()), 100), ((60, "a".to_owned()), 10)]);
    assert_eq!(job.counts("counts"), expected);
    assert_eq!(job.counts("spread"), expected);
}

/// Dead letters of a source, a transform and a sink, each counted in a long window.
#[test]
fn windows_over_dead_letters_are_whole_after_a_restart() {
    let job = Job::new();
    let branch = |name: &str, step: &str| {
        format!(
            "  {name}:
    - from: rows.{step}.dead
    - window: count-by-key
      with: {{ key: source, size: 1h }}
    - sink: kafka
      with: {{ topic: {name} }}
"
        )
    };
    let large = "x".repeat(600_000);
    let chains = format!(
        "  rows:
{}      on_error: dead_letter
    - transform: cast
      id: cast
      with: {{ fields: {{ n: integer }} }}
      on_error: dead_letter
    - sink: kafka
      id: copy
      with: {{ topic: copy, key: k }}
      on_error: dead_letter
{}{}{}",
        SOURCE,
        branch("broken", "in"),
        branch("uncast", "cast"),
        branch("large", "copy"),
    );
    let mut expected = 0;
    let kinds = |from: i64| {
        let mut all = Vec::new();
        for id in from..from + 5 {
            let time = START + id * 1000;
            all.push((json!(["no object"]), time));
            all.push((json!({ "id": id, "k": "a", "n": "no number" }), time));
            all.push((json!({ "id": id, "k": large, "n": "1" }), time));
            all.push((json!({ "id": id, "k": "a", "n": "1" }), time));
        }
        all
    };
    for from in [0, 5, 10] {
        job.write(&kinds(from));
        expected += 5;
        job.runs(&chains, End::Stopped);
    }
    job.runs(&chains, End::Once);
    assert_eq!(job.topic("copy").len(), 15);
    for topic in ["broken", "uncast", "large"] {
        let counts = job.counts(topic);
        assert_eq!(counts, BTreeMap::from([((0, "in".to_owned()), expected)]), "{topic}");
    }
}

/// Rows of the files at `path`, slowly, to a topic, to a sink that is none, and to a long window.
fn copied_and_counted(path: &str) -> String {
    format!(
        "  rows:
    - source: csv
      time: {{ field: t, format: epoch_ms }}
      with: {{ path: {path}, rate: 7/s }}
    - sink: kafka
      with: {{ topic: copy }}
    - sink: recorder
      with: {{ path: recorded }}
  counts:
    - from: rows.csv
    - window: count-by-key
      with: {{ key: k, size: 1h }}
    - sink: kafka
      with: {{ topic: counts }}
"
    )
}

/// A file whose rows are read again for a window, and a sink that is no topic, stopped at any row.
#[test]
fn a_file_that_is_stopped_in_the_middle_is_copied_once() {
    let job = Job::new();
    let chains = &copied_and_counted("rows.csv");
    let lines: String = (0..100).map(|id| format!("{id},a,{}\n", START + id * 1000)).collect();
    std::fs::write(job.path().join("rows.csv"), format!("id,k,t\n{lines}")).unwrap();
    for _ in 0..3 {
        job.runs(chains, End::Stopped);
    }
    job.runs(chains, End::Once);
    job.runs(chains, End::Once);
    let mut ids: Vec<i64> =
        job.topic("copy").iter().map(|row| row["id"].as_str().unwrap().parse().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..100).collect::<Vec<_>>());
    assert_eq!(job.recorded(), ids);
    assert_eq!(job.counts("counts"), BTreeMap::from([((0, "a".to_owned()), 100)]));
}

/// Dead letters of a transform in a chain that reads a file have the time of their rows: the same when they
/// are read again.
#[test]
fn a_window_over_dead_letters_of_a_file_is_whole_after_a_restart() {
    let chains = "  rows:
    - source: csv
      id: in
      time: { field: t, format: epoch_ms }
      with: { path: rows.csv, rate: 7/s }
    - transform: cast
      id: cast
      with: { fields: { k: integer } }
      on_error: dead_letter
    - sink: kafka
      with: { topic: copy }
  uncast:
    - from: rows.cast.dead
    - window: count-by-key
      with: { key: source, size: 1h }
    - sink: kafka
      with: { topic: uncast }
";
    let job = Job::new();
    // Every third row has no number.
    let line = |id: i64| format!("{id},{},{}\n", if id % 3 == 0 { "x" } else { "1" }, START + id * 1000);
    job.file("rows.csv", &format!("id,k,t\n{}", (0..100).map(line).collect::<String>()));
    for _ in 0..3 {
        job.runs(chains, End::Stopped);
    }
    job.runs(chains, End::Once);
    job.runs(chains, End::Once);
    assert_eq!(job.copies(), (0..100).filter(|id| id % 3 != 0).collect::<Vec<_>>());
    assert_eq!(job.counts("uncast"), BTreeMap::from([((0, "rows.csv".to_owned()), 34)]));
}

/// Files that come, grow and go while a long window is open, and the run is stopped in the middle of them.
#[test]
fn a_window_over_several_files_is_whole_whatever_comes_between() {
    let chains = &copied_and_counted("['*.csv']");
    let job = Job::new();
    let line = |id: i64| format!("{id},a,{}\n", START + id * 1000);
    let lines = |ids: std::ops::Range<i64>| ids.map(line).collect::<String>();
    job.file("b.csv", &format!("id,k,t\n{}", lines(0..60)));
    job.file("d.csv", &format!("id,k,t\n{}", lines(60..100)));
    job.runs(chains, End::Stopped);
    // One that was found and not read yet is missed, as its place in the order is kept.
    let ahead = job.path().join("d.csv");
    std::fs::rename(&ahead, job.path().join("away")).unwrap();
    let refused = job.run(chains, End::Stopped).err().unwrap();
    assert!(refused.contains("d.csv is not there any more, and an earlier run found it"), "{refused}");
    std::fs::rename(job.path().join("away"), &ahead).unwrap();
    // Half a row; the run before is in the middle of this file.
    job.file("b.csv", &format!("id,k,t\n{}10", lines(0..60)));
    job.file("a.csv", &format!("id,k,t\n{}", lines(101..110)));
    job.runs(chains, End::Stopped);
    job.file("b.csv", &format!("id,k,t\n{}{}", lines(0..60), line(100)));
    job.file("c.csv", &format!("id,k,t\n{}", lines(110..120)));
    for _ in 0..3 {
        job.runs(chains, End::Stopped);
    }
    job.runs(chains, End::Once);
    job.runs(chains, End::Once);
    assert_eq!(job.copies(), (0..120).collect::<Vec<_>>());
    assert_eq!(job.recorded(), (0..120).collect::<Vec<_>>());
    assert_eq!(job.counts("counts"), BTreeMap::from([((0, "a".to_owned()), 120)]));
}

fn counting(window: &str) -> String {
    format!(
        "  counts:
{SOURCE}    - window: count-by-key
      id: win
      with: {{ key: k, {window} }}
    - sink: kafka
      with: {{ topic: counts }}
"
    )
}

/// Bounded runs one after another over a topic that grows: time stands still at the end of each.
#[test]
fn the_end_of_the_data_closes_no_window() {
    for window in [
        "gap: 20m",
        "size: 1h",
        "size: 1h, lateness: 2h",
        "size: 1h, slide: 10m",
        "size: 1h, zero_fill: seen",
    ] {
        let job = Job::new();
        let chains = counting(window);
        let mut told = Vec::new();
        for part in 0..3 {
            job.write(&rows(part * 3..part * 3 + 3, part * 10));
            job.runs(&chains, End::Once);
            told.push(job.topic("counts").len());
            job.runs(&chains, End::Once);
            assert_eq!(job.topic("counts").len(), told[part as usize], "{window}: there was nothing new");
        }
        let whole = Job::new();
        (0..3).for_each(|part| whole.write(&rows(part * 3..part * 3 + 3, part * 10)));
        whole.runs(&chains, End::Once);
        let last = |job: &Job| -> BTreeMap<i64, i64> {
            let cell = |row: &Value| {
                let start = row["window_start"].as_i64().unwrap();
                (start, row["count"].as_i64().unwrap())
            };
            job.topic("counts").iter().map(cell).collect()
        };
        assert_eq!(last(&job), last(&whole), "{window}");
    }
}

/// The same over a file, whose chain ends with it.
#[test]
fn a_file_that_has_grown_goes_on_with_its_open_windows() {
    let job = Job::new();
    let chains = "  counts:
    - source: csv
      time: { field: t, format: epoch_ms }
      with: { path: rows.csv }
    - window: count-by-key
      with: { key: k, size: 1h, lateness: 2h }
    - sink: kafka
      with: { topic: counts }
";
    let path = job.path().join("rows.csv");
    std::fs::write(&path, "id,k,t\n").unwrap();
    for part in 0..3 {
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.extend((0..5).map(|row| format!("{row},a,{}\n", START + part * 10 * MINUTE)));
        std::fs::write(&path, text).unwrap();
        job.runs(chains, End::Once);
        assert_eq!(job.counts("counts"), BTreeMap::from([((0, "a".to_owned()), 5 * (part + 1))]));
    }
    assert_eq!(job.topic("counts").len(), 3);
}

fn copying(path: &str) -> String {
    format!(
        "  rows:
    - source: csv
      time: {{ field: t, format: epoch_ms }}
      with: {{ path: {path} }}
    - sink: kafka
      with: {{ topic: copy }}
  counts:
    - from: rows.csv
    - window: count-by-key
      with: {{ key: k, size: 1h }}
    - sink: kafka
      with: {{ topic: counts }}
"
    )
}

fn csv(ids: std::ops::Range<i64>) -> String {
    let lines: String = ids.map(|id| format!("{id},a,{}\n", START + id * MINUTE)).collect();
    format!("id,k,t\n{lines}")
}

impl Job {
    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    /// The ids of the copies, which are texts, sorted.
    fn copies(&self) -> Vec<i64> {
        let id = |row: &Value| row["id"].as_str().unwrap().parse().unwrap();
        let mut ids: Vec<i64> = self.topic("copy").iter().map(id).collect();
        ids.sort_unstable();
        ids
    }
}

#[test]
fn a_file_has_one_position_however_its_path_is_written() {
    let job = Job::new();
    std::fs::create_dir(job.path().join("sub")).unwrap();
    let whole = job.path().join("rows.csv").to_string_lossy().into_owned();
    let paths = ["rows.csv", "./rows.csv", "sub/../rows.csv", &whole, "rows.csv"];
    for (run, path) in (1..).zip(paths) {
        job.file("rows.csv", &csv(0..3 * run));
        job.runs(&copying(path), End::Once);
        job.runs(&copying(path), End::Once);
        assert_eq!(job.copies(), (0..3 * run).collect::<Vec<_>>(), "{path}");
        assert_eq!(job.counts("counts"), BTreeMap::from([((0, "a".to_owned()), 3 * run)]), "{path}");
    }
}

#[test]
fn each_file_of_a_chain_keeps_its_own_position() {
    let job = Job::new();
    job.file("one.csv", &csv(0..5));
    job.file("two.csv", &csv(100..103));
    job.runs(&copying("one.csv"), End::Once);
    job.runs(&copying("two.csv"), End::Once);
    job.file("one.csv", &csv(0..7));
    job.runs(&copying("one.csv"), End::Once);
    job.runs(&copying("two.csv"), End::Once);
    assert_eq!(job.copies(), (0..7).chain(100..103).collect::<Vec<_>>());
}

/// Version 0.1 kept one position a chain, with the path as it was written.
#[test]
fn a_position_of_version_0_1_is_that_of_its_file_and_of_no_other() {
    for (written, known) in [("rows.csv", true), ("./rows.csv", true), ("other.csv", false)] {
        let job = Job::new();
        job.file("rows.csv", &csv(0..5));
        job.runs(&copying("rows.csv"), End::Once);
        let mut kept = job.topic("t.positions").pop().unwrap();
        kept["source"] = json!(written);
        let older = Job::new();
        older.file("rows.csv", &csv(0..7));
        older.append("t.positions", "rows", &kept);
        older.runs(&copying("./rows.csv"), End::Once);
        let expected: Vec<i64> = if known { (5..7).collect() } else { (0..7).collect() };
        assert_eq!(older.copies(), expected, "{written}");
    }
}

/// Rows that are stamped when they are read would be in other windows if they were read again: each counts
/// once.
#[test]
fn rows_of_a_file_without_times_count_once_over_several_ends() {
    for (window, pace) in [("size: 1h", "rate: 10/s"), ("gap: 1h", ""), ("size: 1h, time: processing", "")] {
        let job = Job::new();
        let chains = format!(
            "  counts:
    - source: csv
      with: {{ path: rows.csv, {pace} }}
    - window: count-by-key
      with: {{ key: k, {window} }}
    - sink: kafka
      with: {{ topic: counts }}
"
        );
        for run in 1..4 {
            job.file("rows.csv", &csv(0..10 * run));
            job.runs(&chains, End::Once);
            job.runs(&chains, End::Once);
            let counted: i64 = job.topic("counts").iter().map(|row| row["count"].as_i64().unwrap()).sum();
            assert_eq!(counted, 10 * run, "{window}, {pace}");
        }
    }
}

/// The last window of a chain is given up: its rows were dealt with all the same, and the copy beside it has
/// them.
#[test]
fn a_copy_is_not_written_again_when_the_window_beside_it_is_given_up() {
    for file in [false, true] {
        let mut job = Job::new();
        let source = match file {
            true => {
                "- { source: csv, id: s, time: { field: t, format: epoch_ms }, with: { path: rows.csv } }"
            }
            false => {
                "- { source: kafka, id: s, with: { topic: in, format: { json: { fields: { id: integer, k: text } } } } }"
            }
        };
        let more = |job: &Job, first: i64| {
            let rows: Vec<_> = (first..first + 10).map(|id| row(id, "a", id)).collect();
            if file {
                let path = job.path().join("rows.csv");
                let mut text = std::fs::read_to_string(&path).unwrap_or_else(|_| "id,k,t\n".to_owned());
                text.extend(rows.iter().map(|(row, t)| format!("{},a,{t}\n", row["id"])));
                std::fs::write(path, text).unwrap();
            } else {
                job.write(&rows);
            }
        };
        let copy = format!("  rows:\n    {source}\n    - {{ sink: kafka, with: {{ topic: copy }} }}\n");
        let both = format!(
            "{copy}  counts:\n    - from: rows.s\n    - {{ window: count-by-key, id: w, with: {{ key: k, size: 1h }} }}\n    - {{ sink: kafka, with: {{ topic: out }} }}\n"
        );
        more(&job, 0);
        job.runs(&both, End::Once);
        let refused = job.run(&copy, End::Once).unwrap_err();
        assert!(refused.contains("`counts.w`, which the file does not have"), "{refused}");
        more(&job, 10);
        job.reset = vec!["counts.w".to_owned()];
        job.runs(&copy, End::Once);
        job.reset.clear();
        more(&job, 20);
        job.runs(&copy, End::Once);
        let ids: Vec<i64> = job
            .topic("copy")
            .iter()
            .map(|row| {
                row["id"].as_str().map_or_else(|| row["id"].as_i64().unwrap(), |id| id.parse().unwrap())
            })
            .collect();
        assert_eq!(ids, (0..30).collect::<Vec<i64>>(), "file: {file}");
    }
}

/// Rows whose time is that of reading are in other windows when they are read again; a longer window beside
/// them has them read again.
#[test]
fn a_window_over_the_time_of_reading_counts_each_row_once_beside_a_longer_window() {
    let count = |job: &Job, topic: &str| -> i64 {
        job.topic(topic).iter().map(|row| row["count"].as_i64().unwrap()).sum()
    };
    // Rows of a topic, by the time of reading.
    let chains = "  rows:
    - { source: kafka, id: s, with: { topic: in, format: { json: { fields: { id: integer, k: text } } } } }
    - { window: count-by-key, id: long, with: { key: k, size: 1h } }
    - { sink: kafka, with: { topic: long } }
  now:
    - from: rows.s
    - { window: count-by-key, id: w, with: { key: k, size: 2s, time: processing } }
    - { sink: kafka, with: { topic: out } }
";
    let job = Job::new();
    for first in [0, 10, 20] {
        job.write(&(first..first + 10).map(|id| row(id, "a", id)).collect::<Vec<_>>());
        job.runs(chains, End::Stopped);
    }
    assert_eq!(count(&job, "out"), 30);

    // Dead letters of a file, which have no time of their own.
    let chains = "  rows:
    - { source: csv, id: s, on_error: dead_letter, time: { field: t, format: epoch_ms }, with: { path: rows.csv } }
    - { window: count-by-key, id: long, with: { key: k, size: 1h } }
    - { sink: kafka, with: { topic: long } }
  bad:
    - from: rows.s.dead
    - { window: count-by-key, id: w, with: { key: source, size: 2s, idle: 1s } }
    - { sink: kafka, with: { topic: bad } }
";
    let job = Job::new();
    let path = job.path().join("rows.csv");
    let mut text = "id,k,t\n".to_owned();
    for first in [0, 10, 20] {
        text.extend((first..first + 10).map(|id| format!("{id},a,{}\n", START + id * MINUTE)));
        text.extend((first..first + 10).map(|id| format!("{id},a,never\n")));
        std::fs::write(&path, &text).unwrap();
        job.runs(chains, End::Stopped);
    }
    job.runs(chains, End::Once);
    assert_eq!(count(&job, "bad"), 30);
}
