//! A chain that shows results, each copy of the program all of them: it has no group, and nothing keeps where
//! it stands.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use async_trait::async_trait;
use pipectl_framework::log::{Append, Keeps, TopicSpec, WriterOptions};
use pipectl_framework::plugin::{
    Batch, BindContext, BoundSink, Capability, Input, Problem, Result, Sink, SinkContext, SinkPlugin,
    row_to_json,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::*;

/// What a screen shows, and how many writes are still to fail.
type State = (Vec<String>, usize);

/// By name.
static SHOWN: LazyLock<Mutex<HashMap<String, State>>> = LazyLock::new(Mutex::default);

/// Shows rows, as a page does.
#[derive(Debug, Deserialize, JsonSchema)]
struct Screen {
    name: String,
}

pipectl_framework::register!(sink: Screen);

impl SinkPlugin for Screen {
    const NAME: &'static str = "screen";
    const SUMMARY: &'static str = "shows rows to a test";
    const EXAMPLE: &'static str = "- sink: screen\n  with: { name: a }\n";
    const CAPABILITIES: &'static [Capability] = &[Capability::Idempotent, Capability::PerInstance];

    fn bind(self, _: &Input, _: &BindContext<'_>) -> std::result::Result<BoundSink, Problem> {
        Ok(BoundSink::custom(Shown(self.name)))
    }
}

struct Shown(String);

#[async_trait]
impl Sink for Shown {
    async fn open(&mut self, _: &SinkContext) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, batch: &Batch) -> Result<()> {
        let mut all = SHOWN.lock().unwrap();
        let (rows, failing) = all.entry(self.0.clone()).or_default();
        if *failing > 0 {
            *failing -= 1;
            return Err(Error::retry("the screen is off"));
        }
        for row in 0..batch.rows() {
            let row = row_to_json(batch.columns(), row);
            rows.push(row["value"].as_str().unwrap_or_default().to_owned());
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

fn fail(name: &str, times: usize) {
    SHOWN.lock().unwrap().entry(name.to_owned()).or_default().1 = times;
}

fn shown(name: &str) -> Vec<String> {
    SHOWN.lock().unwrap().get(name).map(|(rows, _)| rows.clone()).unwrap_or_default()
}

async fn write(log: &MemoryLog, values: &[&str]) {
    let options = WriterOptions { transactional_id: None, transaction_timeout: Duration::from_secs(10) };
    let mut writer = log.writer(options).await.unwrap();
    let append = Append {
        topic: "results".into(),
        partition: None,
        keys: None,
        values: values.iter().map(|value| Some(value.as_bytes())).collect(),
        headers: Vec::new(),
        timestamps: vec![START; values.len()].into(),
    };
    writer.append(append).await.unwrap();
}

#[test]
fn it_goes_on_where_it_stood_and_shows_what_came_while_it_was_failing() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let log = MemoryLog::default();
        let spec =
            TopicSpec { name: "results".into(), partitions: Some(2), create: true, keeps: Keeps::AsTheLog };
        log.ensure_topics(&[spec]).await.unwrap();
        write(&log, &["before"]).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rows.csv"), "n\n0\n").unwrap();
        let yaml = "  rows:
    - source: csv
      with: { path: rows.csv }
    - sink: kafka
      with: { connection: one, topic: results, value: n }
  page:
    - source: kafka
      with: { connection: one, topic: results, format: text }
    - sink: screen
      with: { name: goes-on }
";
        let watched = Watched { name: "one", durable: true, log: log.clone(), watch: Watch::new(|_| None) };
        let plan = planned(yaml, folder.path(), &[watched]);
        let clock = Clock::manual(START);
        let (run, _notices) = Run::start(plan, &RunOptions::new(clock));
        tokio::time::sleep(Duration::from_secs(1)).await;
        write(&log, &["1", "2", "3"]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        fail("goes-on", 3);
        for value in ["4", "5", "6", "7"] {
            write(&log, &[value]).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        write(&log, &["8"]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        run.control().drain();
        assert!(run.wait().await.failures.is_empty());
    });
    let mut rows = shown("goes-on");
    rows.sort();
    // What was not committed is shown again.
    rows.dedup();
    assert_eq!(rows, ["0", "1", "2", "3", "4", "5", "6", "7", "8"], "all, and nothing of before");
}
