//! Thousands of windows are due at once: their results go out in several transactions, and the process ends
//! between two of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use arrow_array::BinaryArray;
use pipectl_framework::log::memory::MemoryOptions;
use pipectl_framework::log::{Append, Keeps, TopicSpec, WriterOptions};
use serde_json::Value;

use super::*;

const KEYS: i64 = 20;
const SECOND: i64 = 1000;
/// How far time jumps, in seconds: beyond the windows of the first rows.
const JUMP: i64 = 4000;
/// The length of a window, in seconds.
const SIZE: i64 = 3600;

const CHAIN: &str = "  count:
    - source: kafka
      with: { connection: one, topic: rows, format: text, keyed_by: value }
    - window: count-by-key
      with: { key: value, size: 1h, slide: 1s, zero_fill: seen, idle: 10m }
    - sink: kafka
      with: { connection: one, topic: counts, encode: json, partitions: 1 }
";

/// Keys so long that some thousand results fill a transaction.
fn key(number: i64) -> String {
    format!("{number:0600}")
}

/// A row of each key, and one of a later time that makes all windows between them due; others stand behind
/// it.
async fn log_with_rows() -> MemoryLog {
    let log = MemoryLog::new(MemoryOptions { topic_bytes: 256 << 20, ..MemoryOptions::default() });
    let spec = TopicSpec { name: "rows".into(), partitions: Some(1), create: true, keeps: Keeps::AsTheLog };
    log.ensure_topics(&[spec]).await.unwrap();
    let first = (0..KEYS).map(|number| (key(number), START));
    let later = [0, 0, 1, 2].map(|second| (key(second), START + (JUMP + second) * SECOND));
    let rows: Vec<(String, i64)> = first.chain(later).collect();
    let options = WriterOptions { transactional_id: None, transaction_timeout: Duration::from_secs(10) };
    let append = Append {
        topic: "rows".into(),
        partition: None,
        keys: None,
        values: BinaryArray::from_iter_values(rows.iter().map(|(key, _)| key.as_bytes())),
        headers: Vec::new(),
        timestamps: rows.iter().map(|(_, time)| *time).collect(),
    };
    log.writer(options).await.unwrap().append(append).await.unwrap();
    log
}

/// A process whose log does nothing any more once it has committed so often; gives the number of its commits.
async fn process(log: &MemoryLog, ends_after: usize) -> usize {
    let commits = Arc::new(AtomicUsize::new(0));
    let seen = commits.clone();
    let watch = Watch::new(move |done| {
        if seen.load(SeqCst) >= ends_after {
            return Some(Error::fatal("the process has ended"));
        }
        seen.fetch_add(usize::from(done == "one: commit with positions"), SeqCst);
        None
    });
    let folder = tempfile::tempdir().unwrap();
    let watched = Watched { name: "one", durable: true, log: log.clone(), watch };
    let plan = planned_beside_others(CHAIN, folder.path(), &[watched]);
    let (run, _notices) = Run::start(plan, &RunOptions { seed: 3, ..RunOptions::new(Clock::manual(START)) });
    tokio::time::sleep(Duration::from_secs(60)).await;
    run.control().drain();
    let failures = run.wait().await.failures;
    assert_eq!(failures.is_empty(), commits.load(SeqCst) < ends_after, "{failures:?}");
    commits.load(SeqCst)
}

/// The results of processes of which each but the last ends after so many commits, and how often the last has
/// committed.
fn results(ends: &[usize]) -> (BTreeMap<(i64, String), i64>, usize) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (log, commits) = runtime.block_on(async {
        let log = log_with_rows().await;
        for ends_after in ends {
            process(&log, *ends_after).await;
            // Its membership is over.
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        let commits = process(&log, usize::MAX).await;
        (log, commits)
    });
    let logs = vec![Watched { name: "one", durable: true, log, watch: Watch::new(|_| None) }];
    let ran = Ran { failure: None, help: None, rows_in: Vec::new(), took: Duration::ZERO, logs, runtime };
    let mut results = BTreeMap::new();
    for row in ran.values(0, "counts") {
        let row: Value = serde_json::from_str(&row).unwrap();
        let end = (row["window_end"].as_i64().unwrap() - START) / SECOND;
        let pane = (end, row["key"].as_str().unwrap().trim_start_matches('0').to_owned());
        let before = results.insert(pane, row["count"].as_i64().unwrap());
        assert!(before.is_none(), "given twice after {ends:?}: {row}");
    }
    (results, commits)
}

#[test]
fn a_process_that_ends_between_the_transactions_of_a_catch_up_loses_and_repeats_nothing() {
    // The row behind the last of the others moves time by two seconds more.
    let due = JUMP + 2;
    let (undisturbed, commits) = results(&[]);
    assert!(commits >= 4, "{commits} transactions");
    assert_eq!(undisturbed.len() as i64, KEYS * due);
    let counted = |end: i64| undisturbed.range((end, String::new())..(end + 1, String::new()));
    assert!((1..=SIZE).all(|end| counted(end).all(|(_, count)| *count == 1)));
    assert!((SIZE + 1..=JUMP).all(|end| counted(end).all(|(_, count)| *count == 0)));
    for ends_after in 1..commits {
        let (killed, _) = results(&[ends_after]);
        assert!(killed == undisturbed, "the process ended after {ends_after} of {commits} commits");
    }
    let (killed, _) = results(&[1, 1, 1]);
    assert!(killed == undisturbed, "three processes ended after a commit each");
}
