//! Runs one after another over the log on disk: stopped in order, ended at the end of the data, started again over
//! more data. What comes out in all is what one run over everything gives.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test fails by panicking; its modules are its own"
)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pipectl_framework::clock::Clock;
use pipectl_framework::log::{Append, Log, TopicSpec, WriterOptions};
use pipectl_framework::run::{Run, RunOptions};
use pipectl_framework::testing::START;
use pipectl_plugins as _;
use serde_json::{Value, json};
use support::{planned, read};

const MINUTE: i64 = 60_000;

/// A folder with a pipeline, its log on disk and its files.
struct Job {
    folder: tempfile::TempDir,
    clock: Clock,
    runtime: tokio::runtime::Runtime,
}

/// How a run ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// At the end of the data.
    Once,
    /// In order, after some seconds.
    Stopped,
}

impl Job {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.unwrap();
        let clock = runtime.block_on(async { Clock::manual(START) });
        Self { folder: tempfile::tempdir().unwrap(), clock, runtime }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs the chains, with the text of each failure.
    fn run(&self, chains: &str, end: End) -> Result<Vec<String>, String> {
        let yaml =
            format!("name: t\nconnections:\n  kafka: {{ brokers: embedded:log }}\npipelines:\n{chains}");
        let plan = planned(&yaml, self.path());
        let options = RunOptions { once: end == End::Once, ..RunOptions::new(self.clock.clone()) };
        self.runtime.block_on(async {
            let (run, mut notices) = Run::start(plan, &options);
            if end == End::Stopped {
                tokio::time::sleep(Duration::from_secs(8)).await;
                run.control().drain();
            }
            let figures = run.figures();
            let outcome = run.wait().await;
            if let Some((chain, error)) = outcome.failures.first() {
                let help = error.help().map(|help| format!("\n{help}")).unwrap_or_default();
                return Err(format!("{chain}: {error}{help}"));
            }
            for chain in figures.iter() {
                for (step, metrics) in &chain.steps {
                    let balance = metrics.balance();
                    assert!(balance.holds(), "{}.{step}: {balance:?}", chain.name);
                }
            }
            let mut told = Vec::new();
            while let Some(notice) = notices.recv().await {
                told.push(format!("{notice:?}"));
            }
            Ok(told)
        })
    }

    /// Runs the chains; a failure is the test's.
    fn runs(&self, chains: &str, end: End) -> Vec<String> {
        self.run(chains, end).unwrap_or_else(|e| panic!("{e}"))
    }

    fn with_log<T>(&self, work: impl AsyncFnOnce(Arc<dyn Log>) -> T) -> T {
        let yaml = "name: log
connections:
  kafka: { brokers: embedded:log }
pipelines:
  show:
    - source: kafka
      with: { topic: in, format: text }
    - sink: stdout
"
        .replace("text", "text");
        let plan = planned(&yaml, self.path());
        let log = plan.connections[0].1.clone();
        self.runtime.block_on(work(log))
    }

    /// Writes rows to topic `in`, each with its time.
    fn write(&self, rows: &[(Value, i64)]) {
        self.with_log(async |log| {
            let spec = TopicSpec { name: "in".into(), partitions: Some(1), create: true, compacted: false };
            log.ensure_topics(&[spec]).await.unwrap();
            let options =
                WriterOptions { transactional_id: None, transaction_timeout: Duration::from_secs(10) };
            let mut writer = log.writer(options).await.unwrap();
            let values: Vec<String> = rows.iter().map(|(value, _)| value.to_string()).collect();
            let append = Append {
                topic: "in".into(),
                partition: None,
                keys: None,
                values: values.iter().map(|value| Some(value.as_bytes())).collect(),
                timestamps: rows.iter().map(|(_, time)| *time).collect(),
            };
            writer.append(append).await.unwrap();
            writer.commit(None).await.unwrap();
            writer.close().await.unwrap();
        });
    }

    fn topic(&self, name: &str) -> Vec<Value> {
        self.with_log(async |log| read(&log, name).await)
    }

    /// The ids of a topic, sorted.
    fn ids(&self, name: &str) -> Vec<i64> {
        let mut ids: Vec<i64> = self.topic(name).iter().map(|row| row["id"].as_i64().unwrap()).collect();
        ids.sort_unstable();
        ids
    }

    /// The last `count` of each window and key of a topic: by the window's start in minutes, and the key.
    fn counts(&self, name: &str) -> BTreeMap<(i64, String), i64> {
        let cell = |row: &Value| {
            let start = (row["window_start"].as_i64().unwrap() - START) / MINUTE;
            ((start, row["key"].as_str().unwrap_or("-").to_owned()), row["count"].as_i64().unwrap())
        };
        self.topic(name).iter().map(cell).collect()
    }
}

fn row(id: i64, key: &str, minute: i64) -> (Value, i64) {
    (json!({ "id": id, "k": key, "n": id.to_string() }), START + minute * MINUTE)
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

/// A file whose rows are read again for a window, and a sink that is no topic, stopped at any row.
#[test]
fn a_file_that_is_stopped_in_the_middle_is_copied_once() {
    let job = Job::new();
    let chains = "  rows:
    - source: csv
      time: { field: t, format: epoch_ms }
      with: { path: rows.csv, rate: 7/s }
    - sink: kafka
      with: { topic: copy }
  counts:
    - from: rows.csv
    - window: count-by-key
      with: { key: k, size: 1h }
    - sink: kafka
      with: { topic: counts }
";
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
    assert_eq!(job.counts("counts"), BTreeMap::from([((0, "a".to_owned()), 100)]));
}
