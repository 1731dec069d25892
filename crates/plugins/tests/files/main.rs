//! Files as sources, in whole pipelines: what stands in a file comes out once, however the file grows and
//! however often the pipeline is started.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test fails by panicking; its modules are its own"
)]

mod forms;
mod half;
#[path = "../support/job.rs"]
mod job;
mod jsonl;
mod odd;
mod several;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;

use pipectl_framework::clock::Clock;
use pipectl_framework::metrics::Balance;
use pipectl_framework::run::RunOptions;
use pipectl_plugins as _;
use serde_json::Value;
use support::read;

/// A folder with a pipeline, its log on disk and its files.
pub(crate) struct Job {
    folder: tempfile::TempDir,
    clock: Clock,
    runtime: tokio::runtime::Runtime,
}

/// What a run has said.
pub(crate) struct Ended {
    /// Its notices.
    pub(crate) told: Vec<String>,
    /// The balance of the first chain's source.
    pub(crate) source: Balance,
}

impl Job {
    pub(crate) fn new() -> Self {
        let (runtime, clock) = job::standing();
        Self { folder: tempfile::tempdir().unwrap(), clock, runtime }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn append(&self, name: &str, content: impl AsRef<[u8]>) {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        std::io::Write::write_all(&mut file, content.as_ref()).unwrap();
    }

    /// Runs the chains to the end of their data, with the text of the first failure.
    pub(crate) fn try_once(&self, chains: &str) -> Result<Ended, String> {
        let options = RunOptions { once: true, ..RunOptions::new(self.clock.clone()) };
        let (told, figures) = job::run(&self.runtime, self.folder.path(), chains, &options)?;
        Ok(Ended { told, source: figures[0].steps[0].1.balance() })
    }

    /// The same; a failure is the test's.
    pub(crate) fn once(&self, chains: &str) -> Ended {
        self.try_once(chains).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The rows of a topic.
    pub(crate) fn topic(&self, name: &str) -> Vec<Value> {
        let log = job::log(self.folder.path());
        self.runtime.block_on(read(&log, name))
    }

    /// One column of the rows that were copied, in order.
    pub(crate) fn copied(&self, column: &str) -> Vec<String> {
        let cell = |row: &Value| row[column].as_str().map_or(row[column].to_string(), str::to_owned);
        self.topic("copy").iter().map(cell).collect()
    }
}

/// A chain from a source with these settings to the topic `copy`.
pub(crate) fn copying(source: &str, with: &str) -> String {
    format!(
        "  rows:
    - source: {source}
      with: {{ {with} }}
    - sink: kafka
      with: {{ topic: copy, partitions: 1 }}
"
    )
}
