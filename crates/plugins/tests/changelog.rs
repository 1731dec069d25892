//! Windows that are too long to be read again, killed in the middle again and again: the results are those of
//! a run that nothing happens to, and what is read again stays short.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test fails by panicking; its modules are its own"
)]

#[path = "support/dice.rs"]
mod dice;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dice::Dice;
use pipectl_framework::clock::Clock;
use pipectl_framework::log::{
    Append, Group, Keeps, Log, Position, ReadEvent, ReaderOptions, Start, TopicSpec, WriterOptions,
};
use pipectl_framework::run::{Run, RunOptions};
use pipectl_framework::testing::START;
use pipectl_plugins as _;
use serde_json::{Value, json};
use support::{planned, read};

const KEYS: u64 = 7;
/// A row each three seconds: an hour is 1200 rows.
const STEP: i64 = 3_000;
const ROWS: i64 = 3_000;
/// The most that shall be read again.
const AGAIN: i64 = 100;
const SEEDS: u64 = 3;

fn file(window: &str) -> String {
    format!(
        "name: t
connections:
  kafka: {{ brokers: embedded:log, partitions: 2 }}
pipelines:
  count:
    - source: kafka
      with:
        topic: in
        format: {{ json: {{ fields: {{ key: text, n: integer, x: number, word: text }} }} }}
    - window: {window}
    - sink: kafka
      with: {{ topic: out }}
"
    )
}

/// Row `i`: its key is also the record's.
fn row(i: i64) -> (String, Value, i64) {
    let mut dice = Dice(i as u64 ^ 0x5eed);
    let key = format!("k{}", dice.roll(KEYS));
    let (n, x) = (dice.roll(100) as i64 - 50, dice.roll(1000) as f64 / 8.0);
    let late = dice.roll(300_000) as i64 - if i < ROWS { 0 } else { 5 * 3_600_000 };
    let value = json!({ "key": key, "n": n, "x": x, "word": format!("w{}", dice.roll(40)) });
    (key, value, START + i * STEP - late)
}

async fn write(log: &Arc<dyn Log>, from: i64, to: i64) {
    let spec = TopicSpec { name: "in".into(), partitions: Some(2), create: true, keeps: Keeps::AsTheLog };
    log.ensure_topics(&[spec]).await.unwrap();
    let options = WriterOptions { transactional_id: None, transaction_timeout: Duration::from_secs(10) };
    let mut writer = log.writer(options).await.unwrap();
    let rows: Vec<_> = (from..to).map(row).collect();
    let values: Vec<String> = rows.iter().map(|(_, value, _)| value.to_string()).collect();
    let append = Append {
        topic: "in".into(),
        partition: None,
        keys: Some(rows.iter().map(|(key, ..)| Some(key.as_bytes())).collect()),
        values: values.iter().map(|value| Some(value.as_bytes())).collect(),
        headers: Vec::new(),
        timestamps: rows.iter().map(|(.., time)| *time).collect(),
    };
    writer.append(append).await.unwrap();
    writer.commit(None).await.unwrap();
    writer.close().await.unwrap();
}

/// What the group has committed, once nobody else is in it.
async fn committed(log: &Arc<dyn Log>) -> Vec<Position> {
    let options = ReaderOptions {
        topics: vec!["in".into()],
        partitions: None,
        group: Some(Group::new("t.count")),
        start: Start::Earliest,
        max_records: 1,
        max_bytes: 1 << 20,
        headers: Vec::new(),
    };
    let mut reader = log.reader(options).await.unwrap();
    match reader.next().await.unwrap() {
        ReadEvent::Assigned(assigned) => assigned.into_iter().filter_map(|a| a.committed).collect(),
        other => panic!("{other:?}"),
    }
}

fn options(clock: &Clock, again: i64) -> RunOptions {
    RunOptions { replay_rows: again, ..RunOptions::new(clock.clone()) }
}

/// The results of windows that ended in time to be compared, each once.
fn results(records: Vec<Value>) -> BTreeMap<String, Value> {
    let until = START + ROWS * STEP + 2 * 3_600_000;
    let mut results = BTreeMap::new();
    for record in records {
        let end = record["window_end"].as_i64().unwrap_or_else(|| panic!("{record}"));
        if end <= until {
            let name = format!("{} {} {}", record["window_start"], record["window_end"], record["key"]);
            let name = format!("{name} {}", record.get("rank").unwrap_or(&Value::Null));
            assert!(results.insert(name.clone(), record).is_none(), "{name} twice");
        }
    }
    results
}

/// Runs to the end, killed at random between; gives the results, and the most rows that were to be read
/// again.
fn run(window: &str, again: i64, seed: Option<u64>) -> (BTreeMap<String, Value>, i64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let folder = tempfile::tempdir().unwrap();
    runtime.unwrap().block_on(async {
        let clock = Clock::manual(START);
        let mut dice = Dice(seed.unwrap_or_default());
        let (mut next, mut far) = (0, 0);
        while next < ROWS {
            let plan = planned(&file(window), folder.path());
            let log = plan.connections[0].1.clone();
            write(&log, next, next).await;
            let (run, _notices) = Run::start(plan, &options(&clock, again));
            let stop = if seed.is_some() { next + 100 + dice.roll(900) as i64 } else { ROWS };
            while next < stop.min(ROWS) {
                let to = (next + 1 + dice.roll(150) as i64).min(ROWS);
                write(&log, next, to).await;
                next = to;
                tokio::time::sleep(Duration::from_millis(dice.roll(200))).await;
            }
            if dice.roll(2) == 0 {
                tokio::time::sleep(Duration::from_secs(8)).await;
            }
            drop(run);
            // Aborted tasks are gone once the runtime has had a turn.
            tokio::time::sleep(Duration::from_millis(1)).await;
            for position in committed(&log).await {
                let (_, fields) = position.metadata.split_once(";p").unwrap();
                let pos: i64 = fields.split(';').next().unwrap().parse().unwrap();
                far = far.max(pos - position.offset);
            }
        }
        let plan = planned(&file(window), folder.path());
        let log = plan.connections[0].1.clone();
        let (run, _notices) = Run::start(plan, &options(&clock, again));
        // Rows of hours later, in every partition, close what is open.
        write(&log, ROWS, ROWS + 20).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        drop(run);
        tokio::time::sleep(Duration::from_millis(1)).await;
        (results(read(&log, "out").await), far)
    })
}

fn same_as_a_run_without_kills(window: &str) {
    let (expected, far) = run(window, i64::MAX, None);
    assert!(far > 2 * AGAIN, "the windows are long: {far}");
    assert!(!expected.is_empty());
    for seed in 0..SEEDS {
        let (given, far) = run(window, AGAIN, Some(seed));
        assert_eq!(given, expected, "seed {seed}");
        // What came between two commits is read again too.
        assert!(far < 2 * AGAIN, "seed {seed}: {far} rows would be read again");
    }
}

const AGGREGATES: &str = "aggregates
      with:
        columns:
          n: count
          sum: { sum: { field: n } }
          least: { min: { field: x } }
          mean: { avg: { field: x } }
          q: { quantiles: { field: x } }
          words: { count-distinct: { field: word } }
          about: { count-distinct: { field: word, approximate: true } }
        key: key
        out_of_orderness: 10m
        ";

#[test]
fn tumbling() {
    same_as_a_run_without_kills(&format!("{AGGREGATES}size: 1h"));
}

#[test]
fn sliding() {
    same_as_a_run_without_kills(&format!("{AGGREGATES}size: 1h\n        slide: 5m"));
}

#[test]
fn sessions() {
    same_as_a_run_without_kills(&format!("{AGGREGATES}gap: 20m"));
}

#[test]
fn ranks() {
    same_as_a_run_without_kills(
        "top-k\n      with: { field: word, k: 3, key: key, size: 1h, out_of_orderness: 10m, lateness: 1m }",
    );
}

/// Short windows need no changelog, but the keys that zero fill keeps do.
#[test]
fn keys_once_seen_stay_over_kills() {
    let window = "count-by-key\n      with: { key: key, size: 1m, zero_fill: seen, out_of_orderness: 6m }";
    let (expected, _) = run(window, i64::MAX, None);
    assert!(expected.values().any(|record| record["count"] == 0));
    for seed in 0..SEEDS {
        assert_eq!(run(window, i64::MAX, Some(seed)).0, expected, "seed {seed}");
    }
}

/// A position that says so is not taken for one that begins anew.
#[test]
fn a_state_that_is_gone_is_said_and_nothing_is_counted() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let folder = tempfile::tempdir().unwrap();
    runtime.unwrap().block_on(async {
        let plan = planned(&file("count-by-key\n      with: { key: key, size: 1h }"), folder.path());
        let log = plan.connections[0].1.clone();
        write(&log, 0, 50).await;
        let options_of_group = ReaderOptions {
            topics: vec!["in".into()],
            partitions: None,
            group: Some(Group::new("t.count")),
            start: Start::Earliest,
            max_records: 1,
            max_bytes: 1 << 20,
            headers: Vec::new(),
        };
        let mut reader = log.reader(options_of_group).await.unwrap();
        let ReadEvent::Assigned(assigned) = reader.next().await.unwrap() else { panic!("no assignment") };
        let partition = assigned[0].partition.clone();
        let metadata = "v2;9;;;7;;".to_owned();
        reader.commit(&[Position { partition, offset: 7, metadata }]).await.unwrap();
        reader.close().await.unwrap();
        let clock = Clock::manual(START);
        let (run, _notices) = Run::start(plan, &options(&clock, AGAIN));
        let failures = run.wait().await.failures;
        let (_, error) = &failures[0];
        insta::assert_snapshot!(
            format!("{error}\n{}", error.help().unwrap()),
            @r"
        topic `t.count.changelog` does not have the state of open windows, which was committed
        restore the topic, or begin anew under another `name:`; what its open windows had counted is not elsewhere
        "
        );
        assert!(read(&log, "out").await.is_empty());
    });
}
