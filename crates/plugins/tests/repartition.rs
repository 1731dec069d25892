//! A window over a topic that is keyed by something else, its rows sent through a repartition topic: with
//! several workers, killed in the middle, some far ahead of others, each row counts once and none is late.
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
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dice::Dice;
use pipectl_framework::clock::Clock;
use pipectl_framework::log::{Append, Keeps, Log, TopicSpec, WriterOptions};
use pipectl_framework::run::{Run, RunOptions};
use pipectl_framework::testing::START;
use pipectl_plugins as _;
use serde_json::json;
use support::{planned, read};

const PARTITIONS: u32 = 4;
const KEYS: u64 = 7;
/// Rows of each partition, and how far they are apart: a hundred windows.
const ROWS: i64 = 1000;
const STEP: i64 = 100;
/// Longer than all of it takes, so that a partition that waits for its turn holds the others up.
const IDLE: Duration = Duration::from_secs(600);

fn file(window: &str, repartition: &str) -> String {
    format!(
        "name: t
connections:
  kafka: {{ brokers: embedded:log, partitions: {PARTITIONS} }}
pipelines:
  count:
    - source: kafka
      with: {{ topic: in, format: {{ json: {{ fields: {{ key: text, n: integer }} }} }} }}
    - window: {window}
      repartition: {repartition}
    - sink: kafka
      with: {{ topic: out }}
"
    )
}

/// Row `i` of a partition: its key, and its time.
fn row(partition: i32, i: i64) -> (String, i64) {
    let mut dice = Dice((i * 31 + i64::from(partition)) as u64);
    (format!("k{}", dice.roll(KEYS)), START + i * STEP + i64::from(partition))
}

async fn write(log: &Arc<dyn Log>, partition: i32, from: i64, to: i64) {
    let options = WriterOptions { transactional_id: None, transaction_timeout: Duration::from_secs(10) };
    let mut writer = log.writer(options).await.unwrap();
    let rows: Vec<_> = (from..to).map(|i| (i, row(partition, i))).collect();
    let values: Vec<String> =
        rows.iter().map(|(i, (key, _))| json!({ "key": key, "n": i }).to_string()).collect();
    let append = Append {
        topic: "in".into(),
        partition: Some(partition),
        keys: None,
        values: values.iter().map(|value| Some(value.as_bytes())).collect(),
        headers: Vec::new(),
        timestamps: rows.iter().map(|(_, (_, time))| *time).collect(),
    };
    writer.append(append).await.unwrap();
    writer.commit(None).await.unwrap();
    writer.close().await.unwrap();
}

/// Windows by their end and key: what must come out.
fn expected(size: i64) -> BTreeMap<(i64, String), i64> {
    let mut counts = BTreeMap::new();
    for (key, time) in (0..PARTITIONS as i32).flat_map(|p| (0..ROWS).map(move |i| row(p, i))) {
        let end = (time - START).div_euclid(size) * size + size + START;
        *counts.entry((end, key)).or_default() += 1;
    }
    counts
}

/// Runs with so many workers; each may be killed at any step. Gives what came out, each cell once.
fn run(workers: usize, kills: u64, seed: u64, repartition: &str) -> BTreeMap<(i64, String), i64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let folder = tempfile::tempdir().unwrap();
    let window = format!("count-by-key\n      with: {{ key: key, size: 1s, idle: {}s }}", IDLE.as_secs());
    let yaml = file(&window, repartition);
    runtime.unwrap().block_on(async {
        let clock = Clock::manual(START);
        let log = planned(&yaml, folder.path()).connections[0].1.clone();
        let spec = TopicSpec {
            name: "in".into(),
            partitions: Some(PARTITIONS),
            create: true,
            keeps: Keeps::AsTheLog,
        };
        log.ensure_topics(&[spec]).await.unwrap();
        let mut dice = Dice(seed);
        let mut runs: Vec<Option<Run>> = (0..workers).map(|_| None).collect();
        let mut written = [0; PARTITIONS as usize];
        while written.iter().any(|rows| *rows < ROWS) {
            for slot in &mut runs {
                match slot {
                    None if dice.roll(2) == 0 => {
                        *slot = Some(worker(&yaml, folder.path(), &log, &clock, dice.roll(1 << 30)));
                    }
                    Some(_) if dice.roll(100) < kills => *slot = None,
                    _ => {}
                }
            }
            // The first partition is far ahead, the last far behind.
            let partition =
                (0..PARTITIONS as usize).find(|p| written[*p] < ROWS && dice.roll(3) > 0).unwrap_or(0);
            let to = (written[partition] + 1 + dice.roll(120) as i64).min(ROWS);
            write(&log, partition as i32, written[partition], to).await;
            written[partition] = to;
            tokio::time::sleep(Duration::from_millis(dice.roll(400))).await;
        }
        for slot in &mut runs {
            let seed = dice.roll(1 << 30);
            slot.get_or_insert_with(|| worker(&yaml, folder.path(), &log, &clock, seed));
        }
        tokio::time::sleep(IDLE + Duration::from_secs(10)).await;
        for figures in runs.iter().flatten().flat_map(|run| run.figures().to_vec()) {
            for (step, metrics) in &figures.steps {
                assert_eq!(metrics.balance().late, 0, "{}.{step}, seed {seed}", figures.name);
            }
        }
        drop(runs);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut found = BTreeMap::new();
        for record in read(&log, "out").await {
            let cell = (record["window_end"].as_i64().unwrap(), record["key"].as_str().unwrap().to_owned());
            let before = found.insert(cell.clone(), record["count"].as_i64().unwrap());
            assert!(before.is_none(), "{cell:?} twice, seed {seed}");
        }
        found
    })
}

fn worker(yaml: &str, base: &Path, log: &Arc<dyn Log>, clock: &Clock, seed: u64) -> Run {
    let mut plan = planned(yaml, base);
    plan.connections[0].1 = log.clone();
    let options = RunOptions { batch_rows: 16, seed, ..RunOptions::new(clock.clone()) };
    Run::start(plan, &options).0
}

#[test]
fn one_worker() {
    assert_eq!(run(1, 0, 1, "true"), expected(1000));
}

#[test]
fn several_workers_of_which_some_are_behind() {
    for seed in 0..4 {
        assert_eq!(run(3, 0, seed, "true"), expected(1000), "seed {seed}");
    }
}

#[test]
fn several_workers_that_are_killed() {
    for seed in 0..8 {
        assert_eq!(run(3, 12, seed, "{ topic: by-key, partitions: 2 }"), expected(1000), "seed {seed}");
    }
}
