//! A folder with a pipeline, its log on disk and its files, and runs over it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pipectl_framework::clock::Clock;
use pipectl_framework::log::{Append, Keeps, Log, TopicSpec, WriterOptions};
use pipectl_framework::run::RunOptions;
use pipectl_framework::testing::START;
use serde_json::Value;

use crate::run;
use crate::support::read;

pub(crate) const MINUTE: i64 = 60_000;

/// A folder with a pipeline, its log on disk and its files.
pub(crate) struct Job {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) clock: Clock,
    pub(crate) runtime: tokio::runtime::Runtime,
    /// `--reset-state`.
    pub(crate) reset: Vec<String>,
    /// After so many rows of a partition open windows go to the changelog; `None` as where nobody says.
    pub(crate) replay_rows: Option<i64>,
}

/// How a run ends.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum End {
    /// At the end of the data.
    Once,
    /// In order, after some seconds.
    Stopped,
}

impl Job {
    pub(crate) fn new() -> Self {
        let (runtime, clock) = run::standing();
        Self { folder: tempfile::tempdir().unwrap(), clock, runtime, reset: Vec::new(), replay_rows: None }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs the chains, with the text of each failure.
    pub(crate) fn run(&self, chains: &str, end: End) -> Result<Vec<String>, String> {
        let usual = RunOptions::new(self.clock.clone());
        let options = RunOptions {
            once: end == End::Once,
            reset_state: self.reset.clone(),
            replay_rows: self.replay_rows.unwrap_or(usual.replay_rows),
            ..usual
        };
        run::run(&self.runtime, self.path(), chains, &options).map(|(told, _)| told)
    }

    /// Runs the chains; a failure is the test's.
    pub(crate) fn runs(&self, chains: &str, end: End) -> Vec<String> {
        self.run(chains, end).unwrap_or_else(|e| panic!("{e}"))
    }

    pub(crate) fn with_log<T>(&self, work: impl AsyncFnOnce(Arc<dyn Log>) -> T) -> T {
        let log = run::log(self.path());
        self.runtime.block_on(work(log))
    }

    /// Writes rows to topic `in`, each with its time.
    pub(crate) fn write(&self, rows: &[(Value, i64)]) {
        let rows: Vec<_> = rows.iter().map(|(value, time)| (None, value, *time)).collect();
        self.append_all("in", &rows);
    }

    /// Writes a record.
    pub(crate) fn append(&self, topic: &str, key: &str, value: &Value) {
        self.append_all(topic, &[(Some(key), value, START)]);
    }

    pub(crate) fn append_all(&self, topic: &str, rows: &[(Option<&str>, &Value, i64)]) {
        self.with_log(async |log| {
            let spec =
                TopicSpec { name: topic.into(), partitions: Some(1), create: true, keeps: Keeps::AsTheLog };
            log.ensure_topics(&[spec]).await.unwrap();
            let options =
                WriterOptions { transactional_id: None, transaction_timeout: Duration::from_secs(10) };
            let mut writer = log.writer(options).await.unwrap();
            let values: Vec<String> = rows.iter().map(|(_, value, _)| value.to_string()).collect();
            let append = Append {
                topic: topic.into(),
                partition: None,
                keys: Some(rows.iter().map(|(key, ..)| key.map(str::as_bytes)).collect()),
                values: values.iter().map(|value| Some(value.as_bytes())).collect(),
                headers: Vec::new(),
                timestamps: rows.iter().map(|(.., time)| *time).collect(),
            };
            writer.append(append).await.unwrap();
            writer.commit(None).await.unwrap();
            writer.close().await.unwrap();
        });
    }

    pub(crate) fn topic(&self, name: &str) -> Vec<Value> {
        self.with_log(async |log| read(&log, name).await)
    }

    pub(crate) fn has_topic(&self, name: &str) -> bool {
        let spec = TopicSpec { name: name.into(), partitions: None, create: false, keeps: Keeps::AsTheLog };
        self.with_log(async |log| log.ensure_topics(&[spec]).await.is_ok())
    }

    /// The records of a topic; `None` where it is not there.
    pub(crate) fn try_topic(&self, name: &str) -> Option<Vec<Value>> {
        self.has_topic(name).then(|| self.topic(name))
    }

    /// The ids of a topic, sorted.
    pub(crate) fn ids(&self, name: &str) -> Vec<i64> {
        let mut ids: Vec<i64> = self.topic(name).iter().map(|row| row["id"].as_i64().unwrap()).collect();
        ids.sort_unstable();
        ids
    }

    /// The last `count` of each window and key of a topic: by the window's start in minutes, and the key.
    pub(crate) fn counts(&self, name: &str) -> BTreeMap<(i64, String), i64> {
        let cell = |row: &Value| {
            let start = (row["window_start"].as_i64().unwrap() - START) / MINUTE;
            ((start, row["key"].as_str().unwrap_or("-").to_owned()), row["count"].as_i64().unwrap())
        };
        self.topic(name).iter().map(cell).collect()
    }
}
